"""How predictions of several surrogates become one, as functions on arrays.

Shapes: s members, q mixtures, m metrics, k domains.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.surrogates.base import Prediction

_WEIGHT_POWER = 2.0
_SMALLEST_ERROR = 1e-9  # share of the worst member's error: keeps weights finite without noise
_NARROWEST_RANGE = 1e-3  # of a share: a domain that every run gives the same weight


@dataclass(frozen=True, slots=True)
class Coverage:
    """The shares that the runs cover: `low` and `high`, both `(k,)`."""

    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, mixtures: FloatArray) -> Self:
        """Return what `mixtures`, shape `(n, k)`, cover."""
        return cls(mixtures.min(axis=0), mixtures.max(axis=0))

    def reach(self, mixtures: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return how far mixtures leave what is covered `(q,)`, and the gradient `(q, k)`.

        The reach is the excess of every domain's share over the covered range, in units of that
        range, summed over domains: 0 inside, 1 for one share at twice its range.
        """
        width = np.maximum(self.high - self.low, _NARROWEST_RANGE)
        above, below = mixtures - self.high, self.low - mixtures
        excess = np.maximum(above, 0.0) + np.maximum(below, 0.0)
        slope = (above > 0).astype(float) - (below > 0)
        return np.sum(excess / width, axis=1), slope / width


def error_weights(squared_errors: FloatArray) -> FloatArray:
    """Return weights `(s, m)`, summing to 1, from squared errors `(s, n, m)` with NaN if unknown.

    A member's weight is its mean squared error to the power -2, normalised.
    """
    errors = np.nanmean(squared_errors, axis=1)
    errors = np.maximum(errors, _SMALLEST_ERROR * errors.max(axis=0))
    relative = np.where(errors > 0, errors / np.maximum(errors.min(axis=0), 1e-300), 1.0)
    weights: FloatArray = relative**-_WEIGHT_POWER
    weights /= weights.sum(axis=0)
    return weights


def faded_weights(weights: FloatArray, fading: FloatArray, reach: FloatArray) -> FloatArray:
    """Return weights `(s, q, m)` at mixtures of the given reach `(q,)`.

    A member's weight `(s, m)` is multiplied by `exp(-fading * reach)`; the others take what it
    loses.
    """
    loss = fading[:, None] * reach
    loss = loss - loss.min(axis=0)  # so that a lone fading member keeps its weight
    faded: FloatArray = weights[:, None, :] * np.exp(-loss)[:, :, None]
    faded /= faded.sum(axis=0)
    return faded


def blend(means: FloatArray, stds: FloatArray, weights: FloatArray) -> Prediction:
    """Return mean and standard deviation `(q, m)` of the mixture of members, all `(s, q, m)`."""
    mean = np.sum(weights * means, axis=0)
    variance = np.sum(weights * (stds**2 + (means - mean) ** 2), axis=0)
    return Prediction(mean, np.sqrt(variance))
