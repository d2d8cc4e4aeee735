"""Evolve QuaDMix's parameters from those that were tried, under a token budget.

Source:
    Our own [I]: `mixwright.quality.search.evolve`, in whose trust region the numbers of every
    domain stay.
"""

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.search import TokenBudget, evolve
from mixwright.recommend.base import Choice, Problem
from mixwright.spaces import QuadmixPoints


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

    def predict(vectors: FloatArray) -> FloatArray:
        return problem.model.objective_mean(space.encode(vectors))

    without = TokenBudget(np.ones(len(space.available)), 0.0, np.inf)
    found = evolve(
        space.vectors,
        predict,
        space.decode(problem.model.mixtures),
        problem.budget or without,
        problem.seed,
    )
    return Choice(space.encode(found.vector[None])[0])
