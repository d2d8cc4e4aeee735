"""Ordinary least squares: a metric is a weighted sum of the domains' shares.

Source:
    The linear baseline of RegMix (Liu et al., ICLR 2025, arXiv:2407.01492) [X], which fits m + 1
    coefficients for m domains. The standard deviation is the textbook one of a prediction by
    ordinary least squares [X].

Departures:
    Shares sum to one, so the intercept is redundant: the minimum-norm solution is taken.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.surrogates.base import Prediction, State, canonical_order

_RANK_TOLERANCE = 1e-10  # far above rounding: the intercept is collinear with the shares


@dataclass(frozen=True, slots=True)
class Linear:
    """Least squares on the shares; no options."""

    def min_runs(self, num_domains: int) -> int:
        """Return one run more than the k coefficients that shares on the simplex determine."""
        return num_domains + 1

    def fit(self, mixtures: FloatArray, values: FloatArray, seed: int) -> "FittedLinear":
        """Solve the normal equations of each metric on the runs that have it."""
        order = canonical_order(mixtures, values)
        mixtures, values = mixtures[order], values[order]
        columns = [_fit_metric(mixtures, column) for column in values.T]
        coefficients, variances, covariances = zip(*columns, strict=True)
        return FittedLinear(np.array(coefficients), np.array(variances), np.array(covariances))


@dataclass(frozen=True, slots=True)
class FittedLinear:
    """Coefficients of every metric.

    Attributes:
        coefficients: shape `(m, k + 1)`, the intercept last.
        noise_variance: shape `(m,)`.
        unit_covariance: shape `(m, k + 1, k + 1)`, of the coefficients for unit noise.
    """

    coefficients: FloatArray
    noise_variance: FloatArray
    unit_covariance: FloatArray

    @property
    def is_differentiable(self) -> bool:
        """Planes have gradients."""
        return True

    @property
    def is_convex(self) -> bool:
        """Planes are convex."""
        return True

    def predict(self, mixtures: FloatArray) -> Prediction:
        """Return means and the standard deviations of a new run, noise included."""
        design = _design(mixtures)
        leverage = np.einsum("qi,mij,qj->qm", design, self.unit_covariance, design)
        variance = self.noise_variance * (1.0 + np.maximum(leverage, 0.0))
        return Prediction(self.predict_mean(mixtures), np.sqrt(variance))

    def predict_mean(self, mixtures: FloatArray) -> FloatArray:
        """Return means, shape `(q, m)`."""
        return mixtures @ self.coefficients[:, :-1].T + self.coefficients[:, -1]

    def gradient(self, mixtures: FloatArray) -> FloatArray:
        """Return the coefficients, shape `(q, m, k)`."""
        slopes = self.coefficients[:, :-1]
        return np.broadcast_to(slopes, (len(mixtures), *slopes.shape)).copy()

    def to_state(self) -> State:
        """Return the three arrays."""
        return {
            "coefficients": self.coefficients,
            "noise_variance": self.noise_variance,
            "unit_covariance": self.unit_covariance,
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from `to_state`."""
        return cls(**state)


def _fit_metric(
    mixtures: FloatArray, values: FloatArray
) -> tuple[FloatArray, np.float64, FloatArray]:
    """Return coefficients `(k + 1,)`, noise variance and unit covariance of one metric."""
    present = np.isfinite(values)
    design, observed = _design(mixtures[present]), values[present]
    inverse = np.asarray(np.linalg.pinv(design, rcond=_RANK_TOLERANCE), dtype=np.float64)
    coefficients = inverse @ observed
    rank = np.linalg.matrix_rank(design, rtol=_RANK_TOLERANCE)
    freedom = max(len(observed) - rank, 1)
    variance = np.sum((observed - design @ coefficients) ** 2) / freedom
    unit_covariance: FloatArray = inverse @ inverse.T
    return coefficients, variance, unit_covariance


def _design(mixtures: FloatArray) -> FloatArray:
    return np.hstack([mixtures, np.ones((len(mixtures), 1))])
