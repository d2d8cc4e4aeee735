"""Token-weighted ranks of documents inside a domain, estimated from a sample.

Source:
    QuaDMix, arXiv:2504.16511, equation 2 [X]: the rank of a document is the share of its domain's
    tokens that are in documents at least as good. Ties share the worse rank.
"""

from collections.abc import Sequence

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError


class RankTable:
    """The ranks of merged scores in one domain: a step function.

    Attributes:
        values: shape `(p,)`, rising merged scores.
        ranks: shape `(p,)`, rising shares of tokens up to each value, the last one 1.
    """

    __slots__ = ("ranks", "values")

    def __init__(self, values: Sequence[float], ranks: Sequence[float]) -> None:
        self.values: FloatArray = np.array(values, dtype=np.float64)
        self.ranks: FloatArray = np.array(ranks, dtype=np.float64)
        self._check()

    def rank(self, merged: FloatArray) -> FloatArray:
        """Return the ranks `(n,)` of merged scores `(n,)`: of the largest value not above it.

        A score below all values has rank 0.
        """
        place = np.searchsorted(self.values, merged, side="right")
        ranks: FloatArray = np.concatenate([[0.0], self.ranks])[place]
        return ranks

    def _check(self) -> None:
        good = self.values.shape == self.ranks.shape and self.values.ndim == 1 and self.values.size
        rising = good and (np.diff(self.values) > 0).all() and (np.diff(self.ranks) >= 0).all()
        if not rising or not np.isfinite(self.values).all() or abs(self.ranks[-1] - 1) > 1e-9:
            raise InvalidInputError(
                "a table of ranks needs rising values with rising ranks that end at 1; sample at "
                "least one document of every domain",
                field="ranks",
            )
