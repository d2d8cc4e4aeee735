"""What can go wrong in the numeric core.

MixwrightError
├── InvalidInputError       the caller broke a documented contract
│   └── NotOnSimplexError
├── InfeasibleError         the constraints admit no mixture
├── NotEnoughRunsError      fewer usable runs than the method needs
└── FitDidNotConvergeError  the optimiser gave up
"""


class MixwrightError(Exception):
    """Base of every error this package raises on purpose."""


class InvalidInputError(MixwrightError, ValueError):
    """An argument breaks a documented contract.

    Attributes:
        field: the name of the offending field, as the caller knows it, or "" for the whole input.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NotOnSimplexError(InvalidInputError):
    """Weights are negative, not finite, or do not sum to one."""


class InfeasibleError(MixwrightError):
    """No mixture satisfies the constraints.

    Attributes:
        largest_target_tokens: the largest token budget for which the repetition caps would leave
            a feasible mixture, or None if repetition is not the cause.
    """

    def __init__(self, message: str, largest_target_tokens: float | None = None) -> None:
        super().__init__(message)
        self.largest_target_tokens = largest_target_tokens


class NotEnoughRunsError(MixwrightError):
    """A method was asked to fit fewer usable runs than it needs."""


class FitDidNotConvergeError(MixwrightError):
    """A surrogate fit stopped without converging."""
