"""What QuaDMix's θ selects, for surrogates to see beside θ.

A training knows of θ only what θ selects: mostly which share of it each domain is, and how much
there is in all. Both depend on λ, ω, η and ε of all domains together, which is hard to learn from
runs and easy to compute: ranks are token-weighted, so neither rater weights nor a sample of
documents matter to it (see `mixwright.quality.implied.expected_shares`). [I: ours]
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.quality.implied import expected_shares, shares_of
from mixwright.quality.parameters import PER_DOMAIN

_SIMPLICES = 3  # θ, the mixture, and how much of all tokens
_MOST_COPIES = 3.0  # of a document
_TOGETHER = 2_000  # points: 20 MB of quadrature at 26 domains


@dataclass(frozen=True, slots=True, eq=False)
class ImpliedMixture:
    """Features of points of QuaDMix. It is made of arrays, and stored with what learned from it.

    Attributes:
        available: shape `(k,)`, tokens of the domains.
        limits: shape `(4,)`, of λ, ω, η and ε.
        is_log: shape `()`, 1 where λ is log-uniform, else 0.
    """

    available: FloatArray
    limits: FloatArray
    is_log: FloatArray

    @property
    def count(self) -> int:
        """How many free numbers are added to those of a point."""
        return len(self.available)

    def beside(self, points: FloatArray) -> FloatArray:
        """Return points `(q, c)` with what they imply, `(q, c + k + 2)`: on a simplex again.

        The mixture of the selected tokens comes after the point; then the selected tokens, as a
        share of the most that can be, and what is left of 1. Each of the three is divided by 3.
        """
        starts = range(0, len(points), _TOGETHER)
        selected = [self._selected(points[start : start + _TOGETHER]) for start in starts]
        tokens = np.vstack([np.empty((0, len(self.available))), *selected])
        most = _MOST_COPIES * self.available.sum()
        share = np.minimum(tokens.sum(axis=1, keepdims=True) / most, 1.0)
        return np.hstack([points, shares_of(tokens), share, 1.0 - share]) / _SIMPLICES

    def to_state(self) -> Mapping[str, FloatArray]:
        """Return the arrays from which `from_state` rebuilds it."""
        return {"available": self.available, "limits": self.limits, "is_log": self.is_log}

    @classmethod
    def from_state(cls, state: Mapping[str, FloatArray]) -> Self:
        """Rebuild from `to_state`."""
        return cls(**state)

    def _selected(self, points: FloatArray) -> FloatArray:
        """Return expected tokens of every domain, `(q, k)`."""
        blocks = points.reshape(len(points), len(self.available), -1)
        pairs = blocks[..., -2 * len(PER_DOMAIN) :] * (1 + len(PER_DOMAIN)) * len(self.available)
        shares = np.clip(pairs[..., ::2], 0.0, 1.0)
        numbers = numbers_at(shares, self.limits, is_log=bool(self.is_log))
        return expected_shares(*np.moveaxis(numbers, -1, 0)) * self.available


def numbers_at(shares: FloatArray, limits: FloatArray, *, is_log: bool) -> FloatArray:
    """Return λ, ω, η and ε `(..., 4)` that are these shares `(..., 4)` of their limits `(4,)`.

    Args:
        shares: in [0, 1].
        limits: the largest numbers.
        is_log: whether the share of λ is that of its logarithm.
    """
    numbers = shares * limits
    if is_log:
        numbers[..., 0] = limits[0] ** shares[..., 0]
    return numbers


def seen(features: ImpliedMixture | None, points: FloatArray) -> FloatArray:
    """Return what surrogates see of points `(q, c)`: the points, where there are no features."""
    return points if features is None else features.beside(points)
