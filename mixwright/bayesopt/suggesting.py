"""What to train next in a study, given what has ended and what is under way.

Runs under way are taken to show what is expected of them (Ginsbourger, Le Riche and Carraro, 2010,
"kriging believer"): their mixtures teach nothing a second time, while no outcome is invented. A
batch is chosen one by one in the same way.
"""

from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.choosing import Cells, choose, recommend
from mixwright.bayesopt.model import Observations, Posterior, fit
from mixwright.polytope import Polytope
from mixwright.sampling import sample_polytope
from mixwright.study import CompletedRuns, Study

_SPREAD_OUT, _NEARBY = 384, 128  # candidates all over the polytope, and around the best


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A run to train.

    Attributes:
        index: of the cell.
        gain: what it is expected to improve the recommendation's objective by, for as much as a
            target run costs; None before there are runs to learn from.
    """

    index: int
    gain: float | None


def observe(study: Study, runs: CompletedRuns) -> Observations:
    """Return the runs whose objective was measured, as one outcome: lower is better."""
    counting = study.objective != 0
    oriented = runs.values[:, counting] * (study.objective * study.signs)[counting]
    objective = oriented.sum(axis=1)
    known = np.isfinite(objective)
    names = [fidelity.name for fidelity in study.fidelities]
    fidelity = np.array([names.index(name) for name in runs.fidelity[known]], dtype=np.int64)
    return Observations(runs.mixtures[known], fidelity, objective[known])


def costs_of(study: Study) -> FloatArray:
    """Return what a run costs at each fidelity, in target runs; 1 where the study does not say."""
    target = next(one for one in study.fidelities if one.name == study.target_fidelity)
    unit = target.cost or 1.0
    return np.array([(one.cost or unit) / unit for one in study.fidelities])


def target_of(study: Study) -> int:
    """Return the index of the target fidelity."""
    return [one.name for one in study.fidelities].index(study.target_fidelity)


def candidates(polytope: Polytope, posterior: Posterior | None, seed: int) -> FloatArray:
    """Return different feasible mixtures `(q, k)`: all over, and around the best of them.

    Mixtures near the best lie on the way from it to the others, so they satisfy the constraints
    as well.
    """
    spread_out = sample_polytope(polytope, _SPREAD_OUT, seed)
    if posterior is None:
        return spread_out
    best = spread_out[recommend(posterior, spread_out)]
    rng = np.random.default_rng(seed)
    steps = rng.uniform(0.02, 0.5, (_NEARBY, 1))
    others = spread_out[rng.integers(0, len(spread_out), _NEARBY)]
    nearby = (1 - steps) * best + steps * others
    return np.unique(np.vstack([spread_out, nearby]), axis=0)


def suggest(
    observations: Observations,
    pending: Cells,
    cells: Cells,
    costs: FloatArray,
    target: int,
    target_pool: FloatArray,
    count: int,
    seed: int,
) -> list[Suggestion]:
    """Return up to `count` cells to run, the most telling first.

    Args:
        observations: runs that have ended.
        pending: runs under way.
        cells: what may be run.
        costs: at each fidelity, shape `(F,)`, in target runs.
        target: index of the target fidelity.
        target_pool: mixtures among which the best is wanted, `(p, k)`.
        count: how many.
        seed: equal seeds, runs and cells give equal suggestions.
    """
    if not len(observations.values):
        return [Suggestion(index, None) for index in _first(cells, pending, costs, count, seed)]
    posterior = fit(observations, len(costs), target)
    posterior = _believing(posterior, pending.mixtures, pending.fidelity)
    free = np.arange(len(cells.fidelity))
    found: list[Suggestion] = []
    while len(found) < count and len(free):
        left = Cells(cells.mixtures[free], cells.fidelity[free])
        choice = choose(posterior, left, costs, target_pool, seed + len(found))
        chosen = int(free[choice.index])
        found.append(Suggestion(chosen, choice.gain))
        posterior = _believing(posterior, cells.mixtures[[chosen]], cells.fidelity[[chosen]])
        free = np.delete(free, choice.index)
    return found


def _believing(posterior: Posterior, mixtures: FloatArray, fidelity: IntArray) -> Posterior:
    """Return the posterior once these runs have shown what is expected of them."""
    if not len(fidelity):
        return posterior
    expected = posterior.mean(mixtures, fidelity)
    believed = posterior.observations.with_runs(mixtures, fidelity, expected)
    return posterior.given(believed)


def _first(cells: Cells, pending: Cells, costs: FloatArray, count: int, seed: int) -> list[int]:
    """Return cells of the cheapest fidelity, at random: nothing is known of any mixture."""
    cheapest = costs[cells.fidelity].min() if len(cells.fidelity) else 0.0
    here = np.flatnonzero(costs[cells.fidelity] == cheapest)
    order = np.random.default_rng((seed, len(pending.fidelity))).permutation(here)
    return [int(index) for index in order[:count]]
