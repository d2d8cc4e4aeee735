"""What may be wanted of several metrics."""

from dataclasses import dataclass, field
from enum import StrEnum


class Wanted(StrEnum):
    """What is wanted of the metrics in the objective."""

    OBJECTIVE = "objective"
    WORST_CASE = "worst_case"
    PARETO = "pareto"
    BOUNDED = "bounded"


@dataclass(frozen=True, slots=True)
class Aim:
    """What to look for.

    Attributes:
        wanted: the objective's weighted sum, its worst metric, a front of its metrics, or the sum
            while other metrics stay within `bounds`.
        bounds: by metric, the worst value allowed, as measured.
    """

    wanted: Wanted = Wanted.OBJECTIVE
    bounds: dict[str, float] = field(default_factory=dict)
