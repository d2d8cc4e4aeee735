"""MATES: at every stage, the blocks that are predicted to lower a reference task's loss most.

To measure a block is to take one step of the optimiser on it alone, to evaluate the reference
task, and to take the step back. Its label is that reference loss, standardised; lower is better.
Labels of other blocks are predicted, by the trainer (which then sends its predictions as losses)
or here, by ridge regression on numbers that it sends for each block. A fifth of the blocks is then
drawn without replacement, block i with probability proportional to exp(-label_i / τ). Every
observation is a stage. Weights of domains stay as they are.

Source:
    Yu, Das and Xiong, "MATES: Model-Aware Data Selection for Efficient Pretraining with Data
    Influence Models", arXiv:2406.06046, and its code cxcscmu/MATES. Grade of evidence: CODE.

Departures:
    The published code keeps the smallest of `label/τ + Gumbel noise`, which is not the draw that it
    stands for; ours keeps the largest of `-label/τ + noise`, and `reference_code` brings theirs
    back. The influence model is BERT there; ridge regression is our interpretation, and what it
    regresses on is for the trainer to choose. Blocks without a prediction count as average. Where
    predictions of measured blocks that were held out have a rank correlation below 0.05, or fewer
    than 30 blocks were measured, the draw is uniform, as `prediction` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mixwright.arrays import BoolArray, FloatArray, IntArray
from mixwright.options import option
from mixwright.reweighting.base import (
    Blocks,
    Json,
    Observation,
    Requirements,
    State,
    Table,
    Update,
    remapped,
)
from mixwright.reweighting.blocks import (
    MOST_BLOCKS,
    Bitmap,
    gumbel,
    lowest,
    need_blocks,
    told_blocks,
)

_HELD_OUT = 10  # every how many blocks, in the order of their ids, one tests the prediction
_FEWEST_MEASURED = 30
_LEAST_CORRELATION = 0.05
_ROUNDING = 1e-6  # 0.29 of 100 blocks are 29, though not in doubles


@dataclass(frozen=True, slots=True)
class MATES:
    """Options of MATES."""

    blocks: int = option(
        0, "How many blocks there are; needed. Ids are below it.", maximum=MOST_BLOCKS
    )
    share: float = option(
        0.2, "Share of the blocks that a stage selects.", minimum=1e-6, maximum=1.0
    )
    temperature: float = option(
        0.5, "τ, how evenly blocks are drawn, in standard deviations of labels.", minimum=1e-6
    )
    ridge: float = option(1.0, "Penalty of the regression on numbers of blocks.", minimum=1e-12)
    reference_code: bool = option(False, "Whether noise is added as in the published code.")

    @property
    def requires(self) -> Requirements:
        """Reference losses of blocks, measured or predicted; or measured, with numbers of all."""
        return Requirements(
            fields=("block_losses",),
            optional=("probe_losses",),
            every_steps=10_000,
            cost="a step on each measured block alone and an evaluation of the reference task "
            "after it, once a stage; block_losses are those reference losses. Or, as "
            "probe_losses, numbers of every block to predict from: rows are ids of blocks",
            acts_on="blocks",
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed: no block is preferred."""
        need_blocks(self.blocks)
        everything = Bitmap(np.ones(self.blocks, dtype=bool))
        return State(domains, weights, seed, memory={"kept": everything.to_memory()})

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return the blocks to sample from."""
        return {"blocks": Bitmap.from_memory(state.memory["kept"], self.blocks).message()}

    def update(self, state: State, observation: Observation) -> Update:
        """Select the blocks of the next stage."""
        told = told_blocks(observation, self.blocks)
        if isinstance(told, str):
            return Update(state, told)
        known = last_of_each(told, self.blocks)
        mean, deviation = float(known.losses.mean()), float(known.losses.std())
        if not np.isfinite(deviation) or deviation <= 1e-12 * abs(mean):
            return Update(state, "losses of all blocks are the same: the stage is skipped")
        measured = Blocks(known.ids, (known.losses - mean) / deviation)
        numbers = observation.tables.get("probe_losses")
        predicted = measured if numbers is None else self._predict(measured, numbers)
        if isinstance(predicted, str):
            return Update(state, predicted)
        source = "sent" if numbers is None else "ridge" if len(predicted.ids) else "none: uniform"
        scores = np.zeros(self.blocks)
        scores[predicted.ids] = predicted.losses
        kept = Bitmap(self.select(scores, gumbel(self.blocks, state.seed, state.updates)))
        memory = {"kept": kept.to_memory(), "mean": mean, "deviation": deviation}
        return Update(
            state.after(observation, state.weights, memory=memory),
            diagnostics={
                "blocks": kept.message(),
                "measured": len(known.ids),
                "unpredicted": self.blocks - len(predicted.ids),
                "prediction": source,
            },
        )

    def select(self, scores: FloatArray, noise: FloatArray) -> BoolArray:
        """Return which blocks are selected.

        Args:
            scores: shape `(n,)`, standardised; lower is better.
            noise: shape `(n,)`, standard Gumbel.
        """
        sign = 1.0 if self.reference_code else -1.0
        count = max(int(len(scores) * self.share + _ROUNDING), 1)
        return lowest(scores / self.temperature + sign * noise, count)

    def _predict(self, measured: Blocks, numbers: Table) -> Blocks | str:
        """Return predicted labels; of no block where predictions cannot be trusted."""
        told = block_features(numbers, self.blocks)
        if isinstance(told, str):
            return told
        ids, features = told
        place = np.searchsorted(ids, measured.ids).clip(max=max(len(ids) - 1, 0))
        both = ids[place] == measured.ids if len(ids) else np.zeros(len(place), dtype=bool)
        fitted, labels = features[place[both]], measured.losses[both]
        if not foretells(fitted, labels, self.ridge):
            return Blocks(np.empty(0, dtype=np.int64), np.empty(0))
        return Blocks(ids, ridge_prediction(fitted, labels, features, self.ridge))

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return the same memory: blocks do not go by domain."""
        return replace(remapped(state, new, origin), memory=state.memory)


