"""Evolve QuaDMix's parameters from those that were tried, under a token budget.

Source:
    Our own [I]: `mixwright.quality.search.evolve`, in whose trust region the numbers of every
    domain stay, and the mixture that they imply.

A surrogate of steps, such as trees, predicts the same of all points of a wide plateau, and where on
it a search ends is chance. There the mean of ten short searches is taken, which together ask for as
many predictions as the one long search of a smooth surrogate.
"""

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.search import Found, TokenBudget, evolve
from mixwright.recommend.base import Choice, Problem
from mixwright.spaces import QuadmixPoints

_SEARCHES, _GENERATIONS, _POPULATION = 10, 50, 80  # on plateaus


def recommend_evolve(problem: Problem) -> Choice:
    """Return the best blend of what was tried that keeps the token budget, if there is one.

    Raises:
        InvalidInputError: the study's space is not QuaDMix's, or a domain's tokens are not known.
        InfeasibleError: no blend was found that keeps the budget.
    """
    space = problem.study.space
    if not isinstance(space, QuadmixPoints):
        raise InvalidInputError(
            f"method evolve is for studies of the space quadmix, and this one's is {space.kind}; "
            "use method regmix or exact",
            field="method",
        )
    if problem.model.is_smooth:
        return Choice(space.encode(_search(problem, space, problem.seed, 200, 200).vector[None])[0])
    seeds = np.random.SeedSequence(problem.seed).generate_state(_SEARCHES).tolist()
    found = [_search(problem, space, seed, _GENERATIONS, _POPULATION) for seed in seeds]
    best = sorted(found, key=lambda one: one.predicted)
    return Choice(_mean_within(problem, space.encode(np.array([one.vector for one in best]))))


def _search(
    problem: Problem, space: QuadmixPoints, seed: int, generations: int, population: int
) -> Found:
    known = [tokens for tokens in space.available if tokens is not None]
    available = known if len(known) == len(space.available) else [1.0] * len(space.available)
    return evolve(
        space.vectors,
        lambda vectors: problem.model.objective_mean(space.encode(vectors)),
        space.decode(problem.model.mixtures),
        problem.budget or TokenBudget(np.array(available), 0.0, np.inf),
        seed,
        generations,
        population,
    )


def _mean_within(problem: Problem, best: FloatArray) -> FloatArray:
    """Return the mean of as many of `best` `(s, c)` as have a mean that keeps the budget."""
    means = np.cumsum(best, axis=0) / np.arange(1, len(best) + 1)[:, None]
    allowed = np.flatnonzero(problem.allows(means))
    mean: FloatArray = means[allowed[-1]] if len(allowed) else best[0]
    return mean
