"""Which tokens every proxy sees at every step: a pure function of seed, stream and step.

A row of a batch is a window of one domain. Its random words are those of Philox at the counter
(row, step, stream), so there is no loader state, no order of drawing, and nothing to restore. The
first word chooses the domain against integer thresholds, and the next two the place. Slots with
equal seed and stream have the same words: as a domain's weight rises, rows move to it one by one,
and two proxies differ by their mixtures alone (common random numbers).

Two modes. `replacement`: windows begin anywhere. `epochs`: a domain is cut into blocks, each epoch
is a permutation of them, and no block comes a second time before all have come once; a domain that
has been seen `max_epochs` times gives its rows to the others in proportion to their weights. With
pools (simulated epoching, as in data-constrained training at a small scale) a fixed choice of
blocks, the same for every proxy, is all there is of a domain.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.philox import permute, philox, unit

ROWS_AT_ONCE = 1 << 18
_WORD = 1 << 32
DRAW, POOL, EPOCH = 0, 1, 2  # what a counter, or a key, is for


class Windows(Protocol):
    """Windows of T + 1 tokens, by their places in a domain."""

    def __getitem__(self, places: IntArray, /) -> npt.NDArray[np.unsignedinteger]:
        """Return windows (n, T + 1)."""


class Sampler:
    """Draws the batches of a group.

    Args:
        shards: the tokens of each of D domains.
        weights: shape (K, D), rows on the simplex.
        seeds: of each slot, below 2^32.
        streams: of each slot; replicates of a mixture have their own.
        sequences: B, rows of a batch.
        context: T, tokens a row, of which there is one more for the last target.
        num_steps: of the training.
        mode: `replacement` or `epochs`.
        max_epochs: in `epochs`, how often a domain may be seen; None: without limit.
        pool_tokens: unique tokens to draw from, per domain; None: all.

    Attributes:
        pool_sizes: unique tokens of each domain that can be drawn.

    Raises:
        InvalidInputError: all domains are used up before the training ends.
    """

    def __init__(  # noqa: PLR0913
        self,
        shards: Sequence[npt.NDArray[np.unsignedinteger]],
        weights: FloatArray,
        seeds: Sequence[int],
        streams: Sequence[int],
        *,
        sequences: int,
        context: int,
        num_steps: int,
        mode: str = "replacement",
        max_epochs: float | None = None,
        pool_tokens: Sequence[int | None] | None = None,
    ) -> None:
        self._windows: Sequence[Windows] = [
            sliding_window_view(shard, context + 1) for shard in shards
        ]
        self._room = np.array([len(shard) - context for shard in shards])
        self._draws = list(zip(seeds, streams, strict=True))
        self._sequences, self._context, self._num_steps = sequences, context, num_steps
        blocks = np.array([len(shard) // (context + 1) for shard in shards])
        self._all_blocks = blocks
        pools = [None] * len(shards) if pool_tokens is None else list(pool_tokens)
        self._blocks = np.array(
            [
                n if size is None else max(1, min(n, size // (context + 1)))
                for n, size in zip(blocks, pools, strict=True)
            ]
        )
        self._has_blocks = mode == "epochs" or pool_tokens is not None
        self._thresholds = np.stack([thresholds(row) for row in weights])
        self._plan = None if mode == "replacement" else self._plan_epochs(weights, max_epochs)
        lengths = np.array([len(shard) for shard in shards])
        self.pool_sizes: IntArray = self._blocks * (context + 1) if self._has_blocks else lengths

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """Return the windows (K, B, T + 1) of a step."""
        rows = np.arange(self._sequences)
        words = self._words(step, rows)  # (K, B, 4)
        domain = self._domains(step, words)
        place = self._places(step, domain, unit(words[..., 1], words[..., 2]))
        windows = np.empty((*domain.shape, self._context + 1), dtype=np.int64)
        for index, shard in enumerate(self._windows):
            here = domain == index
            if here.any():
                windows[here] = shard[place[here]]
        return windows

    def realised_tokens(self, num_steps: int) -> IntArray:
        """Return how many tokens each slot draws from each domain in `num_steps`, (K, D)."""
        num_domains = len(self._windows)
        counts = np.zeros((len(self._draws), num_domains), dtype=np.int64)
        at_once = max(1, ROWS_AT_ONCE // self._sequences)
        for start in range(0, num_steps, at_once):
            steps = np.arange(start, min(num_steps, start + at_once))
            for slot, domains in enumerate(self._domains_of_steps(steps)):
                counts[slot] += np.bincount(domains.ravel(), minlength=num_domains)
        return counts * self._context

    def _words(self, step: npt.ArrayLike, rows: npt.ArrayLike) -> npt.NDArray[np.uint32]:
        """Return random words, those of each (seed, stream) drawn once."""
        drawn = {
            (seed, stream): philox((rows, step, stream, DRAW), (seed, 0))
            for seed, stream in set(self._draws)
        }
        return np.stack([drawn[draw] for draw in self._draws])

    def _domains(self, step: int, words: npt.NDArray[np.uint32]) -> IntArray:
        if self._plan is not None:
            rows = slice(step * self._sequences, (step + 1) * self._sequences)
            return self._plan[0][:, rows].astype(np.int64)
        pairs = zip(words[..., 0], self._thresholds, strict=True)
        return np.stack([choose(of_slot, limits) for of_slot, limits in pairs])

    def _domains_of_steps(self, steps: IntArray) -> list[IntArray]:
        if self._plan is not None:
            return [
                domains[steps[0] * self._sequences : (steps[-1] + 1) * self._sequences]
                for domains in self._plan[0]
            ]
        words = self._words(steps[:, None], np.arange(self._sequences)[None])[..., 0]
        return [
            choose(of_slot.ravel(), limits)
            for of_slot, limits in zip(words, self._thresholds, strict=True)
        ]

    def _places(self, step: int, domain: IntArray, uniform: FloatArray) -> IntArray:
        if not self._has_blocks:
            starts: IntArray = (uniform * self._room[domain]).astype(np.int64)
            return starts
        if self._plan is None:
            inside = (uniform * self._blocks[domain]).astype(np.int64)
        else:
            inside = self._in_epoch(step, domain)
        return self._block(domain, inside) * (self._context + 1)

    def _in_epoch(self, step: int, domain: IntArray) -> IntArray:
        """Return the place in its pool of each row's block."""
        assert self._plan is not None  # noqa: S101  - asked in the mode `epochs` only
        rows = slice(step * self._sequences, (step + 1) * self._sequences)
        epoch, place = np.divmod(self._plan[1][:, rows].astype(np.int64), self._blocks[domain])
        keys = np.stack(
            [
                keys_of(seed, EPOCH, stream, domain[slot], epoch[slot])
                for slot, (seed, stream) in enumerate(self._draws)
            ]
        )
        return self._permuted(domain, place, self._blocks, keys)

    def _block(self, domain: IntArray, inside: IntArray) -> IntArray:
        """Return which block of the domain stands at a place of its pool."""
        keys = keys_of(0, POOL, 0, np.arange(len(self._windows)), 0)
        return self._permuted(domain, inside, self._all_blocks, keys[domain])

    def _permuted(
        self, domain: IntArray, place: IntArray, sizes: IntArray, keys: npt.NDArray[np.uint64]
    ) -> IntArray:
        result = np.empty_like(place)
        for index in np.unique(domain):
            here = domain == index
            result[here] = permute(place[here], int(sizes[index]), keys[here])
        return result

    def _plan_epochs(
        self, weights: FloatArray, max_epochs: float | None
    ) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint32]]:
        """Return every row's domain, and which of that domain's rows it is, (K, steps B) each."""
        limit = np.full(len(self._blocks), np.iinfo(np.int64).max)
        if max_epochs is not None:
            limit = np.floor(max_epochs * self._blocks).astype(np.int64)
        steps = np.arange(self._num_steps)
        words = self._words(steps[:, None], np.arange(self._sequences)[None])[..., 0]
        plans = [
            _plan(of_slot.ravel(), row, limit) for of_slot, row in zip(words, weights, strict=True)
        ]
        return np.stack([domain for domain, _ in plans]), np.stack([place for _, place in plans])


