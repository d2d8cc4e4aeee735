"""What to say of what is known: how near the recommended mixture is to the best, and why."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.belief import Belief
from mixwright.bayesopt.knowing import Knowledge
from mixwright.bayesopt.likelihood import cost_and_gradient, pack, unpack
from mixwright.bayesopt.model import Posterior, problem_of

_DRAWS = 512
_RUNS = 300  # on which the curvature of the likelihood is measured
_STEP = 1e-4
_NORMAL_90 = 1.6449


@dataclass(frozen=True, slots=True)
class Regret:
    """By how much the recommended mixture is expected to miss the best of a pool.

    Attributes:
        mean: expected.
        upper: exceeded with a probability of 5 %.
    """

    mean: float
    upper: float


@dataclass(frozen=True, slots=True)
class Correlation:
    """Between a fidelity and the target, noise apart, with a 90 % interval."""

    mean: float
    lower: float
    upper: float


def regret_of(knowledge: Knowledge, recommended: FloatArray, pool: FloatArray, seed: int) -> Regret:
    """Return the regret of `recommended` `(k,)` among `pool` `(p, k)`, by joint posterior draws.

    Raises:
        FitDidNotConvergeError: the covariance is not positive definite.
    """
    values = knowledge.draws(np.vstack([recommended, pool]), _DRAWS, seed)
    missed = values[:, 0] - values.min(axis=1)
    return Regret(float(missed.mean()), float(np.quantile(missed, 0.95)))


def interval(belief: Belief, mixtures: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return posterior mean, lower and upper end of 90 % intervals at the target, each `(q,)`."""
    at_target = np.full(len(mixtures), belief.target)
    mean = belief.mean(mixtures, at_target)
    half = _NORMAL_90 * np.sqrt(belief.variance(mixtures, at_target))
    return mean, mean - half, mean + half


def correlations(posterior: Posterior, num_fidelities: int, seed: int) -> list[Correlation]:
    """Return the correlation of each of the study's fidelities with the target.

    The interval is of a normal approximation of the hyperparameters' posterior at its mode
    (Laplace), whose curvature is measured on at most 300 runs, the target's first.
    """
    table = _drawn_correlations(posterior, seed)[:, :num_fidelities]
    hyper, target = posterior.hyperparameters, posterior.target
    return [
        Correlation(
            hyper.correlation(index, target),
            float(np.quantile(table[:, index], 0.05)),
            float(np.quantile(table[:, index], 0.95)),
        )
        for index in range(num_fidelities)
    ]


def _drawn_correlations(posterior: Posterior, seed: int) -> FloatArray:
    """Return draws `(d, F)` of the correlations with the target."""
    problem = problem_of(posterior.observations.take(_rows(posterior)), posterior.structure)
    ranges, mode = problem.ranges, pack(posterior.hyperparameters, problem)
    curvature = np.empty((len(mode), len(mode)))
    for index, unit in enumerate(np.eye(len(mode))):
        ahead = cost_and_gradient(mode + _STEP * unit, problem, ranges)[1]
        behind = cost_and_gradient(mode - _STEP * unit, problem, ranges)[1]
        curvature[index] = (ahead - behind) / (2 * _STEP)
    normal = np.random.default_rng(seed).standard_normal((_DRAWS, len(mode)))
    thetas = mode + normal @ _inverse_root(curvature, ranges.spread)
    thetas = np.clip(thetas, ranges.low, ranges.high)
    hypers = [unpack(theta, problem) for theta in thetas]
    count = len(posterior.structure.means)
    return np.array(
        [[one.correlation(f, posterior.target) for f in range(count)] for one in hypers]
    )


def _inverse_root(curvature: FloatArray, spread: FloatArray) -> FloatArray:
    """Return a root of the inverse curvature; where it is flat the prior alone remains."""
    symmetric = 0.5 * (curvature + curvature.T)
    try:
        factor = cholesky(symmetric, lower=True)
    except LinAlgError:
        return np.diag(spread)
    return np.asarray(solve_triangular(factor, np.eye(len(spread)), lower=True))


def _rows(posterior: Posterior) -> IntArray:
    """Return at most 300 runs: the target's first, then a draw."""
    fidelity = posterior.observations.fidelity
    shuffled = np.random.default_rng(0).permutation(len(fidelity))
    order = shuffled[np.argsort(fidelity[shuffled] != posterior.target, kind="stable")]
    return np.sort(order[:_RUNS])
