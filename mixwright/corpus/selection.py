"""Which documents of a scored token store a sampling function chooses.

Everything a choice depends on is in the store, a point of a space and a seed: raters are normalised
on the store's own documents, ranks are those of all documents of a domain (exact to 2^17 different
merged scores), and the fraction of a copy is decided by the document's id. As the point changes,
documents come and go one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.corpus.store import TokenStore
from mixwright.quality.function import SamplingFunction
from mixwright.quality.implied import ScoredDocuments
from mixwright.quality.ranks import LARGEST_SKETCH
from mixwright.quality.uniforms import uniforms_of
from mixwright.spaces import DocumentSpace


@dataclass(frozen=True, slots=True)
class Selection:
    """Documents that were chosen of k domains.

    Attributes:
        copies: k arrays `(n,)`: how often each of a domain's n documents was chosen.
        tokens: shape `(k,)`, of the chosen documents, copies counted.
        distinct_tokens: shape `(k,)`, copies not counted.
    """

    copies: tuple[IntArray, ...]
    tokens: IntArray
    distinct_tokens: IntArray


class DocumentPool:
    """The training documents of k domains of a store, to be chosen from.

    Args:
        store: whose documents have scores.
        domains: names.
        space: whose points choose.

    Attributes:
        domains: names.
        space: see above.
        shards: of every domain, its documents.

    Raises:
        CorpusError: the store has no such scores.
        InvalidInputError: a rater gives all documents the same score.
    """

    def __init__(self, store: TokenStore, domains: Sequence[str], space: DocumentSpace) -> None:
        self.domains, self.space = tuple(domains), space
        names = space.rating.raters
        self.shards = [store.scored(store.domains.index(name), names) for name in domains]
        self._raters = space.rating.fit(self.documents)
        self._uniforms: dict[int, FloatArray] = {}

    @cached_property
    def documents(self) -> ScoredDocuments:
        """All documents, domain after domain."""
        sizes = [len(shard.tokens) for shard in self.shards]
        return ScoredDocuments(
            np.repeat(np.arange(len(sizes)), sizes),
            np.concatenate([shard.scores for shard in self.shards]),
            np.concatenate([shard.tokens for shard in self.shards]),
        )

    def function(self, point: Mapping[str, Any], budget: float | None = None) -> SamplingFunction:
        """Return the sampling function of a point, with the ranks of these documents.

        Args:
            point: as the space describes it.
            budget: tokens to choose, where the space has a budget.

        Raises:
            InvalidInputError: it is no point of the space, or needs a budget.
        """
        return self.space.function(
            self._raters, point, self.documents, budget, points=LARGEST_SKETCH
        )

    def select(self, function: SamplingFunction, seed: int) -> Selection:
        """Return the documents that a function of these domains and raters chooses with a seed."""
        documents, uniforms = self.documents, self._uniforms_with(seed)
        return self._selection(function.copies(documents.domain_index, documents.scores, uniforms))

    def everything(self) -> Selection:
        """Return one copy of every document."""
        return self._selection(np.ones(len(self.documents.tokens), dtype=np.int64))

    def _selection(self, copies: IntArray) -> Selection:
        documents, k = self.documents, len(self.domains)
        counted = [
            np.bincount(documents.domain_index, weights=documents.tokens * times, minlength=k)
            for times in (copies, copies > 0)
        ]
        ends = np.cumsum([len(shard.tokens) for shard in self.shards])[:-1]
        return Selection(tuple(np.split(copies, ends)), *(one.astype(np.int64) for one in counted))

    def _uniforms_with(self, seed: int) -> FloatArray:
        if seed not in self._uniforms:
            ids = [name for shard in self.shards for name in shard.ids]
            self._uniforms[seed] = uniforms_of(ids, seed)
        return self._uniforms[seed]
