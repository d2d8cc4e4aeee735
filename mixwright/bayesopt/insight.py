"""What to say of what is known: how near the recommended mixture is to the best, and why."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.belief import Belief, WeightedSum
from mixwright.bayesopt.kernel import Hyperparameters
from mixwright.bayesopt.knowing import Knowledge
from mixwright.bayesopt.likelihood import cost_and_gradient, pack, unpack
from mixwright.bayesopt.model import Posterior, condition, problem_of

_DRAWS = 512
_POSTERIORS = 32
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


def interval(
    belief: Belief, mixtures: FloatArray, seed: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return posterior mean, lower and upper end of 90 % intervals at the target, each `(q,)`."""
    mean = belief.mean(mixtures, np.full(len(mixtures), belief.target))
    return normal_interval(mean, variance_in_all(belief, mixtures, seed))


def normal_interval(
    mean: FloatArray, variance: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return means, lower and upper ends of normal 90 % intervals, each `(q,)`."""
    half = _NORMAL_90 * np.sqrt(variance)
    return mean, mean - half, mean + half


def variance_in_all(
    belief: Belief, mixtures: FloatArray, seed: int, *, of_runs: bool = False
) -> FloatArray:
    """Return variances `(q,)` at the target that allow for what is not known of hyperparameters.

    The law of total variance over draws from a normal approximation of the hyperparameters'
    posterior (Laplace). A few target runs near the best say little of scale and correlation
    elsewhere, and an interval from the likeliest hyperparameters alone would be too narrow there.

    Args:
        belief: a posterior, or a weighted sum of some, whose errors are taken as independent.
        mixtures: shape `(q, k)`.
        seed: of the draws.
        of_runs: whether a run's noise counts.
    """
    if isinstance(belief, WeightedSum):
        each = [variance_in_all(part, mixtures, seed, of_runs=of_runs) for part in belief.parts]
        return np.asarray(belief.weights**2 @ np.array(each))
    at_target = np.full(len(mixtures), belief.target)
    drawn = [belief, *(_drawn_posteriors(belief, seed) if isinstance(belief, Posterior) else [])]
    means = np.array([one.mean(mixtures, at_target) for one in drawn])
    variances = np.array([one.variance(mixtures, at_target) for one in drawn])
    if of_runs:
        variances += np.array([one.noise(at_target) for one in drawn])
    return np.asarray(variances.mean(axis=0) + means.var(axis=0))


def _drawn_posteriors(posterior: Posterior, seed: int) -> list[Posterior]:
    """Return posteriors given the runs, with drawn hyperparameters; none of an approximation."""
    runs, structure = posterior.observations, posterior.structure
    if len(posterior.ran) != len(runs.values):
        return []
    drawn = _drawn_hyperparameters(posterior, _POSTERIORS, seed)
    return [condition(runs, structure, one) for one in drawn]


def correlations(posterior: Posterior, num_fidelities: int, seed: int) -> list[Correlation]:
    """Return the correlation of each of the study's fidelities with the target.

    The interval is of a normal approximation of the hyperparameters' posterior at its mode
    (Laplace), whose curvature is measured on at most 300 runs, the target's first.
    """
    hyper, target = posterior.hyperparameters, posterior.target
    drawn = _drawn_hyperparameters(posterior, _DRAWS, seed)
    table = np.array([[one.correlation(f, target) for f in range(num_fidelities)] for one in drawn])
    return [
        Correlation(
            hyper.correlation(index, target),
            float(np.quantile(table[:, index], 0.05)),
            float(np.quantile(table[:, index], 0.95)),
        )
        for index in range(num_fidelities)
    ]


def _drawn_hyperparameters(posterior: Posterior, count: int, seed: int) -> list[Hyperparameters]:
    """Return draws from the normal approximation of their posterior at its mode."""
    hyper, runs = posterior.hyperparameters, posterior.observations.take(_rows(posterior))
    problem = problem_of(runs, posterior.structure, hyper.centre)
    ranges, mode = problem.ranges, pack(hyper, problem)
    curvature = np.empty((len(mode), len(mode)))
    for index, unit in enumerate(np.eye(len(mode))):
        ahead = cost_and_gradient(mode + _STEP * unit, problem, ranges)[1]
        behind = cost_and_gradient(mode - _STEP * unit, problem, ranges)[1]
        curvature[index] = (ahead - behind) / (2 * _STEP)
    normal = np.random.default_rng(seed).standard_normal((count, len(mode)))
    thetas = mode + normal @ _inverse_root(curvature, ranges.spread)
    return [unpack(theta, problem) for theta in np.clip(thetas, ranges.low, ranges.high)]


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
