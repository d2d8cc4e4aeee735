"""Scores as normal quantiles of their ranks: outliers and the shape of their distribution vanish.

Source:
    Blom, "Statistical Estimates and Transformed Beta-Variables", 1958 [R], for rank-based inverse
    normal scores. Ours [I]: a rank is the share of tokens in documents with lower scores, plus half
    of those with the same; it is kept as a table, between whose points scores are interpolated.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.quality.ranks import RankSketch
from mixwright_client.sampling_function import interpolate

POINTS = 1024  # of a table: 40 kB of JSON a rater


@dataclass(frozen=True, slots=True, eq=False)
class NormalTable:
    """The normal quantiles of some scores; others are interpolated, and end where these end.

    Attributes:
        values: shape `(p,)`, rising scores, two or more.
        normals: shape `(p,)`, their rising quantiles.

    Raises:
        InvalidInputError: they are something else.
    """

    values: FloatArray
    normals: FloatArray

    def __post_init__(self) -> None:
        same = self.values.ndim == 1 and self.values.shape == self.normals.shape
        if not (same and len(self.values) > 1 and _rises(self.values) and _rises(self.normals)):
            raise InvalidInputError(
                "a table of normal scores needs two or more rising values with rising quantiles",
                field="normalisation",
            )

    @classmethod
    def of(cls, sketch: RankSketch) -> Self:
        """Return the table of the scores in a histogram; bins count as the middle of their scores.

        Two or more bins are needed.
        """
        from scipy.special import ndtri

        normals = ndtri((np.cumsum(sketch.tokens) - sketch.tokens / 2) / sketch.tokens.sum())
        kept = _evenly_spaced(normals)
        return cls(sketch.middle[kept], normals[kept])

    def normal(self, scores: FloatArray) -> FloatArray:
        """Return the quantiles of scores, `(n,)`; a higher score's is never lower."""
        return interpolate(scores, self.values, self.normals)


def _evenly_spaced(normals: FloatArray) -> IntArray:
    """Return the places of at most `POINTS` quantiles: half evenly spaced, half evenly ranked."""
    if len(normals) <= POINTS:
        return np.arange(len(normals))
    spaced = np.searchsorted(normals, np.linspace(normals[0], normals[-1], POINTS // 2))
    ranked = np.linspace(0, len(normals) - 1, POINTS // 2).astype(np.int64)
    return np.unique(np.concatenate([spaced, ranked]))


def _rises(numbers: FloatArray) -> bool:
    with np.errstate(over="ignore"):
        steps = np.diff(numbers)
    return bool(np.isfinite(numbers).all() and np.isfinite(steps).all() and (steps > 0).all())