def thresholds(weights: FloatArray) -> npt.NDArray[np.uint64]:
    """Return the ends of the ranges of words that choose each domain, (D,), the last 2^32.

    Integers, so that the choice is the same on every machine; a weight of 0 has an empty range.
    """
    ends = np.floor(np.cumsum(weights / weights.sum()) * _WORD)
    ends[np.flatnonzero(weights)[-1] :] = _WORD
    return np.asarray(ends, dtype=np.uint64)


def choose(words: npt.NDArray[np.uint32], limits: npt.NDArray[np.uint64]) -> IntArray:
    """Return the domain of each word, in a slot with these thresholds."""
    chosen: IntArray = np.searchsorted(limits[:-1], words.astype(np.uint64), side="right")
    return chosen


def _plan(
    words: npt.NDArray[np.uint32], weights: FloatArray, limit: IntArray
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint32]]:
    """Choose domains row by row; from the row on where one is used up, among the others."""
    domain = np.empty(len(words), dtype=np.int64)
    used, left, start = np.zeros(len(weights), dtype=np.int64), weights.copy(), 0
    left[limit < 1] = 0
    while start < len(words):
        if left.sum() <= 0:
            raise InvalidInputError(
                f"all domains are used up after {start / len(words):.0%} of the training; allow "
                "more epochs, train on fewer tokens, or add data",
                "sampling/max_epochs",
            )
        some = choose(words[start:], thresholds(left))
        allowed = limit - used
        end = min(_end(some, int(i), int(allowed[i])) for i in np.flatnonzero(left))
        domain[start : start + end] = some[:end]
        used += np.bincount(some[:end], minlength=len(weights))
        left[used >= limit] = 0
        start += end
    return domain.astype(np.uint16), _ordinals(domain, len(weights))


def _end(domain: IntArray, index: int, allowed: int) -> int:
    """Return after how many rows a domain that may have `allowed` more has had them."""
    if allowed > len(domain):
        return len(domain)
    rows = np.flatnonzero(domain == index)
    return len(domain) if len(rows) < allowed else int(rows[allowed - 1]) + 1


def _ordinals(domain: IntArray, num_domains: int) -> npt.NDArray[np.uint32]:
    ordinals = np.empty(len(domain), dtype=np.uint32)
    for index in range(num_domains):
        here = np.flatnonzero(domain == index)
        ordinals[here] = np.arange(len(here))
    return ordinals


def keys_of(
    seed: int, purpose: int, stream: int, domain: IntArray, epoch: npt.ArrayLike
) -> npt.NDArray[np.uint64]:
    """Return keys of permutations that differ wherever one of these does, as far as 64 bits go."""
    words = philox((stream, domain, epoch, purpose), (seed, 1)).astype(np.uint64)
    return (words[..., 0] << np.uint64(32)) | words[..., 1]
