"""Choose among given mixtures."""

import numpy as np

from mixwright.errors import InvalidInputError
from mixwright.recommend.base import Choice, Problem


def recommend_from_pool(problem: Problem) -> Choice:
    """Return the feasible mixture of the pool with the lowest prediction, and rank them all.

    Raises:
        InvalidInputError: there is no pool, or none of it satisfies the constraints.
    """
    pool = problem.pool
    if pool is None or len(pool) == 0:
        raise InvalidInputError("method pool needs a pool of mixtures", field="pool")
    feasible = problem.allows(pool)
    if not feasible.any():
        raise InvalidInputError(
            f"none of the {len(pool)} mixtures of the pool satisfies the constraints", field="pool"
        )
    ranking = np.argsort(problem.model.objective_mean(pool), kind="stable")
    warnings = []
    if not feasible.all():
        warnings.append(
            f"{int((~feasible).sum())} of the {len(pool)} mixtures of the pool break a constraint: "
            "they are ranked but not recommended"
        )
    best = ranking[feasible[ranking]][0]
    return Choice(pool[best], tuple(warnings), ranking=tuple(int(i) for i in ranking))
