"""What to train next in a study, given what has ended and what is under way.

Runs under way are taken to show what is expected of them (Ginsbourger, Le Riche and Carraro, 2010,
"kriging believer"): their mixtures teach nothing a second time, while no outcome is invented. A
batch is chosen one by one in the same way.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.bayesopt import admire
from mixwright.bayesopt.choosing import Cells, choose, choose_by_score
from mixwright.bayesopt.knowing import Knowledge
from mixwright.bayesopt.model import Posterior
from mixwright.bayesopt.observations import Observations
from mixwright.bayesopt.recipes import Recipe
from mixwright.bayesopt.scores import SCORES
from mixwright.errors import InvalidInputError
from mixwright.polytope import Polytope
from mixwright.spaces import MIXTURE, Space

_SPREAD_OUT = 384  # candidates all over the space
_NEARBY = 48  # candidates of each kind near the best, in each round
_ROUNDS = (0.5, 0.3, 0.2, 0.1, 0.05)  # the longest step from the best
_LARGEST_POOL = 256  # target mixtures among which the best is looked for


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A run to train.

    Attributes:
        index: of the cell.
        gains: what is expected to be gained for as much as a target run costs, by fidelity, shape
            `(F,)`; NaN where that was not asked. None before there are runs to learn from, and by
            recipes other than our own.
    """

    index: int
    gains: FloatArray | None

    @property
    def gain(self) -> float | None:
        """The largest gain."""
        return None if self.gains is None else float(np.nanmax(self.gains))


def candidates(
    polytope: Polytope, knowledge: Knowledge | None, seed: int, space: Space = MIXTURE
) -> FloatArray:
    """Return different feasible points `(q, k)`: all over, and nearer and nearer to the best.

    From the best so far, steps lead towards other feasible points, which stays within the
    constraints, and where the space's own small steps lead.
    """
    rng = np.random.default_rng(seed)
    spread_out = space.spread(polytope, _SPREAD_OUT, rng)
    if knowledge is None:
        return np.asarray(rng.permutation(space.canonical(spread_out)))
    found, merit = spread_out, knowledge.merit(spread_out)
    for longest in _ROUNDS:
        best = found[merit.argmin()]
        blends = _towards(best, spread_out, longest, rng)
        steps = space.steps(polytope, best, spread_out, longest, _NEARBY, rng)
        near = np.vstack([blends, steps])
        found, merit = np.vstack([found, near]), np.append(merit, knowledge.merit(near))
    return np.unique(space.canonical(found), axis=0)


def _towards(
    best: FloatArray, others: FloatArray, longest: float, rng: np.random.Generator
) -> FloatArray:
    steps = rng.uniform(0.0, longest, (_NEARBY, 1))
    chosen = others[rng.integers(0, len(others), _NEARBY)]
    return np.asarray((1 - steps) * best + steps * chosen)


def pool_of(knowledge: Knowledge | None, mixtures: FloatArray, seed: int) -> FloatArray:
    """Return the mixtures to look for the best among: the most promising half, and others."""
    different = np.unique(mixtures, axis=0)
    if knowledge is None or len(different) <= _LARGEST_POOL:
        return np.asarray(different)
    order = knowledge.merit(different).argsort(kind="stable")
    best, rest = order[: _LARGEST_POOL // 2], order[_LARGEST_POOL // 2 :]
    others = np.random.default_rng(seed).choice(rest, _LARGEST_POOL - len(best), replace=False)
    return np.asarray(different[np.concatenate([best, np.sort(others)])])


def suggest(
    knowledge: Knowledge | None,
    pending: Cells,
    cells: Cells,
    costs: FloatArray,
    target_pool: FloatArray,
    seed: int,
    recipe: Recipe = Recipe.OWN,
) -> Iterator[Suggestion]:
    """Yield cells to run, the most telling first, until none is left.

    Args:
        knowledge: what the runs say that have ended; None before there is anything.
        pending: runs under way.
        cells: what may be run.
        costs: at each fidelity, shape `(F,)`, in target runs.
        target_pool: mixtures among which the best is wanted, `(p, k)`.
        seed: equal seeds, runs and cells give equal suggestions.
        recipe: how.
    """
    if knowledge is None:
        yield from (Suggestion(index, None) for index in _first(cells, pending, costs, seed))
        return
    knowledge = knowledge.believing(pending)
    free = np.arange(len(cells.fidelity))
    for step in range(len(free)):
        left = cells.take(free)
        place, gains = _next(knowledge, left, costs, target_pool, seed + step, recipe)
        yield Suggestion(int(free[place]), gains)
        knowledge = knowledge.believing(cells.take(free[[place]]))
        free = np.delete(free, place)


def _next(
    knowledge: Knowledge,
    cells: Cells,
    costs: FloatArray,
    target_pool: FloatArray,
    seed: int,
    recipe: Recipe,
) -> tuple[int, FloatArray | None]:
    if recipe is Recipe.OWN:
        choice = choose(knowledge.value(target_pool, seed), cells, costs, seed)
        return choice.index, choice.gains
    belief = knowledge.belief
    if recipe is not Recipe.ADMIRE:
        score = SCORES[recipe.value]
        return choose_by_score(score, belief, target_pool, cells, costs, seed), None
    runs = observations_of(knowledge)
    return admire.suggest(runs, cells, costs, belief.target, target_pool, seed), None


def observations_of(knowledge: Knowledge) -> Observations:
    """Return the runs as one outcome, which ADMIRE's recipe needs.

    Raises:
        InvalidInputError: some runs lack a metric.
    """
    if not isinstance(knowledge.belief, Posterior):
        raise InvalidInputError(
            "the recipe 'admire' knows one outcome; give every run all metrics of the objective",
            field="options/recipe",
        )
    return knowledge.belief.observations


def _first(cells: Cells, pending: Cells, costs: FloatArray, seed: int) -> list[int]:
    """Return cells of the cheapest fidelity, at random: nothing is known of any mixture."""
    cheapest = costs[cells.fidelity].min() if len(cells.fidelity) else 0.0
    here = np.flatnonzero(costs[cells.fidelity] == cheapest)
    order = np.random.default_rng((seed, len(pending.fidelity))).permutation(here)
    return [int(index) for index in order]
