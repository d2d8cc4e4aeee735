"""Hyperparameters by the mode of the marginal likelihood times log-normal priors.

Gradients are analytic, in float64: Rasmussen and Williams, "Gaussian Processes for Machine
Learning", 2006, (5.8) and (5.9) [X]. The mean of each fidelity is integrated out under a vague
normal prior, which is the same as profiling it out in the limit (2.43 there).
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import LinAlgError, cholesky
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize
from scipy.special import expit, logit

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.kernel import Hyperparameters, matern, scaled_distances
from mixwright.errors import FitDidNotConvergeError

MEAN_VARIANCE = 25.0  # of a fidelity's mean, in squared units of the spread of its outcomes
_MOST_STEPS = 80
_FAILED = 1e10
# Prior medians and spreads, in logarithms, of: length, linear, scales, logit correlation, noises.
_LENGTH, _LINEAR = (np.log(1.2), 0.8), (np.log(0.5), 1.5)
_SCALE, _CORRELATION, _NOISE = (0.0, 0.7), (1.0, 1.5), (np.log(0.05), 1.5)
_BOUNDS = {"length": (-3.0, 3.0), "linear": (-7.0, 4.0), "scale": (-4.0, 3.0)}
_CORRELATION_BOUNDS, _NOISE_BOUNDS = (-4.0, 7.0), (-13.0, 2.0)


@dataclass(frozen=True, slots=True)
class Problem:
    """Observations to explain.

    Attributes:
        rooted: features, shape `(n, k)`.
        centre: of the linear kernel, shape `(k,)`.
        fidelity: shape `(n,)`, indices below `num_fidelities`.
        values: shape `(n,)`, standardised.
        num_fidelities: F.
        target: index of the target fidelity, whose correlation is 1.
    """

    rooted: FloatArray
    centre: FloatArray
    fidelity: IntArray
    values: FloatArray
    num_fidelities: int
    target: int
    distances: FloatArray = field(init=False)
    products: FloatArray = field(init=False)
    indicators: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        centred = self.rooted - self.centre
        indicators = np.eye(self.num_fidelities)[self.fidelity]
        object.__setattr__(self, "distances", scaled_distances(self.rooted, self.rooted))
        object.__setattr__(self, "products", centred @ centred.T)
        object.__setattr__(self, "indicators", indicators)

    @property
    def lower(self) -> IntArray:
        """The fidelities other than the target."""
        return np.array([f for f in range(self.num_fidelities) if f != self.target], dtype=np.int64)


def prior(problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Return medians and spreads of the transformed hyperparameters."""
    count, lower = problem.num_fidelities, len(problem.lower)
    parts = [_LENGTH, _LINEAR, *[_SCALE] * count, *[_CORRELATION] * lower, *[_NOISE] * count]
    table = np.array(parts, dtype=float)
    return table[:, 0], table[:, 1]


def unpack(theta: FloatArray, problem: Problem) -> Hyperparameters:
    """Return the hyperparameters that `theta` stands for."""
    count, lower = problem.num_fidelities, problem.lower
    correlations = np.ones(count)
    correlations[lower] = expit(theta[2 + count : 2 + count + len(lower)])
    return Hyperparameters(
        length=float(np.exp(theta[0])),
        linear=float(np.exp(theta[1])),
        scales=np.exp(theta[2 : 2 + count]),
        correlations=correlations,
        noises=np.exp(theta[2 + count + len(lower) :]),
    )


def pack(hyperparameters: Hyperparameters, problem: Problem) -> FloatArray:
    """Return the vector that `unpack` turns back, for a warm start."""
    inside = np.clip(hyperparameters.correlations[problem.lower], 1e-4, 1 - 1e-4)
    return np.concatenate(
        [
            np.log([hyperparameters.length, hyperparameters.linear]),
            np.log(hyperparameters.scales),
            logit(inside),
            np.log(hyperparameters.noises),
        ]
    )


