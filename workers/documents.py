"""Which tokens a proxy sees that is trained on documents which a sampling function chose.

Each slot has its own selection. The chosen documents of a domain lie end to end, first one copy of
each, then the second copies, and the end is followed by the beginning: a window may begin at any of
their tokens, and cross from one document to the next. Domains are drawn in proportion to chosen
tokens, so the mixture is what comes out. Random words are those of `workers.sampler`: rows move
from domain to domain one by one as selections change.

No token is copied: kept are 16 bytes for each chosen copy of a document.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mixwright.arrays import FloatArray, IntArray
from mixwright.corpus.selection import DocumentPool, Selection
from mixwright.corpus.store import TokenStore
from workers.order import GroupOrder, RunOrder
from workers.sampler import Sampler

Shard = npt.NDArray[np.unsignedinteger]


def pool_of(order: GroupOrder, store: TokenStore) -> DocumentPool | None:
    """Return the documents to choose from, where the order's runs have parameters.

    Raises:
        InvalidInputError: a space that this worker does not know.
        CorpusError: the documents of the store have no such scores.
    """
    space = order.document_space
    return None if space is None else DocumentPool(store, order.domains, space)


def choose(
    pool: DocumentPool | None, runs: Sequence[RunOrder], budget: float | None
) -> list[Selection]:
    """Return what each run trains on; nothing where runs have mixtures.

    Raises:
        InvalidInputError: parameters that are not of the pool's space, or a budget is missing.
    """
    if pool is None:
        return []
    return [pool.select(pool.function(run.parameters or {}, budget), run.seed) for run in runs]


class DocumentSampler(Sampler):
    """Draws the batches of a group whose slots have selections of documents.

    Args:
        shards: the tokens of each of D domains.
        pool: the documents in them.
        selections: of each of K slots; none is empty.
        seeds: of each slot, below 2^32.
        streams: of each slot.
        sequences: B, rows of a batch.
        context: T, tokens a row, of which there is one more for the last target.
        num_steps: of the training.

    Attributes:
        pool_sizes: distinct chosen tokens of each slot and domain, (K, D).
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        pool: DocumentPool,
        selections: Sequence[Selection],
        seeds: Sequence[int],
        streams: Sequence[int],
        *,
        sequences: int,
        context: int,
        num_steps: int,
    ) -> None:
        self._tokens = np.stack([one.tokens for one in selections])
        super().__init__(
            shards,
            self._tokens.astype(np.float64),
            seeds,
            streams,
            sequences=sequences,
            context=context,
            num_steps=num_steps,
        )
        rings = [
            Rings(shards[d], pool.shards[d].starts, pool.shards[d].tokens, copies, context)
            for d, copies in enumerate(zip(*(one.copies for one in selections), strict=True))
        ]
        self._windows = rings
        self._offsets = np.stack([ring.offsets for ring in rings], axis=1)
        self.pool_sizes = np.stack([one.distinct_tokens for one in selections])

    def _places(self, step: int, domain: IntArray, uniform: FloatArray) -> IntArray:
        slot = np.arange(len(domain))[:, None]
        inside: IntArray = (uniform * self._tokens[slot, domain]).astype(np.int64)
        return self._offsets[slot, domain] + inside


class Rings:
    """What each slot has chosen of a domain, laid out one slot after the other.

    Attributes:
        offsets: where each slot's part begins, (K,).
    """

    def __init__(
        self,
        shard: Shard,
        starts: IntArray,
        tokens: IntArray,
        copies: Sequence[IntArray],
        context: int,
    ) -> None:
        self._shard, self._length = shard, context + 1
        chosen = [_laid_out(tokens, of_slot, context) for of_slot in copies]
        documents = np.concatenate(chosen)
        self._edges = np.append(0, np.cumsum(tokens[documents]))
        self._shifts = starts[documents] - self._edges[:-1]
        first = np.cumsum([0, *(len(of_slot) for of_slot in chosen)])[:-1]
        self.offsets: IntArray = self._edges[first]

    def __getitem__(self, places: IntArray) -> Shard:
        """Return the windows (n, T + 1) that begin at places (n,)."""
        first = np.searchsorted(self._edges, places, side="right") - 1
        ends = places + self._length
        counts = np.searchsorted(self._edges, ends, side="left") - first
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        pieces = np.repeat(first, counts) + within
        lengths = np.minimum(self._edges[pieces + 1], np.repeat(ends, counts)) - np.maximum(
            self._edges[pieces], np.repeat(places, counts)
        )
        inside = (places[:, None] + np.arange(self._length)).ravel()
        windows: Shard = self._shard[inside + np.repeat(self._shifts[pieces], lengths)]
        return windows.reshape(len(places), self._length)


def _laid_out(tokens: IntArray, copies: IntArray, context: int) -> IntArray:
    """Return chosen documents in their order, and again from the first for a window to end in."""
    rounds = [np.flatnonzero(copies > turn) for turn in range(int(copies.max(initial=0)))]
    if not rounds:
        return np.empty(0, dtype=np.int64)
    once = np.concatenate(rounds)
    total = int(tokens[once].sum())
    more = np.tile(once, -(-context // total))
    enough = np.searchsorted(np.cumsum(tokens[more]), context) + 1
    return np.concatenate([once, more[:enough]])
