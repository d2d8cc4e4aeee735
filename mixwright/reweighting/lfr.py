"""LFR (Learn, Focus, Review): the hardest blocks again and again, all of them now and then.

All blocks are learned; then the easiest are left out for a while (focus); then all are reviewed;
and so on. Easiest is what had the lowest loss when it was last trained on. Sampling is uniform
over the blocks that are kept, and weights of domains stay as they are.

A phase lasts for as many losses as it keeps blocks, times its epochs: a loss reported twice was
trained on twice. What an observation has beyond a phase's end does not count for the next.

Source:
    Prakriya et al., "Accelerating Large Language Model Pretraining via LFR Pedagogy: Learn, Focus,
    and Review", arXiv:2409.06131: the abstract. Phases and percentages are those of a third-party
    configuration. Grade of evidence: 2ND; the ranking and the reviews between are INTERP.

Departures:
    Whether all blocks are reviewed between later focuses is not known; here they are, after each
    (`review_every`). After the last focus its blocks stay. Losses are kept as float32. Blocks that
    were not seen, or whose last loss is not finite, are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.options import option
from mixwright.reweighting.base import (
    Json,
    Observation,
    Requirements,
    State,
    Update,
    remapped,
)
from mixwright.reweighting.blocks import (
    MOST_BLOCKS,
    Bitmap,
    BlockMemory,
    lowest,
    need_blocks,
    told_blocks,
)


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the schedule.

    Attributes:
        name: learn, focus or review.
        epochs: over the blocks that are kept.
        dropped: percent of the blocks that are left out, the easiest.
    """

    name: str
    epochs: int
    dropped: float = 0.0


@dataclass(frozen=True, slots=True)
class LFR:
    """Options of LFR."""

    blocks: int = option(
        0, "How many blocks there are; needed. Ids are below it.", maximum=MOST_BLOCKS
    )
    learn_epochs: int = option(1, "Epochs over all blocks at first.", minimum=1)
    focus_epochs: int = option(1, "Epochs over what the first focus keeps.", minimum=1)
    review_epochs: int = option(1, "Epochs over all blocks in a review.", minimum=1)
    refocus_epochs: int = option(1, "Epochs over what a later focus keeps.", minimum=1)
    focus_dropped: float = option(
        50.0, "Percent of blocks that the first focus leaves out.", minimum=0.0, maximum=99.0
    )
    refocus_dropped: float = option(
        70.0, "Percent of blocks that later focuses leave out.", minimum=0.0, maximum=99.0
    )
    repetitions: int = option(5, "How many later focuses there are.", minimum=0, maximum=10_000)
    review_every: int = option(
        1, "Later focuses until all blocks are reviewed again; 0 for never.", minimum=0
    )

    @property
    def requires(self) -> Requirements:
        """Losses of the blocks that were trained on."""
        return Requirements(
            fields=("block_losses",),
            cost="no more computation: losses of blocks as they are trained on",
            acts_on="blocks",
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed: all blocks are to be learned."""
        need_blocks(self.blocks)
        memory = {
            "phase": 0,
            "reported": 0,
            "losses": BlockMemory.empty(self.blocks).to_memory(),
            "kept": Bitmap(np.ones(self.blocks, dtype=bool)).to_memory(),
        }
        return State(domains, weights, seed, memory=memory)

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return the phase, and the blocks to sample from."""
        kept = Bitmap.from_memory(state.memory["kept"], self.blocks)
        return {"phase": self.phases()[state.memory["phase"]].name, "blocks": kept.message()}

    def phases(self) -> list[Phase]:
        """Return the schedule."""
        review = Phase("review", self.review_epochs)
        schedule = [
            Phase("learn", self.learn_epochs),
            Phase("focus", self.focus_epochs, self.focus_dropped),
        ]
        for done in range(self.repetitions):
            if done == 0 or (self.review_every and done % self.review_every == 0):
                schedule.append(review)
            schedule.append(Phase("focus", self.refocus_epochs, self.refocus_dropped))
        return schedule

    def update(self, state: State, observation: Observation) -> Update:
        """Remember the losses; where the phase is over, choose the blocks of the next."""
        blocks = told_blocks(observation, self.blocks)
        if isinstance(blocks, str):
            return Update(state, blocks)
        losses = BlockMemory.from_memory(state.memory["losses"]).after(blocks)
        kept = Bitmap.from_memory(state.memory["kept"], self.blocks)
        phase, reported = state.memory["phase"], state.memory["reported"] + len(blocks.ids)
        schedule = self.phases()
        if reported >= schedule[phase].epochs * kept.count and phase + 1 < len(schedule):
            phase, reported = phase + 1, 0
            kept = keep_hardest(losses, schedule[phase].dropped)
        memory = {
            "phase": phase,
            "reported": reported,
            "losses": losses.to_memory(),
            "kept": kept.to_memory(),
        }
        return Update(
            state.after(observation, state.weights, memory=memory),
            diagnostics={
                "phase": schedule[phase].name,
                "blocks": kept.message(),
                "unseen": int(np.isnan(losses.losses).sum()),
                "not_finite": int((~np.isfinite(blocks.losses)).sum()),
            },
        )

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the same memory: blocks do not go by domain."""
        return replace(remapped(state, new, origin), memory=state.memory)


def keep_hardest(losses: BlockMemory, dropped: float) -> Bitmap:
    """Return the blocks without the `dropped` percent of them, rounded down, that are easiest.

    Blocks that were not seen are harder than any other; of equal losses the first are dropped.
    """
    count = int(len(losses.losses) * dropped / 100)
    return Bitmap(~lowest(np.nan_to_num(losses.losses, nan=np.inf), count))
