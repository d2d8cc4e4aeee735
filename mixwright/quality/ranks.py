"""Token-weighted ranks of documents inside a domain, estimated from a sample.

Source:
    QuaDMix, arXiv:2504.16511, equation 2 [X]: the rank of a document is the share of its domain's
    tokens that are in documents at least as good. Ties share the worse rank. The paper estimates
    ranks from 10,000 documents; it does not say how they are kept.

A sketch [I] is a histogram of merged scores, exact while a domain has at most 2^17 distinct ones.
Beyond, the last bits of the scores are dropped, one more as often as need be. How many depends on
the distinct scores alone and tokens are whole numbers, so the same documents make the same sketch
in any order, however they were divided. It knows its largest error: the tokens of the fullest bin
that holds different scores (below 1e-4 for ten million normal scores).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright_client.sampling_function import ranks_of

LARGEST_SKETCH = 2**17  # bins: 3 MB a domain
POINTS = 2048  # of a table: 0.1 MB of JSON a domain
_ALL_BUT_SIGN = np.int64(2**63 - 1)
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class RankTable:
    """The ranks of merged scores in one domain: a step function.

    Attributes:
        values: shape `(p,)`, rising merged scores.
        ranks: shape `(p,)`, rising shares of tokens up to each value, the last one 1.

    Raises:
        InvalidInputError: they are something else.
    """

    values: FloatArray
    ranks: FloatArray

    def __post_init__(self) -> None:
        same = self.values.ndim == 1 and self.values.shape == self.ranks.shape
        if not same or not len(self.values) or not self._rises():
            raise InvalidInputError(
                "a table of ranks needs rising values with rising ranks that end at 1; sample at "
                "least one document of every domain",
                field="ranks",
            )

    def rank(self, merged: FloatArray) -> FloatArray:
        """Return the ranks `(n,)` of merged scores `(n,)`: of the largest value not above it.

        A score below all values has rank 0.
        """
        return ranks_of(merged, self.values, self.ranks)

    def _rises(self) -> bool:
        finite = np.isfinite(self.values).all() and np.isfinite(self.ranks).all()
        rising = (np.diff(self.values) > 0).all() and (np.diff(self.ranks) >= 0).all()
        ends = self.ranks[0] >= 0 and abs(self.ranks[-1] - 1) <= _ROUNDING
        return bool(finite and rising and ends)


@dataclass(frozen=True, slots=True, eq=False)
class RankSketch:
    """A histogram of scores, such as the merged ones of a domain. They are kept as rising keys.

    Attributes:
        low: shape `(p,)`, rising, the key of the best score in every bin.
        high: shape `(p,)`, the key of the worst.
        tokens: shape `(p,)`, of the documents in every bin.
        dropped: bits at the end of a key that do not tell bins apart.
    """

    low: IntArray
    high: IntArray
    tokens: IntArray
    dropped: int = 0

    @classmethod
    def of(cls, merged: FloatArray, tokens: IntArray) -> Self:
        """Return the sketch of documents with merged scores and tokens, both `(n,)`.

        Documents without tokens do not count.
        """
        kept = tokens > 0
        keys = _to_keys(merged[kept])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        return cls(*_bins(keys, keys, tokens[kept][order].astype(np.int64), 0))

    def merge(self, other: "RankSketch") -> "RankSketch":
        """Return the sketch of the documents of both."""
        low = np.concatenate([self.low, other.low])
        order = np.argsort(low, kind="stable")
        high = np.concatenate([self.high, other.high])[order]
        tokens = np.concatenate([self.tokens, other.tokens])[order]
        return RankSketch(*_bins(low[order], high, tokens, max(self.dropped, other.dropped)))

    @property
    def worst(self) -> FloatArray:
        """The worst score in every bin, `(p,)`."""
        return _from_keys(self.high)

    @property
    def middle(self) -> FloatArray:
        """What lies between the best and the worst score of every bin, `(p,)`; it rises."""
        return _from_keys(self.low + (self.high - self.low) // 2)

    def share_up_to(self, merged: float) -> float:
        """Return the share of tokens in bins whose best score is at most `merged`."""
        return float(self.tokens[_from_keys(self.low) <= merged].sum() / self.tokens.sum())

    @property
    def error(self) -> float:
        """By how much a sampled document's rank may be too large because of the bins."""
        mixed = self.tokens[self.low < self.high]
        return float(mixed.max() / self.tokens.sum()) if len(mixed) else 0.0

    def to_table(self, points: int = POINTS) -> RankTable:
        """Return ranks at no more than `points` scores.

        Of more bins, those that first reach the ranks (i/points)^2 are kept: small ranks, where
        thresholds are, are told apart best. A sampled document's rank in the table is at most
        2/points below that in the sketch.

        Raises:
            InvalidInputError: the sketch has no documents.
        """
        ranks = np.cumsum(self.tokens) / max(1, self.tokens.sum())
        values = _from_keys(self.low)
        if len(ranks) > points:
            wanted = (np.arange(1, points + 1) / points) ** 2
            kept = np.unique(np.minimum(np.searchsorted(ranks, wanted), len(ranks) - 1))
            values, ranks = values[kept], ranks[kept]
        return RankTable(values, ranks)


def sketch_domains(
    merged: FloatArray, tokens: IntArray, domain_index: IntArray, num_domains: int
) -> tuple[RankSketch, ...]:
    """Return a sketch for each domain of documents, all arrays `(n,)`."""
    members = [domain_index == domain for domain in range(num_domains)]
    return tuple(RankSketch.of(merged[rows], tokens[rows]) for rows in members)


def _bins(
    low: IntArray, high: IntArray, tokens: IntArray, dropped: int
) -> tuple[IntArray, IntArray, IntArray, int]:
    """Return bins of sorted keys, with as many bits dropped as bring them below the limit."""
    if not len(low):
        return low, high, tokens, dropped
    first = _first_of_bins(low, dropped)
    while len(first) > LARGEST_SKETCH:
        dropped += 1
        first = _first_of_bins(low, dropped)
    tokens = np.add.reduceat(tokens, first)
    return low[first], np.maximum.reduceat(high, first), tokens, dropped


def _first_of_bins(keys: IntArray, dropped: int) -> IntArray:
    bins = keys >> dropped
    return np.concatenate([[0], np.flatnonzero(bins[1:] != bins[:-1]) + 1])


def _to_keys(values: FloatArray) -> IntArray:
    """Return whole numbers in the order of doubles: their bits, those of negative ones turned."""
    bits = (np.asarray(values, dtype=np.float64) + 0.0).view(np.int64)  # -0.0 is 0.0
    return np.where(bits < 0, bits ^ _ALL_BUT_SIGN, bits)


def _from_keys(keys: IntArray) -> FloatArray:
    return np.where(keys < 0, keys ^ _ALL_BUT_SIGN, keys).view(np.float64)
