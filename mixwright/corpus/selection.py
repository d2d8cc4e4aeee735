"""Which documents of a scored token store a sampling function chooses.

Everything a choice depends on is in the store, θ and a seed: raters are normalised on the store's
own documents, ranks are those of all documents of a domain (exact to 2^17 different merged scores),
and the fraction of a copy is decided by the document's id. As θ changes, documents come and go one
by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.corpus.store import TokenStore
from mixwright.quality.function import SamplingFunction
from mixwright.quality.implied import ScoredDocuments, fit_function
from mixwright.quality.parameters import Parameters
from mixwright.quality.ranks import LARGEST_SKETCH
from mixwright.quality.raters import fit_rater
from mixwright.quality.uniforms import uniforms_of


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
        raters: names, in the order of rater weights.
        lower_is_better: those whose lower scores are better.

    Attributes:
        domains: names.
        raters: names.
        shards: of every domain, its documents.

    Raises:
        CorpusError: the store has no such scores.
        InvalidInputError: a rater gives all documents the same score.
    """

    def __init__(
        self,
        store: TokenStore,
        domains: Sequence[str],
        raters: Sequence[str],
        lower_is_better: Sequence[str] = (),
    ) -> None:
        self.domains, self.raters = tuple(domains), tuple(raters)
        self.shards = [store.scored(store.domains.index(name), raters) for name in domains]
        tokens = self.documents.tokens.astype(np.float64)
        self._raters = tuple(
            fit_rater(name, name not in lower_is_better, self.documents.scores[:, column], tokens)
            for column, name in enumerate(raters)
        )
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

    def function(self, parameters: Parameters) -> SamplingFunction:
        """Return the sampling function of θ with the ranks of these documents.

        Raises:
            InvalidInputError: θ is not of these domains and raters.
        """
        return fit_function(
            self._raters, self.domains, parameters, self.documents, points=LARGEST_SKETCH
        )

    def select(self, parameters: Parameters, seed: int) -> Selection:
        """Return the documents that θ chooses with a seed.

        Raises:
            InvalidInputError: θ is not of these domains and raters.
        """
        documents = self.documents
        function = self.function(parameters)
        copies = function.copies(
            documents.domain_index, documents.scores, self._uniforms_with(seed)
        )
        return self._selection(copies)

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
