"""Simulate mixtures and average the best of them.

Source:
    Liu et al., "RegMix: Data Mixture as Regression for Language Model Pre-training",
    arXiv:2407.01492, and its notebook [X]: 100,000 draws from Dirichlet(prior), the mean of the
    128 with the lowest predictions.

Departures from the paper:
    * Candidates lie inside the study's constraints (see `mixwright.sampling`).
    * The mean is predicted again. Around several optima it can be worse than the candidates it
      averages; the recommendation says by how much if it is worse than their average, or worse
      than the best of them by more than half its interval.
    * Domains are drawn in the order of their names, so that their order does not matter.
    * In other spaces than that of mixtures, candidates are the space's own draws.
    * Under a token budget, draws outside it are left out, and as many of the best are averaged, up
      to `top_k`, as have a mean that keeps it.
"""

from collections.abc import Iterator

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InfeasibleError, InvalidInputError
from mixwright.recommend.base import Choice, Problem, other_method

_BLOCK, _WIDE = 100_000, 128  # candidates held at once: 51 MB at 64 coordinates
_ROUNDING = 1e-9


def recommend_regmix(problem: Problem) -> Choice:
    """Return the mean of the `top_k` candidates with the lowest predictions.

    Raises:
        InvalidInputError: fewer candidates than `top_k`.
        InfeasibleError: none of the candidates keeps the token budget.
    """
    if not 1 <= problem.top_k <= problem.candidates:
        raise InvalidInputError(
            f"top_k is {problem.top_k}; it must be 1 to candidates, {problem.candidates}",
            field="top_k",
        )
    best, scores = _lowest(problem)
    weights, averaged = _mean_within(problem, best)
    return Choice(weights, tuple(_compare(problem, weights, scores[:averaged])))


def _mean_within(problem: Problem, best: FloatArray) -> tuple[FloatArray, int]:
    """Return the mean of as many of `best` as have a mean that is allowed, and how many."""
    space = problem.study.space
    for count in range(len(best), 0, -1):
        mean = space.nearest(problem.polytope, best[:count].mean(axis=0))
        if problem.budget is None or problem.allows(mean[None])[0]:
            return mean, count
    raise InfeasibleError(
        f"none of {problem.candidates} candidates selects as many tokens as wanted; use method "
        "evolve, or change the budget"
    )


def _compare(problem: Problem, weights: FloatArray, scores: FloatArray) -> Iterator[str]:
    """Predict the mean again and say if it is clearly worse than what it is the mean of."""
    predicted = problem.model.predict_objective(weights[None])
    mean, half_width = predicted.mean[0], (predicted.upper - predicted.lower)[0] / 2
    gap, excess = mean - scores[0], mean - scores.mean()
    other = other_method(problem.study.space)
    if excess > _ROUNDING * abs(mean) or gap > half_width:
        yield (
            f"the mean of the {len(scores)} best candidates is predicted at {mean:.6g}, which is "
            f"{gap:.2g} worse than the best of them and {abs(excess):.2g} "
            f"{'worse' if excess > 0 else 'better'} than their average: there may be several "
            f"optima, or too few candidates; compare with method {other}"
        )


def _lowest(problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Return the `top_k` best candidates `(top_k, k)` and their predictions, lowest first."""
    best, scores = np.empty((0, problem.polytope.num_domains)), np.empty(0)
    done = 0
    for block in _candidates(problem):
        done += len(block)
        allowed = block if problem.budget is None else block[problem.allows(block)]
        best = np.vstack([best, allowed])
        scores = np.append(scores, problem.model.objective_mean(allowed))
        lowest = np.argsort(scores, kind="stable")[: problem.top_k]
        best, scores = best[lowest], scores[lowest]
        problem.progress(done / problem.candidates)
    return best, scores


def _candidates(problem: Problem) -> Iterator[FloatArray]:
    study, rng = problem.study, np.random.default_rng(problem.seed)
    block = _BLOCK if len(study.domains) <= _WIDE else _BLOCK // 10
    for start in range(0, problem.candidates, block):
        count = min(block, problem.candidates - start)
        yield study.space.draw(study, problem.polytope, count, rng)
