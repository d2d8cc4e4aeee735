"""An anneal: the last part on better data, while the learning rate falls to 0.

Source:
    OLMo 2 and its Dolmino mixture (arXiv:2501.00656) [S]: a linear decay to 0 over 5 to 10 % of the
    tokens on high-quality data; micro-anneals, each half on one candidate source and half on the
    base, to rate sources; the average of anneals with different orders of data ("soup").
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mixwright.errors import InvalidInputError
from mixwright.options import by_name, option
from mixwright.schedules.averaging import Averaging
from mixwright.schedules.base import Schedule
from mixwright.schedules.curves import Curve
from mixwright.schedules.planning import Problem, stage_of, within_caps

CONTROL = "the mixture"
"""Name of the run that others are compared with."""


@dataclass(frozen=True, slots=True)
class Anneal:
    """Options of the anneal."""

    share: float = option(0.1, "Share of the tokens to anneal.", minimum=0.005, maximum=0.9)
    anneal_weights: Mapping[str, float] | None = by_name(
        "Mixture of the anneal; the one before if left out."
    )
    shape: str = option(
        "linear", "How the rate falls.", choices=("linear", "cosine", "one_minus_sqrt")
    )
    final_rate: float = option(
        0.0, "Learning rate at the end, a share of the peak.", minimum=0.0, maximum=1.0
    )
    average: int = option(
        0, "Checkpoints of the anneal to average; 0 for none.", minimum=0, maximum=100
    )

    def plan(self, problem: Problem) -> Schedule:
        """Return a stable stage and an anneal.

        Raises:
            InvalidInputError: the anneal's mixture is of other domains.
            InfeasibleError: caps are broken over both stages together.
        """
        budget = problem.budget
        peak, border = budget.peak_learning_rate, budget.border(1 - self.share)
        falls = Curve(border, budget.tokens, peak, self.final_rate * peak, self.shape)
        last = dict(problem.weights)
        if self.anneal_weights is not None:
            last = problem.mixture(self.anneal_weights, "options/anneal_weights")
        annealed = stage_of(problem, "anneal", border, budget.tokens, last, falls)
        if self.average > 1:
            annealed = replace(annealed, averaging=Averaging("simple", self.average))
        stable = stage_of(problem, "stable", 0.0, border, problem.weights)
        return within_caps(problem, Schedule(budget, (stable, annealed)))


def micro_anneals(
    weights: Mapping[str, float], candidates: tuple[str, ...], share: float = 0.5
) -> dict[str, dict[str, float]]:
    """Return the mixtures that rate candidate domains: a control and one for each candidate.

    A candidate's value is the control's objective minus that of its run; give them to
    `upsample_end` as utilities, or pick by them what to anneal on.

    Args:
        weights: mixture of the control, `CONTROL`.
        candidates: domains to rate.
        share: of a candidate in its mixture.

    Raises:
        InvalidInputError: a candidate that is not a domain.
    """
    unknown = [name for name in candidates if name not in weights]
    if unknown:
        raise InvalidInputError(
            f"'{unknown[0]}' is not a domain; they are {', '.join(weights)}", "candidate"
        )
    mixtures = {CONTROL: dict(weights)}
    for name in candidates:
        mixed = {one: (1 - share) * weight for one, weight in weights.items()}
        mixed[name] += share
        mixtures[name] = mixed
    return mixtures
