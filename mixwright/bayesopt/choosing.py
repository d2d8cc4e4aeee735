"""Chooses the next run among cells: mixtures at fidelities.

**How much cheap data is worth.** Divided by cost, one cheap run looks good for ever: its first bit
of knowledge is always cheap. So fidelities are compared at equal spend: a target run against **as
many runs of the cheaper fidelity as it would pay for**, whose joint value saturates as what they
can teach about the target, limited by the learned correlation, is used up. Where a cheap run costs
a thousandth and ranks at .97, the block wins until the surface is known; where it costs a fifth
and ranks at .55, it soon loses. Within the chosen fidelity the cell with the largest value is run.
[I: ours.]

**The beginning.** A twentieth of a target run's cost goes to the cheapest fidelity before anything
is compared: where its runs cost a thousandth, that is fifty, and a model of fifty runs is worth
believing; where they cost a tenth, it is none.

**The hedge.** What is learned of a correlation before the target was run is mostly the prior. So
runs below the target may never cost more, in all, than the target runs so far and one more: where
cheap runs say nothing, no more than about half of the budget is lost on finding that out. Where
they cost a thousandth the hedge does not bind.
"""

from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.acquisition import Value
from mixwright.bayesopt.belief import Belief
from mixwright.bayesopt.scores import Score
from mixwright.errors import InvalidInputError

FIRST_SHARE = 0.05  # of a target run, spent on the cheapest fidelity to begin with
LARGEST_BLOCK = 64  # runs whose joint value is looked at; more teach little that these do not


@dataclass(frozen=True, slots=True)
class Cells:
    """What may be run.

    Attributes:
        mixtures: shape `(q, k)`.
        fidelity: shape `(q,)`, indices into the study's fidelities.
    """

    mixtures: FloatArray
    fidelity: IntArray

    def take(self, rows: IntArray) -> "Cells":
        """Return some of them."""
        return Cells(self.mixtures[rows], self.fidelity[rows])

    def with_cells(self, more: "Cells") -> "Cells":
        """Return these and more."""
        return Cells(
            np.vstack([self.mixtures, more.mixtures]),
            np.concatenate([self.fidelity, more.fidelity]),
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The cell to run next.

    Attributes:
        index: of the cell.
        gains: by how much the outcome is expected to improve for as much as a target run costs,
            by fidelity, shape `(F,)`; NaN where no cell may be run, or it was not asked.
    """

    index: int
    gains: FloatArray

    @property
    def gain(self) -> float:
        """The largest of the gains."""
        return float(np.nanmax(self.gains))


def choose(value: Value, cells: Cells, costs: FloatArray, seed: int) -> Choice:
    """Return the next run.

    Args:
        value: what runs are worth.
        cells: what may be run.
        costs: of a run at each fidelity, shape `(F,)`, positive.
        seed: of the blocks.

    Raises:
        InvalidInputError: no cell is left.
    """
    if not len(cells.fidelity):
        raise InvalidInputError("no cell is left to run")
    singles = value.of_single_runs(cells.mixtures, cells.fidelity)
    gains = np.full(len(costs), np.nan)
    for fidelity in _worth_considering(value, cells, costs):
        here = np.flatnonzero(cells.fidelity == fidelity)
        gains[fidelity] = _gain(value, cells, costs, singles, here, seed)
    chosen = int(np.nanargmax(gains))
    here = np.flatnonzero(cells.fidelity == chosen)
    return Choice(int(here[singles[here].argmax()]), gains)


def choose_by_score(
    score: Score,
    belief: Belief,
    target_pool: FloatArray,
    cells: Cells,
    costs: FloatArray,
    seed: int,
) -> int:
    """Return the cell with the largest score for its cost, as most of the field does.

    Raises:
        InvalidInputError: no cell is left.
    """
    if not len(cells.fidelity):
        raise InvalidInputError("no cell is left to run")
    worth = score(belief, target_pool, cells.mixtures, cells.fidelity, seed)
    return int((worth - np.log(costs[cells.fidelity])).argmax())


def recommend(belief: Belief, mixtures: FloatArray) -> int:
    """Return which of `mixtures` `(p, k)` has the lowest posterior mean at the target.

    Never the most informative one, which is what ADMIRE's scripts recommend.
    """
    at_target = np.full(len(mixtures), belief.target)
    return int(belief.mean(mixtures, at_target).argmin())


def left_below_target(ran: IntArray, costs: FloatArray, target: int) -> float:
    """Return how much may still be spent below the target before the next target run."""
    ran = ran[ran < len(costs)]  # points of loss curves came with their runs
    spent = costs[ran]
    on_target = float(spent[ran == target].sum())
    return 2.0 * on_target + float(costs[target]) - float(spent.sum())


def _worth_considering(value: Value, cells: Cells, costs: FloatArray) -> IntArray:
    """Return the fidelities that may be run; all, where no target cell is left to wait for."""
    present = np.unique(cells.fidelity)
    cheapest = int(present[costs[present].argmin()])
    spent = costs[cheapest] * np.sum(value.ran == cheapest)
    if spent + costs[cheapest] <= FIRST_SHARE * costs[value.target]:
        return np.array([cheapest])
    left = left_below_target(value.ran, costs, value.target)
    allowed = present[(present == value.target) | (costs[present] <= left)]
    return allowed if len(allowed) else present


def _gain(
    value: Value,
    cells: Cells,
    costs: FloatArray,
    singles: FloatArray,
    here: IntArray,
    seed: int,
) -> float:
    """Return what a target run's cost buys at the fidelity of the cells `here`."""
    paid_for = costs[value.target] / costs[cells.fidelity[here[0]]]
    if round(paid_for) <= 1 and value.singles_compare:
        return float(singles[here].max() * paid_for)
    if round(paid_for) <= 1:
        best = here[[singles[here].argmax()]]
        together = value.of_block(cells.mixtures[best], cells.fidelity[best], seed)
        return float(together * paid_for)
    block = _block(singles, here, min(round(paid_for), LARGEST_BLOCK), seed)
    together = value.of_block(cells.mixtures[block], cells.fidelity[block], seed)
    return float(together * paid_for / len(block))


def _block(singles: FloatArray, here: IntArray, size: int, seed: int) -> IntArray:
    """Return up to `size` cells: half of them the best alone, half at random."""
    if len(here) <= size:
        return here
    ranked = here[np.argsort(-singles[here], kind="stable")]
    best, rest = ranked[: (size + 1) // 2], ranked[(size + 1) // 2 :]
    drawn = np.random.default_rng(seed).choice(len(rest), size - len(best), replace=False)
    return np.concatenate([best, rest[np.sort(drawn)]])
