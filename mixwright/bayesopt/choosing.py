"""Chooses the next run among cells: mixtures at fidelities.

Fidelities are compared by what their runs teach for the cost of a target run (see
`mixwright.bayesopt.acquisition`), and within the chosen one the cell with the largest knowledge
gradient is run.

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
from mixwright.bayesopt.acquisition import LARGEST_BLOCK, value_of_block, values_of_single_runs
from mixwright.bayesopt.model import Observations, Posterior
from mixwright.errors import InvalidInputError

FIRST_SHARE = 0.05  # of a target run, spent on the cheapest fidelity to begin with


@dataclass(frozen=True, slots=True)
class Cells:
    """What may be run.

    Attributes:
        mixtures: shape `(q, k)`.
        fidelity: shape `(q,)`, indices into the study's fidelities.
    """

    mixtures: FloatArray
    fidelity: IntArray


@dataclass(frozen=True, slots=True)
class Choice:
    """The cell to run next.

    Attributes:
        index: of the cell.
        gain: by how much the best posterior mean at the target is expected to improve, for as much
            as a target run costs.
        gains: the same by fidelity, shape `(F,)`; NaN where no cell may be run.
    """

    index: int
    gain: float
    gains: FloatArray


def choose(
    posterior: Posterior, cells: Cells, costs: FloatArray, target_pool: FloatArray, seed: int
) -> Choice:
    """Return the next run.

    Args:
        posterior: what is known.
        cells: what may be run.
        costs: of a run at each fidelity, shape `(F,)`, positive.
        target_pool: mixtures among which the best at the target is wanted, `(p, k)`.
        seed: of the blocks.

    Raises:
        InvalidInputError: no cell is left.
    """
    if not len(cells.fidelity):
        raise InvalidInputError("no cell is left to run")
    singles = values_of_single_runs(posterior, target_pool, cells.mixtures, cells.fidelity)
    gains = np.full(len(costs), np.nan)
    for fidelity in _worth_considering(posterior, cells, costs):
        here = np.flatnonzero(cells.fidelity == fidelity)
        gains[fidelity] = _gain(posterior, cells, costs, target_pool, singles, here, seed)
    chosen = int(np.nanargmax(gains))
    here = np.flatnonzero(cells.fidelity == chosen)
    return Choice(int(here[singles[here].argmax()]), float(gains[chosen]), gains)


def recommend(posterior: Posterior, mixtures: FloatArray) -> int:
    """Return which of `mixtures` `(p, k)` has the lowest posterior mean at the target.

    Never the most informative one, which is what ADMIRE's scripts recommend.
    """
    at_target = np.full(len(mixtures), posterior.target)
    return int(posterior.mean(mixtures, at_target).argmin())


def spending_below_target(observations: Observations, costs: FloatArray, target: int) -> float:
    """Return how much may still be spent below the target before the next target run."""
    spent = costs[observations.fidelity]
    on_target = float(spent[observations.fidelity == target].sum())
    return 2.0 * on_target + float(costs[target]) - float(spent.sum())


def _worth_considering(posterior: Posterior, cells: Cells, costs: FloatArray) -> IntArray:
    """Return the fidelities that may be run; all, where no target cell is left to wait for."""
    present = np.unique(cells.fidelity)
    cheapest = int(present[costs[present].argmin()])
    spent = costs[cheapest] * np.sum(posterior.observations.fidelity == cheapest)
    if spent + costs[cheapest] <= FIRST_SHARE * costs[posterior.target]:
        return np.array([cheapest])
    left = spending_below_target(posterior.observations, costs, posterior.target)
    allowed = present[(present == posterior.target) | (costs[present] <= left)]
    return allowed if len(allowed) else present


def _gain(
    posterior: Posterior,
    cells: Cells,
    costs: FloatArray,
    target_pool: FloatArray,
    singles: FloatArray,
    here: IntArray,
    seed: int,
) -> float:
    """Return what a target run's cost buys at the fidelity of the cells `here`."""
    paid_for = costs[posterior.target] / costs[cells.fidelity[here[0]]]
    if round(paid_for) <= 1:
        return float(singles[here].max() * paid_for)
    block = _block(singles, here, min(round(paid_for), LARGEST_BLOCK), seed)
    mixtures, fidelity = cells.mixtures[block], cells.fidelity[block]
    value = value_of_block(posterior, target_pool, mixtures, fidelity, seed)
    return float(value * paid_for / len(block))


def _block(singles: FloatArray, here: IntArray, size: int, seed: int) -> IntArray:
    """Return up to `size` cells: half of them the best alone, half at random."""
    if len(here) <= size:
        return here
    ranked = here[np.argsort(-singles[here], kind="stable")]
    best, rest = ranked[: (size + 1) // 2], ranked[(size + 1) // 2 :]
    drawn = np.random.default_rng(seed).choice(len(rest), size - len(best), replace=False)
    return np.concatenate([best, rest[np.sort(drawn)]])
