"""The contract every surrogate meets: a recipe is fitted once and gives an immutable predictor.

Values are always oriented so that lower is better. A surrogate models each metric by itself:
one model per metric, never one model of an aggregate (a sum of laws is not a law).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias, runtime_checkable

import numpy as np

from mixwright.arrays import FloatArray, IntArray

_ROUNDING = 1e-12  # of a metric's level: what is left of a constant

State = Mapping[str, FloatArray]
"""What a fitted surrogate is made of: named arrays, which is all that is ever stored of it."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted metrics.

    Attributes:
        mean: shape `(q, m)`.
        std: shape `(q, m)`, the surrogate's own idea of its error, before calibration.
    """

    mean: FloatArray
    std: FloatArray


class FittedSurrogate(Protocol):
    """What was learned. Immutable, and made of arrays."""

    @property
    def is_differentiable(self) -> bool:
        """Whether the object is `Differentiable`."""
        ...

    @property
    def is_convex(self) -> bool:
        """Whether every metric's mean is convex in the weights."""
        ...

    def predict(self, mixtures: FloatArray) -> Prediction:
        """Return means and standard deviations at `mixtures`, shape `(q, k)`."""
        ...

    def predict_mean(self, mixtures: FloatArray) -> FloatArray:
        """Return means alone, shape `(q, m)`: the fast path for scoring many mixtures."""
        ...

    def to_state(self) -> State:
        """Return the arrays from which `from_state` rebuilds this object, bit for bit."""
        ...

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Return the object that `to_state` described."""
        ...


Progress: TypeAlias = Callable[[float], None]
"""Is told the share of the work done."""


def silent(_: float) -> None:
    """Tell nobody of progress."""


def part_of(progress: Progress, index: int, parts: int) -> Progress:
    """Return what part `index` of `parts` equal parts of a work tells its own progress to."""
    return lambda done: progress((index + done) / parts)


@runtime_checkable
class Differentiable(Protocol):
    """A fitted surrogate whose means have gradients."""

    def gradient(self, mixtures: FloatArray) -> FloatArray:
        """Return d mean / d weights at `mixtures` `(q, k)`, shape `(q, m, k)`."""
        ...


class Surrogate(Protocol):
    """A recipe for learning metrics from mixtures: a frozen dataclass of its options."""

    def min_runs(self, num_domains: int) -> int:
        """Return the fewest runs with a value that this recipe can be fitted on."""
        ...

    def fit(self, mixtures: FloatArray, values: FloatArray, seed: int) -> FittedSurrogate:
        """Learn from `mixtures` `(n, k)` and `values` `(n, m)`, NaN where missing.

        The order of the runs does not matter, to the last bit.

        Raises:
            FitDidNotConvergeError: the optimiser gave up on a metric.
        """
        ...


@runtime_checkable
class CrossFitting(Protocol):
    """A surrogate that gives out-of-fold predictions for less than one fit per fold."""

    def cross_fit(
        self,
        mixtures: FloatArray,
        values: FloatArray,
        folds: IntArray,
        seed: int,
        progress: Progress,
    ) -> tuple[FittedSurrogate, Prediction]:
        """Fit on every run, and predict every run without the runs of its fold.

        Args:
            mixtures: shape `(n, k)`.
            values: shape `(n, m)`, NaN where missing.
            folds: shape `(n,)`, the fold of each run.
            seed: decides every random choice.
            progress: called with the share of the work done.
        """
        ...


@dataclass(frozen=True, slots=True)
class OtherRuns:
    """Runs of a study's other fidelities, beside those of the fidelity that is fitted.

    Attributes:
        mixtures: shape `(n, k)`.
        values: shape `(n, m)`, of the same metrics as the fitted values; NaN where missing.
        fidelity: shape `(n,)`, equal for runs of one fidelity.
    """

    mixtures: FloatArray
    values: FloatArray
    fidelity: IntArray

    @classmethod
    def none(cls, mixtures: FloatArray, values: FloatArray) -> Self:
        """Return no runs beside those of `mixtures` and `values`."""
        return cls(mixtures[:0], values[:0], np.empty(0, dtype=np.int64))


@runtime_checkable
class UsesOtherFidelities(Protocol):
    """A recipe whose model of one fidelity learns from runs of others too.

    By default it is fitted at the study's target, however few runs that has.
    """

    def beside(self, others: OtherRuns) -> Surrogate:
        """Return the recipe that fits one fidelity's runs with these as further evidence."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A surrogate that was considered, and its out-of-fold error.

    Attributes:
        surrogate: its name.
        cv_error: root mean squared out-of-fold error of a metric in units of the metric's standard
            deviation, averaged over the metrics.
    """

    surrogate: str
    cv_error: float


@dataclass(frozen=True, slots=True)
class Choice:
    """Which surrogate predicts, and why."""

    surrogate: str
    reason: str
    candidates: tuple[Candidate, ...]


@runtime_checkable
class Choosing(Protocol):
    """A fitted surrogate that chose among others."""

    def choice(self) -> Choice:
        """Return what it chose and why."""
        ...


def canonical_order(mixtures: FloatArray, values: FloatArray) -> IntArray:
    """Return the order `(n,)` that sorts runs by content.

    Floating-point sums depend on the order of their terms, so a fit is independent of the order
    in which runs arrived only if it starts by sorting them.
    """
    order: IntArray = np.lexsort(np.hstack([values, mixtures]).T[::-1])
    return order


def standardise(values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return `(values - centre) / scale` with NaN kept, `centre` `(m,)` and `scale` `(m,)`.

    A metric that is constant over these runs but for rounding, as may happen within a fold, has
    scale 1.
    """
    centre: FloatArray = np.nanmean(values, axis=0)
    spread: FloatArray = np.nanstd(values, axis=0)
    scale = np.where(spread > _ROUNDING * np.abs(centre), spread, 1.0)
    return (values - centre) / scale, centre, scale