def last_of_each(blocks: Blocks, size: int) -> Blocks:
    """Return the finite losses by ascending id; of a block named twice the last."""
    finite = np.isfinite(blocks.losses)
    losses = np.full(size, np.nan)
    losses[blocks.ids[finite]] = blocks.losses[finite]
    ids = np.flatnonzero(~np.isnan(losses))
    return Blocks(ids, losses[ids])


def block_features(numbers: Table, size: int) -> tuple[IntArray, FloatArray] | str:
    """Return ids `(n,)`, ascending, and finite features `(n, d)` of blocks, or what is wrong."""
    if not all(name.isdecimal() and int(name) < size for name in numbers.rows):
        return f"rows of probe_losses are not all ids of the {size} blocks"
    ids = np.array([int(name) for name in numbers.rows], dtype=np.int64)
    whole = np.isfinite(numbers.values).all(axis=1)
    if not whole.any():
        return "probe_losses of all blocks are missing or not finite"
    unique, last = np.unique(ids[whole][::-1], return_index=True)
    return unique, numbers.values[whole][::-1][last]


def foretells(features: FloatArray, labels: FloatArray, ridge: float) -> bool:
    """Return whether a ridge regression ranks labels `(n,)` that it has not seen."""
    from scipy.stats import rankdata  # loads scipy.stats, which the API does not need

    if len(labels) < _FEWEST_MEASURED:
        return False
    out = np.arange(len(labels)) % _HELD_OUT == 0
    predicted = ridge_prediction(features[~out], labels[~out], features[out], ridge)
    ranks = np.array([rankdata(predicted), rankdata(labels[out])])
    if (ranks.std(axis=1) == 0).any():
        return False
    return bool(np.corrcoef(ranks)[0, 1] >= _LEAST_CORRELATION)


def ridge_prediction(
    features: FloatArray, labels: FloatArray, queries: FloatArray, ridge: float
) -> FloatArray:
    """Return predictions at queries `(q, d)` from features `(n, d)` and labels `(n,)`.

    Features are centred on those that were fitted; the intercept is not penalised.
    """
    centre = features.mean(axis=0)
    centred = features - centre
    gram = centred.T @ centred + ridge * np.eye(features.shape[1])
    slopes = np.linalg.solve(gram, centred.T @ (labels - labels.mean()))
    predicted: FloatArray = (queries - centre) @ slopes + labels.mean()
    return predicted
