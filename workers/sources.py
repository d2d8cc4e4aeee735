"""What the sequences of a stage are taken from: a mixture of domains, or selected data.

A mixture's windows begin anywhere. Selected data is cut into blocks; an epoch is a permutation of
the blocks of all domains, so that no block comes a second time before all have come once. A source
keeps no state: which block comes is a function of seed, stream and the sequence's number.

Conditions on scores choose documents, which lie end to end, and the shares of domains are what
they have of them. A subset has so many blocks of each domain that the shares are the stage's own:
the best documents by a score, or, without one, blocks that are drawn once for all proxies.

Shapes: K slots, D domains, N sequences, T tokens of context.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from mixwright.arrays import BoolArray, FloatArray, IntArray
from mixwright.corpus.scored import ScoredShard
from mixwright.corpus.store import TokenStore
from mixwright.philox import permute, unit
from mixwright.schedules import Stage
from mixwright.schedules.selecting import best, columns_of, selected, subset_of
from workers.documents import Rings
from workers.order import OrderError
from workers.sampler import EPOCH, POOL, choose, keys_of, thresholds
from workers.sampler import Windows as Pieces

Shard = npt.NDArray[np.unsignedinteger]
Windows = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]
Draw = tuple[int, int]
"""Seed and stream."""


class Mixture:
    """Windows of domains by weight, as `workers.sampler` draws them with replacement.

    Args:
        shards: the tokens of each domain.
        weights: shape (D,).
        context: T.

    Attributes:
        tokens: shape (D,), of the domains that are drawn from.
    """

    def __init__(self, shards: Sequence[Shard], weights: FloatArray, context: int) -> None:
        self._windows = [sliding_window_view(shard, context + 1) for shard in shards]
        self._room = np.array([len(shard) - context for shard in shards])
        self._thresholds, self._length = thresholds(weights), context + 1
        self.tokens: IntArray = np.array([len(shard) for shard in shards]) * (weights > 0)

    def domains(self, words: Words, ordinals: IntArray, draw: Draw) -> IntArray:
        """Return the domain that the first word chooses."""
        return choose(words[:, 0], self._thresholds)

    def windows(self, words: Words, ordinals: IntArray, draw: Draw) -> Windows:
        """Return windows of the chosen domains at the place that the next two words choose."""
        domain = self.domains(words, ordinals, draw)
        places = (unit(words[:, 1], words[:, 2]) * self._room[domain]).astype(np.int64)
        return _gathered(self._windows, domain, places, self._length)


class Selected:
    """Blocks of which all come once before any comes again.

    Args:
        pieces: windows of each domain.
        places: where its blocks begin in them; D arrays.
        context: T.
        tokens: shape (D,), different ones of each domain.
        documents: tokens of each domain's documents in those blocks; D arrays, or None where
            blocks are not of documents.
    """

    def __init__(
        self,
        pieces: Sequence[Pieces],
        places: Sequence[IntArray],
        context: int,
        tokens: IntArray,
        documents: Sequence[IntArray] | None = None,
    ) -> None:
        self._pieces, self._length = pieces, context + 1
        self._places = np.concatenate(places)
        self._ends = np.cumsum([len(some) for some in places])
        self.tokens, self.documents = tokens, documents

    def domains(self, words: Words, ordinals: IntArray, draw: Draw) -> IntArray:
        """Return the domains of the blocks that come at these numbers."""
        return self._domain_of(self._blocks(ordinals, draw))

    def windows(self, words: Words, ordinals: IntArray, draw: Draw) -> Windows:
        """Return the blocks that come at these numbers."""
        blocks = self._blocks(ordinals, draw)
        domain = self._domain_of(blocks)
        return _gathered(self._pieces, domain, self._places[blocks], self._length)

    def _blocks(self, ordinals: IntArray, draw: Draw) -> IntArray:
        epoch, place = np.divmod(ordinals, self._ends[-1])
        keys = keys_of(draw[0], EPOCH, draw[1], np.zeros_like(epoch), epoch)
        return permute(place, int(self._ends[-1]), keys)

    def _domain_of(self, blocks: IntArray) -> IntArray:
        domains: IntArray = np.searchsorted(self._ends, blocks, side="right")
        return domains


def chosen(shards: Mapping[str, Shard], store: TokenStore, stage: Stage, context: int) -> Selected:
    """Return the documents that conditions on their scores choose.

    Args:
        shards: the tokens of each domain by name.
        store: with the scores.
        stage: with the selection.
        context: T.

    Raises:
        CorpusError: the store has no such scores.
        OrderError: fewer tokens are chosen than a window has.
    """
    selection = stage.selection or {}
    names = columns_of(selection) or store.raters[:1]
    if not names:
        raise _refusal(
            stage,
            f"chooses documents, and the store at {store.folder} keeps none apart; build it with "
            "--score",
        )
    tables = [store.scored(store.domains.index(name), names) for name in shards]
    columns = [dict(zip(names, table.scores.T, strict=True)) for table in tables]
    masks = [selected(selection, some) for some in columns]
    tokens = [int(table.tokens @ mask) for table, mask in zip(tables, masks, strict=True)]
    counts = [count // (context + 1) for count in tokens]
    if not any(counts):
        raise _refusal(
            stage,
            f"chooses documents of {sum(tokens)} tokens, less than a window of {context + 1}; "
            "widen its conditions",
        )
    parts = zip(shards.values(), tables, masks, strict=True)
    return _of_documents([*parts], counts, context)


def subset(shards: Mapping[str, Shard], store: TokenStore, stage: Stage, context: int) -> Selected:
    """Return a subset of each domain; arguments and errors are those of `chosen`.

    Raises:
        OrderError: a domain has fewer tokens than its subset.
    """
    selection = stage.selection or {}
    wanted = [subset_of(selection).get(name, 0) for name in shards]
    counts = [max(1, round(tokens / (context + 1))) if tokens else 0 for tokens in wanted]
    column = selection.get("best_by")
    if column is None:
        return _drawn(stage, shards, counts, context)
    parts = []
    for (name, shard), count in zip(shards.items(), counts, strict=True):
        table = store.scored(store.domains.index(name), [column])
        mask = best(table.scores[:, 0], table.tokens, count * (context + 1))
        _require(stage, name, int(table.tokens @ mask), count * (context + 1))
        parts.append((shard, table, mask))
    return _of_documents(parts, counts, context)


def _drawn(
    stage: Stage, shards: Mapping[str, Shard], counts: Sequence[int], context: int
) -> Selected:
    """Return blocks that are drawn once for all proxies: those of simulated epochs."""
    length, places = context + 1, list[IntArray]()
    keys = keys_of(0, POOL, 0, np.arange(len(shards)), 0)
    for (name, shard), count, key in zip(shards.items(), counts, keys, strict=True):
        blocks = len(shard) // length
        _require(stage, name, blocks * length, count * length)
        places.append(permute(np.arange(count), blocks, key) * length)
    windows = [sliding_window_view(shard, length) for shard in shards.values()]
    return Selected(windows, places, context, np.array(counts) * length)


def _of_documents(
    parts: Sequence[tuple[Shard, ScoredShard, BoolArray]], counts: Sequence[int], context: int
) -> Selected:
    """Return the first blocks of documents that lie end to end, so many of each domain."""
    rings = [
        Rings(shard, table.starts, table.tokens, [mask.astype(np.int64)], context)
        for shard, table, mask in parts
    ]
    places = [np.arange(count) * (context + 1) for count in counts]
    tokens = np.array(counts) * (context + 1)
    documents = [
        _up_to(table.tokens * mask, count)
        for (_, table, mask), count in zip(parts, tokens, strict=True)
    ]
    return Selected(rings, places, context, tokens, documents)


def _up_to(tokens: IntArray, most: int) -> IntArray:
    """Return what the first `most` tokens of documents are of each, `(n,)`."""
    before = np.cumsum(tokens) - tokens
    inside: IntArray = np.clip(most - before, 0, tokens)
    return inside


def _require(stage: Stage, domain: str, found: int, wanted: int) -> None:
    if found < wanted:
        raise _refusal(
            stage,
            f"wants a subset of {wanted} tokens of '{domain}', and there are {found}; spread it "
            "over more epochs, or train on more of the others",
        )


def _refusal(stage: Stage, problem: str) -> OrderError:
    return OrderError(f"stage '{stage.name}' {problem}", f"stages/{stage.name}/selection")


def different(sources: Sequence[Mixture | Selected]) -> IntArray:
    """Return how many different tokens of each domain some sources have together, (D,).

    Drawn blocks and chosen documents may overlap, of which the larger is counted.
    """
    of_documents = [
        one.documents for one in sources if isinstance(one, Selected) and one.documents is not None
    ]
    found = [one.tokens for one in sources]
    if of_documents:
        united = zip(*of_documents, strict=True)
        found.append(np.array([np.max(some, axis=0).sum() for some in united]))
    different: IntArray = np.max(found, axis=0)
    return different


def _gathered(
    windows: Sequence[Pieces], domain: IntArray, places: IntArray, length: int
) -> Windows:
    found = np.empty((len(domain), length), dtype=np.int64)
    for index in np.unique(domain):
        here = domain == index
        found[here] = windows[index][places[here]]
    return found
