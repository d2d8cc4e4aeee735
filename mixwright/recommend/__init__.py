"""From a fitted model to a recommended mixture. A method is one line of `RECOMMENDERS`."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.polytope import Polytope
from mixwright.quality.search import TokenBudget
from mixwright.recommend.base import Choice, Model, Problem, Recommender
from mixwright.recommend.best_observed import recommend_best_observed
from mixwright.recommend.evidence import present
from mixwright.recommend.evolve import recommend_evolve
from mixwright.recommend.exact import recommend_exact
from mixwright.recommend.pool import recommend_from_pool
from mixwright.recommend.recommendation import Recommendation
from mixwright.recommend.regmix import recommend_regmix
from mixwright.simplex import normalise
from mixwright.spaces import QuadmixPoints
from mixwright.study import CompletedRuns, Study

__all__ = ["RECOMMENDERS", "Choice", "Model", "Problem", "Recommendation", "recommend"]

RECOMMENDERS: Final[Mapping[str, Recommender]] = {
    "regmix": recommend_regmix,
    "exact": recommend_exact,
    "pool": recommend_from_pool,
    "best_observed": recommend_best_observed,
    "evolve": recommend_evolve,
}


def recommend(  # noqa: PLR0913  - the keywords of the request, one by one
    study: Study,
    polytope: Polytope,
    model: Model,
    runs: CompletedRuns,
    *,
    method: str,
    candidates: int = 100_000,
    top_k: int | None = None,
    kl_to_prior: float = 0.0,
    pool: FloatArray | None = None,
    selected_tokens: tuple[float, float] | None = None,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> Recommendation:
    """Return the mixture to use at the target fidelity, with its evidence.

    Args:
        study: the mixture problem.
        polytope: its constraints, from `compile_constraints`.
        model: a fitted model of the study.
        runs: the study's completed runs.
        method: a key of `RECOMMENDERS`.
        candidates: for regmix, how many mixtures to simulate.
        top_k: for regmix, how many of the best of them to average; by default the space's own.
        kl_to_prior: for exact, strength of the penalty on KL(mixture || prior), at least 0.
        pool: for pool, shape `(q, k)`, mixtures to choose from, rows within 5e-3 of sum 1.
        selected_tokens: for regmix and evolve of QuaDMix, the fewest and the most expected tokens.
        seed: equal seeds give equal recommendations.
        progress: called with the share of the work that is done.

    Raises:
        InvalidInputError: an unknown method, or an argument that it cannot use.
        NotOnSimplexError: a row of the pool is not a mixture.
        NotEnoughRunsError: best_observed without a usable run.
        InfeasibleError: nothing was found that selects as many tokens as wanted.
        FitDidNotConvergeError: exact did not reach the minimum of a convex objective.
    """
    if method not in RECOMMENDERS:
        known = ", ".join(RECOMMENDERS)
        raise InvalidInputError(f"method is {method!r}; it must be one of {known}", field="method")
    if not (np.isfinite(kl_to_prior) and kl_to_prior >= 0):
        raise InvalidInputError(
            f"kl_to_prior is {kl_to_prior}; it must be at least 0", field="kl_to_prior"
        )
    mixtures = None if pool is None else normalise(pool, study.domain_names)
    problem = Problem(
        study,
        polytope,
        model,
        runs,
        candidates,
        study.space.top_k if top_k is None else top_k,
        kl_to_prior,
        mixtures,
        seed,
        progress,
        None if selected_tokens is None else _budget(study, method, selected_tokens),
    )
    return present(problem, method, RECOMMENDERS[method](problem))


def _budget(study: Study, method: str, wanted: tuple[float, float]) -> TokenBudget:
    space, (fewest, most) = study.space, wanted
    if not isinstance(space, QuadmixPoints) or method not in ("regmix", "evolve"):
        raise InvalidInputError(
            "selected_tokens is for methods regmix and evolve of studies of the space quadmix",
            field="selected_tokens",
        )
    unknown = [
        name
        for name, tokens in zip(space.vectors.domains, space.available, strict=True)
        if tokens is None
    ]
    if unknown:
        raise InvalidInputError(
            f"selected_tokens needs the tokens of every domain, and the study does not know those "
            f"of {', '.join(unknown)}",
            field="selected_tokens",
        )
    if not 0 <= fewest <= most:
        raise InvalidInputError(
            f"selected_tokens is {fewest:g} to {most:g}; the lower end must be at least 0 and not "
            "above the upper",
            field="selected_tokens",
        )
    return TokenBudget(np.array(space.available, dtype=np.float64), fewest, most)