def find(problem: Problem, start: FloatArray | None = None) -> Hyperparameters:
    """Return the posterior mode, searched for from `start` and from the prior's.

    Raises:
        FitDidNotConvergeError: no positive definite covariance was found.
    """
    starts = [prior(problem)[0]] if start is None else [start]
    found = min((_search(problem, one) for one in starts), key=lambda one: one[0])
    if not found[0] < _FAILED:
        raise FitDidNotConvergeError(
            "the Gaussian process found no positive definite covariance; are there runs with "
            "outcomes far out of the others' range?"
        )
    return unpack(found[1], problem)


def _search(problem: Problem, start: FloatArray) -> tuple[float, FloatArray]:
    count, lower = problem.num_fidelities, len(problem.lower)
    bounds = [_BOUNDS["length"], _BOUNDS["linear"], *[_BOUNDS["scale"]] * count]
    bounds += [*[_CORRELATION_BOUNDS] * lower, *[_NOISE_BOUNDS] * count]
    ends = np.array(bounds)
    result = minimize(
        cost_and_gradient,
        np.clip(start, ends[:, 0], ends[:, 1]),
        args=(problem,),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _MOST_STEPS},
    )
    return float(result.fun), np.asarray(result.x)


def cost_and_gradient(theta: FloatArray, problem: Problem) -> tuple[float, FloatArray]:
    """Return minus the log posterior, less a constant, and its gradient."""
    medians, spreads = prior(problem)
    away = (theta - medians) / spreads
    cost, gradient = _likelihood(theta, problem)
    return cost + 0.5 * float(away @ away), gradient + away / spreads


def _likelihood(theta: FloatArray, problem: Problem) -> tuple[float, FloatArray]:
    hyper = unpack(theta, problem)
    distances = problem.distances / hyper.length
    linear = hyper.linear * problem.products
    between = hyper.between_fidelities(problem.fidelity, problem.fidelity)
    signal = between * (matern(distances) + linear)
    covariance = signal + MEAN_VARIANCE * (problem.indicators @ problem.indicators.T)
    covariance[np.diag_indices_from(covariance)] += hyper.noises[problem.fidelity]
    try:
        factor = cholesky(covariance, lower=True, check_finite=False)
    except LinAlgError:
        return _FAILED, np.zeros_like(theta)
    triangle = np.tril(dpotri(factor, lower=1)[0])
    inverse = triangle + np.tril(triangle, -1).T
    weights = inverse @ problem.values
    cost = 0.5 * float(problem.values @ weights) + float(np.log(np.diag(factor)).sum())
    slope = inverse - np.outer(weights, weights)  # twice d cost / d covariance
    return cost, _chain(slope, _Parts(between, signal, distances, linear), hyper, problem)


@dataclass(frozen=True, slots=True)
class _Parts:
    between: FloatArray  # a_f a_g R_fg
    signal: FloatArray  # times the kernel
    distances: FloatArray
    linear: FloatArray


def _chain(
    slope: FloatArray, parts: _Parts, hyper: Hyperparameters, problem: Problem
) -> FloatArray:
    """Return the gradient by `theta` from twice the one by the covariance."""
    d = parts.distances
    by_length = parts.between * (d**2 * (1.0 + d) * np.exp(-d) / 3.0)
    blocks = problem.indicators.T @ (slope * parts.signal) @ problem.indicators  # (F, F)
    lower, r = problem.lower, hyper.correlations
    outside = (blocks.sum(1) - np.diag(blocks))[lower]
    diagonal = problem.indicators.T @ np.diag(slope)
    return np.concatenate(
        [
            [0.5 * np.sum(slope * by_length)],
            [0.5 * np.sum(slope * parts.between * parts.linear)],
            blocks.sum(1),
            outside * (1.0 - r[lower]),  # d log r / d logit r = 1 - r
            0.5 * hyper.noises * diagonal,
        ]
    )
