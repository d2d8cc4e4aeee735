"""What is believed of an objective that is a weighted sum of metrics, each with a model of its own.

A sum of laws is not a law, and a metric that some runs lack is still learned from the others. The
metrics' errors are taken to be independent.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.model import Posterior, factorised


class Belief(Protocol):
    """Means and covariances of one outcome, whatever they are made of; lower is better."""

    @property
    def target(self) -> int:
        """Index of the target fidelity."""
        ...

    @property
    def ran(self) -> IntArray:
        """Fidelities `(n,)` of the runs it has seen or believes in."""
        ...

    def mean(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return posterior means `(q,)` without noise, in units of the outcome."""
        ...

    def covariance(
        self, left: FloatArray, left_fidelity: IntArray, right: FloatArray, right_fidelity: IntArray
    ) -> FloatArray:
        """Return posterior covariances `(q, p)` without noise."""
        ...

    def variance(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return posterior variances `(q,)` without noise."""
        ...

    def noise(self, fidelity: IntArray) -> FloatArray:
        """Return noise variances `(q,)`."""
        ...

    def believing(self, mixtures: FloatArray, fidelity: IntArray) -> "Belief":
        """Return what is believed once these runs have shown what is expected of them."""
        ...

    def of_law(self) -> "Belief":
        """Return what is believed of the law alone, without what is the mixtures' own."""
        ...


def draws_at_target(belief: Belief, mixtures: FloatArray, count: int, seed: int) -> FloatArray:
    """Return joint draws `(count, q)` of what `mixtures` `(q, k)` come to at the target.

    Raises:
        FitDidNotConvergeError: the covariance is not positive definite.
    """
    at_target = np.full(len(mixtures), belief.target)
    factor = factorised(belief.covariance(mixtures, at_target, mixtures, at_target))
    normal = np.random.default_rng(seed).standard_normal((count, len(mixtures)))
    return np.asarray(belief.mean(mixtures, at_target) + normal @ factor.T)


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """The sum of `weights` `(m,)` times the metrics of `parts`.

    Attributes:
        parts: a posterior for each metric.
        weights: shape `(m,)`.
        ran: fidelities `(n,)` of the runs, whichever metrics they had.
    """

    parts: tuple[Posterior, ...]
    weights: FloatArray
    ran: IntArray

    @property
    def target(self) -> int:
        """Index of the target fidelity."""
        return self.parts[0].target

    def mean(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return posterior means `(q,)`."""
        return self._sum(self.weights, lambda part: part.mean(mixtures, fidelity))

    def covariance(
        self, left: FloatArray, left_fidelity: IntArray, right: FloatArray, right_fidelity: IntArray
    ) -> FloatArray:
        """Return posterior covariances `(q, p)`."""
        return self._sum(
            self.weights**2,
            lambda part: part.covariance(left, left_fidelity, right, right_fidelity),
        )

    def variance(self, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
        """Return posterior variances `(q,)`."""
        return self._sum(self.weights**2, lambda part: part.variance(mixtures, fidelity))

    def noise(self, fidelity: IntArray) -> FloatArray:
        """Return noise variances `(q,)`."""
        return self._sum(self.weights**2, lambda part: part.noise(fidelity))

    def believing(self, mixtures: FloatArray, fidelity: IntArray) -> "WeightedSum":
        """Return the sum of what each part believes then."""
        parts = tuple(part.believing(mixtures, fidelity) for part in self.parts)
        return replace(self, parts=parts, ran=np.concatenate([self.ran, fidelity]))

    def of_law(self) -> "WeightedSum":
        """Return the sum of the laws."""
        return replace(self, parts=tuple(part.of_law() for part in self.parts))

    def _sum(self, weights: FloatArray, of: Callable[[Posterior], FloatArray]) -> FloatArray:
        terms = (weight * of(part) for weight, part in zip(weights, self.parts, strict=True))
        return np.asarray(sum(terms), dtype=np.float64)
