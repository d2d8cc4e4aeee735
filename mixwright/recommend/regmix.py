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
"""

from collections.abc import Iterator

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.projection import project
from mixwright.recommend.base import Choice, Problem, by_name
from mixwright.sampling import sample_dirichlet

_BLOCK = 100_000  # candidates held at once: 51 MB at 64 domains
_ROUNDING = 1e-9


def recommend_regmix(problem: Problem) -> Choice:
    """Return the mean of the `top_k` candidates with the lowest predictions.

    Raises:
        InvalidInputError: fewer candidates than `top_k`.
    """
    if not 1 <= problem.top_k <= problem.candidates:
        raise InvalidInputError(
            f"top_k is {problem.top_k}; it must be 1 to candidates, {problem.candidates}",
            field="top_k",
        )
    best, scores = _lowest(problem)
    weights = project(problem.polytope, best.mean(axis=0))
    return Choice(weights, tuple(_compare(problem, weights, scores)))


def _compare(problem: Problem, weights: FloatArray, scores: FloatArray) -> Iterator[str]:
    """Predict the mean again and say if it is clearly worse than what it is the mean of."""
    predicted = problem.model.predict_objective(weights[None])
    mean, half_width = predicted.mean[0], (predicted.upper - predicted.lower)[0] / 2
    gap, excess = mean - scores[0], mean - scores.mean()
    if excess > _ROUNDING * abs(mean) or gap > half_width:
        yield (
            f"the mean of the {len(scores)} best candidates is predicted at {mean:.6g}, which is "
            f"{gap:.2g} worse than the best of them and {abs(excess):.2g} "
            f"{'worse' if excess > 0 else 'better'} than their average: there may be several "
            "optima, or too few candidates; compare with method exact"
        )


def _lowest(problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Return the `top_k` best candidates `(top_k, k)` and their predictions, lowest first."""
    best, scores = np.empty((0, problem.polytope.num_domains)), np.empty(0)
    done = 0
    for block in _candidates(problem):
        best = np.vstack([best, block])
        scores = np.append(scores, problem.model.objective_mean(block))
        lowest = np.argsort(scores, kind="stable")[: problem.top_k]
        best, scores = best[lowest], scores[lowest]
        done += len(block)
        problem.progress(done / problem.candidates)
    return best, scores


def _candidates(problem: Problem) -> Iterator[FloatArray]:
    order, back = by_name(problem.study)
    polytope, prior = problem.polytope.reorder(order), problem.study.prior[order]
    rng = np.random.default_rng(problem.seed)
    for start in range(0, problem.candidates, _BLOCK):
        count = min(_BLOCK, problem.candidates - start)
        yield sample_dirichlet(polytope, prior, count, rng)[:, back]
