"""Batches drawn from domains by weights that may change at any step.

Every rank plans the same global batch and takes its own rows of it. The batch is a function of
the seed, the step, the weights of that step and how many rows of each domain came before: resuming
needs no more than those counts, on however many ranks and workers, and gives the same rows.

The sampler runs in the main process and emits indices. Workers of a data loader hold copies of
whatever they are given, so weights that change must not live in them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import numpy.typing as npt

from mixwright_client.counter_random import key_of, permute, uniforms

DRAWS = ("low_discrepancy", "iid")
_REMEMBERED = 4096  # planned steps whose counts are kept, for checkpoints behind the plan

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BatchPlan:
    """How batches are drawn and shared out.

    Attributes:
        global_batch: rows of an optimiser step, over all ranks.
        seed: of everything random.
        rank: which rows are ours, from 0.
        world: how many ranks share the batch.
        draw: "low_discrepancy" takes from each domain its share of every batch, to less than one
            row; "iid" draws each row by itself.
        micro_batches: how many index lists an optimiser step is handed out in, to each rank.

    Raises:
        ValueError: the batch cannot be shared out evenly, or the draw is unknown.
    """

    global_batch: int
    seed: int = 0
    rank: int = 0
    world: int = 1
    draw: str = "low_discrepancy"
    micro_batches: int = 1

    def __post_init__(self) -> None:
        parts = self.world * self.micro_batches
        if self.global_batch < 1 or self.global_batch % parts:
            raise ValueError(
                f"a global batch of {self.global_batch} cannot be shared out evenly among "
                f"{self.world} ranks in {self.micro_batches} parts"
            )
        if not 0 <= self.rank < self.world:
            raise ValueError(f"rank {self.rank} is not among {self.world}")
        if self.draw not in DRAWS:
            raise ValueError(f"draw '{self.draw}' is unknown: one of {', '.join(DRAWS)}")


class MixtureBatchSampler:
    """A batch sampler for `torch.utils.data.DataLoader(..., batch_sampler=...)`.

    Indices are those of the domains' data sets one after the other, in the order of `sizes`. A
    domain's rows come in a random order, all before any comes again. Iteration goes on from the
    first step that was not planned yet; after a data loader was given up half way, load the state
    of the last step that was trained on.

    Args:
        sizes: rows of each domain.
        weights_at: of a step, by domain; `lambda step: ledger.at(step).weights`. The weights of a
            step that was planned must not change any more.
        plan: how batches are drawn and shared out.
        steps: where iteration ends; None for never.

    Raises:
        ValueError: a domain has no rows.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        weights_at: Callable[[int], Mapping[str, float]],
        plan: BatchPlan,
        steps: int | None = None,
    ) -> None:
        empty = [name for name, size in sizes.items() if size < 1]
        if empty or not sizes:
            raise ValueError(f"domains without rows cannot be drawn from: {empty}")
        self.sizes = dict(sizes)
        self.plan = plan
        self.steps = steps
        self._weights_at = weights_at
        self._domains = tuple(sizes)
        self._sizes = np.array(list(sizes.values()), dtype=np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._counts_before = OrderedDict([(0, np.zeros(len(sizes), dtype=np.int64))])

    @property
    def planned(self) -> int:
        """The first step that has not been planned."""
        return next(reversed(self._counts_before))

    def __iter__(self) -> Iterator[list[int]]:
        plan = self.plan
        while self.steps is None or self.planned < self.steps:
            ours = self.next_batch()[plan.rank :: plan.world]
            for part in np.split(ours, plan.micro_batches):
                yield part.tolist()

    def __len__(self) -> int:
        """Index lists of all steps, as a data loader wants to know.

        Raises:
            TypeError: iteration never ends.
        """
        if self.steps is None:
            raise TypeError("a sampler without `steps` never ends")
        return self.steps * self.plan.micro_batches

    def next_batch(self) -> Rows:
        """Plan the next step; return the rows of all ranks, shape `(global_batch,)`."""
        step = self.planned
        before = self._counts_before[step]
        drawn = drawn_domains(self._weights_of(step), self.plan, step)
        rows = self._rows_of(drawn, before)
        after = before + np.bincount(drawn, minlength=len(before))
        self._counts_before[step + 1] = after
        if len(self._counts_before) > _REMEMBERED:
            self._counts_before.popitem(last=False)
        return rows

    def counts(self, step: int) -> dict[str, int]:
        """Return how many rows of each domain were drawn before a step.

        Raises:
            ValueError: the step has not been planned up to, or long ago.
        """
        if step not in self._counts_before:
            oldest = next(iter(self._counts_before))
            raise ValueError(
                f"step {step} is outside of what is remembered, {oldest} to {self.planned}"
            )
        return dict(zip(self._domains, self._counts_before[step].tolist()))

    def state_dict(self, step: int) -> dict[str, Any]:
        """Return, as JSON, what is needed to go on from a step that has not been trained on.

        Args:
            step: the first that is not done. A data loader plans ahead of what is trained on, so
                only the trainer knows it.
        """
        return {
            "step": step,
            "counts": self.counts(step),
            "sizes": [list(pair) for pair in self.sizes.items()],
            "seed": self.plan.seed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where a state was taken; other ranks, workers or batch sizes are welcome.

        Raises:
            ValueError: it is of other data or of another seed, so rows would repeat.
        """
        if [tuple(pair) for pair in state["sizes"]] != list(self.sizes.items()):
            raise ValueError(f"the state is of other data: {state['sizes']}, not {self.sizes}")
        if state["seed"] != self.plan.seed:
            raise ValueError(f"the state is of seed {state['seed']}, not {self.plan.seed}")
        counts = [state["counts"][name] for name in self._domains]
        self._counts_before = OrderedDict([(int(state["step"]), np.array(counts, dtype=np.int64))])

    def _weights_of(self, step: int) -> npt.NDArray[np.float64]:
        weights = self._weights_at(step)
        return np.array([weights[name] for name in self._domains], dtype=np.float64)

    def _rows_of(self, drawn: Rows, before: Rows) -> Rows:
        sizes = self._sizes[drawn]
        places = before[drawn] + _times_seen(drawn)
        pairs = np.stack([drawn, places // sizes])
        kinds, where = np.unique(pairs, axis=1, return_inverse=True)
        keys = [
            key_of(self.plan.seed, "rows", self._domains[domain], epoch)
            for domain, epoch in kinds.T.tolist()
        ]
        key_of_row = np.array(keys, dtype=np.uint64)[where.ravel()]
        return np.asarray(self._starts[drawn] + permute(places % sizes, sizes, key_of_row))


def _times_seen(drawn: Rows) -> Rows:
    """Return how many rows before each one are of its domain, shape `(n,)`."""
    order = np.argsort(drawn, kind="stable")
    grouped = drawn[order]
    seen = np.empty(len(drawn), dtype=np.int64)
    seen[order] = np.arange(len(drawn)) - np.searchsorted(grouped, grouped)
    return seen


def drawn_domains(weights: npt.NDArray[np.float64], plan: BatchPlan, step: int) -> Rows:
    """Return the domain of each row of a step's global batch, shape `(global_batch,)`.

    Low discrepancy is systematic sampling: one point in each of as many equal strata as there are
    rows, all moved by the same random number, then shuffled.

    Args:
        weights: shape `(k,)`, on the simplex; a weight of 0 is never drawn.
        plan: how batches are drawn.
        step: of the optimiser.
    """
    size = plan.global_batch
    if plan.draw == "iid":
        points = uniforms(key_of(plan.seed, "points", step), size)
    else:
        offset = uniforms(key_of(plan.seed, "offset", step), 1)
        order = _shuffled(size, key_of(plan.seed, "order", step))
        points = (order + offset) / size
    bounds = np.cumsum(weights)
    found = np.searchsorted(bounds / bounds[-1], points, side="right").astype(np.int64)
    return np.asarray(np.minimum(found, np.flatnonzero(weights)[-1]))


def _shuffled(size: int, key: int) -> Rows:
    keys = np.full(size, key, dtype=np.uint64)
    return permute(np.arange(size), np.full(size, size), keys)
