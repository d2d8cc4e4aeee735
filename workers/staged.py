"""Which tokens a proxy sees whose schedule changes the mixture, or selects documents, by stage.

The sequences of a training are numbered. A sequence's random words are those of Philox that the
plain sampler would have at that place with the budget's own batch, so two schedules that have had
the same data so far have the same batches, whatever their batch sizes: a schedule of one mixture
and one batch size trains bit for bit as without.

Stages with the same data go on in it, see `workers.sources`. A hand-over of width τ exchanges
places between stages: sequences are sorted by their place plus logistic noise.

Shapes: K slots, D domains, N sequences, S steps, T tokens of context.
"""

import json
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from mixwright.arrays import FloatArray, IntArray
from mixwright.corpus.store import TokenStore
from mixwright.philox import philox
from mixwright.schedules import Schedule, Stage
from mixwright.schedules.selecting import subset_of
from mixwright.schedules.steps import steps_of
from workers.order import OrderError
from workers.sampler import DRAW, ROWS_AT_ONCE
from workers.sources import Draw, Mixture, Selected, Words, chosen, different, subset

Source = Mixture | Selected


class StagedSampler:
    """Draws the batches of a group whose slots have schedules.

    Args:
        store: the tokens, and scores of documents where they are selected.
        domains: names, in the order of what is counted.
        schedules: of each slot; their batches are alike.
        draws: seed and stream of each slot.
        context: T, tokens a sequence, of which there is one more for the last target.

    Attributes:
        pool_sizes: different tokens that each slot may draw of each domain, (K, D).

    Raises:
        CorpusError: the store has no such scores.
        OrderError: a stage of other domains, or that chooses next to no documents.
    """

    def __init__(
        self,
        store: TokenStore,
        domains: Sequence[str],
        schedules: Sequence[Schedule],
        draws: Sequence[Draw],
        context: int,
    ) -> None:
        self._store, self._domains, self._context = store, tuple(domains), context
        self._shards = [store.train(store.domains.index(name)) for name in domains]
        self._draws, self._sources = list(draws), dict[str, Source]()
        steps = steps_of(schedules[0])
        self._ends = np.append(0, np.cumsum(steps.batch_tokens // context))
        budget = schedules[0].budget
        self._batch = budget.rounded(budget.batch_tokens) // context
        self._plans = [self._plan(*one) for one in zip(schedules, draws, strict=True)]
        self.pool_sizes: IntArray = np.stack([different(sources) for sources, _, _ in self._plans])

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """Return the windows (K, B, T + 1) of a step."""
        numbers = np.arange(self._ends[step], self._ends[step + 1])
        windows = np.empty((len(self._plans), len(numbers), self._context + 1), dtype=np.int64)
        for slot, draw in enumerate(self._draws):
            for source, here, words, ordinals in self._parts(slot, numbers):
                windows[slot, here] = source.windows(words, ordinals, draw)
        return windows

    def realised_tokens(self, num_steps: int) -> IntArray:
        """Return how many tokens each slot draws from each domain in `num_steps`, (K, D)."""
        counts = np.zeros((len(self._plans), len(self._domains)), dtype=np.int64)
        end = int(self._ends[num_steps])
        for start in range(0, end, ROWS_AT_ONCE):
            numbers = np.arange(start, min(end, start + ROWS_AT_ONCE))
            for slot, draw in enumerate(self._draws):
                for source, _, words, ordinals in self._parts(slot, numbers):
                    domains = source.domains(words, ordinals, draw)
                    counts[slot] += np.bincount(domains, minlength=len(self._domains))
        return counts * self._context

    def _parts(
        self, slot: int, numbers: IntArray
    ) -> Iterable[tuple[Source, npt.NDArray[np.bool_], Words, IntArray]]:
        """Yield each source of some sequences, which of them it has, their words and ordinals."""
        sources, source_of, ordinals = self._plans[slot]
        words = self._words(numbers, self._draws[slot])
        found = source_of[numbers]
        for index in np.unique(found):
            here = found == index
            yield sources[index], here, words[here], ordinals[numbers[here]].astype(np.int64)

    def _words(self, numbers: IntArray, draw: Draw) -> Words:
        step, row = np.divmod(numbers, self._batch)
        return philox((row, step, draw[1], DRAW), (draw[0], 0))

    def _plan(
        self, schedule: Schedule, draw: Draw
    ) -> tuple[list[Source], npt.NDArray[np.uint16], npt.NDArray[np.uint32]]:
        """Return sources, and of each sequence (N,) its source and its number there."""
        steps = steps_of(schedule)
        stages = np.repeat(steps.stage, steps.batch_tokens // self._context)
        stages = self._handed_over(schedule, stages, draw)
        keys = [_key(stage) for stage in schedule.stages]
        names = list(dict.fromkeys(keys))
        source_of = np.array([names.index(key) for key in keys])[stages]
        ordinals = np.empty(len(stages), dtype=np.uint32)
        for index in range(len(names)):
            here = np.flatnonzero(source_of == index)
            ordinals[here] = np.arange(len(here))
        first = dict(reversed(list(zip(keys, schedule.stages, strict=True))))
        sources = [self._source(name, first[name]) for name in names]
        return sources, source_of.astype(np.uint16), ordinals

    def _handed_over(self, schedule: Schedule, stages: IntArray, draw: Draw) -> IntArray:
        widths = np.array([(one.selection or {}).get("handover", 0.0) for one in schedule.stages])
        moved = np.flatnonzero(widths[stages] > 0)
        word = self._words(moved, draw)[:, 3]
        uniform = (word + 0.5) / 2.0**32
        noise = np.log(uniform / (1 - uniform))
        times = moved / len(stages) + widths[stages[moved]] * noise
        found = stages.copy()
        found[moved] = stages[moved][np.argsort(times, kind="stable")]
        return found

    def _source(self, key: str, stage: Stage) -> Source:
        if key not in self._sources:
            if stage.weights is not None:
                weights = self._weights(stage)
                self._sources[key] = Mixture(self._shards, weights, self._context)
            else:
                take = subset if "subset_tokens" in (stage.selection or {}) else chosen
                shards = dict(zip(self._domains, self._shards, strict=True))
                self._sources[key] = take(shards, self._store, stage, self._context)
        return self._sources[key]

    def _weights(self, stage: Stage) -> FloatArray:
        weights = stage.weights or {}
        if odd := sorted(set(weights) - set(self._domains)):
            raise OrderError(
                f"stage '{stage.name}' has the domain '{odd[0]}', which is not one of "
                f"{', '.join(self._domains)}",
                f"stages/{stage.name}/weights",
            )
        return np.array([weights.get(name, 0.0) for name in self._domains])


def _key(stage: Stage) -> str:
    """Return what tells the data of stages apart."""
    if stage.weights is not None:
        return json.dumps(dict(stage.weights), sort_keys=True)
    selection = stage.selection or {}
    if "subset_tokens" in selection:
        return json.dumps([selection.get("best_by"), subset_of(selection)], sort_keys=True)
    return json.dumps(selection.get("where", []))
