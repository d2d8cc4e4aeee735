"""The problem to solve: which domains, which metrics, at which fidelity, under which constraints.

Everything is frozen and positional: row `i` of every weight array is `study.domains[i]`, column
`j` of every value array is `study.metrics[j]`.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from mixwright.arrays import FloatArray

if TYPE_CHECKING:
    from mixwright.spaces.base import Space


class Direction(StrEnum):
    """Which way a metric improves."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True, slots=True)
class Domain:
    """A data source with a share of the mixture.

    Attributes:
        name: unique within the study.
        tokens: unique tokens available, None if unknown.
        prior: its share of the starting mixture (the study's priors sum to 1).
        lower: smallest share allowed.
        upper: largest share allowed.
    """

    name: str
    tokens: float | None
    prior: float
    lower: float = 0.0
    upper: float = 1.0


@dataclass(frozen=True, slots=True)
class Metric:
    """What a run measures."""

    name: str
    direction: Direction = Direction.MINIMIZE


@dataclass(frozen=True, slots=True)
class Fidelity:
    """A scale at which runs are trained; `cost` is in the study's own unit per run."""

    name: str
    cost: float | None = None
    parameters: float | None = None
    tokens: float | None = None


@dataclass(frozen=True, slots=True)
class LinearConstraint:
    """`lower <= sum(coefficients * weights) <= upper`; `coefficients` has shape `(k,)`."""

    coefficients: FloatArray
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Repetition:
    """No domain is repeated more than `max_epochs` times within `target_tokens` of training."""

    target_tokens: float
    max_epochs: float


def _mixtures() -> "Space":
    from mixwright.spaces.mixture import MIXTURE  # which knows what a study is

    return MIXTURE


@dataclass(frozen=True, slots=True)
class Study:
    """A mixture problem, or one of another space.

    Attributes:
        domains: the coordinates of the space; in a space of mixtures, sources of data.
        objective: shape `(m,)`, weights of the metrics in the objective; the objective of a run
            is `sum(objective * sign * value)`, lower is better, with sign -1 for metrics that
            are maximised.
        space: what the study's vectors mean: `mixtures` in what follows are points of it.
    """

    domains: tuple[Domain, ...]
    metrics: tuple[Metric, ...]
    objective: FloatArray
    fidelities: tuple[Fidelity, ...]
    target_fidelity: str
    linear: tuple[LinearConstraint, ...] = ()
    repetition: Repetition | None = None
    space: "Space" = field(default_factory=_mixtures)

    @property
    def domain_names(self) -> tuple[str, ...]:
        """Names in column order, length k."""
        return tuple(domain.name for domain in self.domains)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names in column order, length m."""
        return tuple(metric.name for metric in self.metrics)

    @property
    def prior(self) -> FloatArray:
        """Shape `(k,)`, sums to 1."""
        return np.array([domain.prior for domain in self.domains])

    @property
    def signs(self) -> FloatArray:
        """Shape `(m,)`: +1 for metrics that are minimised, -1 for those maximised."""
        return np.array(
            [1.0 if metric.direction is Direction.MINIMIZE else -1.0 for metric in self.metrics]
        )


@dataclass(frozen=True, slots=True)
class CompletedRuns:
    """Ended, unretracted runs as arrays.

    Attributes:
        mixtures: shape `(n, k)`, rows on the simplex.
        values: shape `(n, m)`, metrics as measured; NaN where a metric is missing.
        fidelity: shape `(n,)`, fidelity names.
        ids: run identifiers, length n, in the same order.
    """

    mixtures: FloatArray
    values: FloatArray
    fidelity: np.ndarray[tuple[int], np.dtype[np.str_]]
    ids: tuple[str, ...]
