"""Hyperparameters by the mode of the marginal likelihood times normal priors on their logarithms.

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

from mixwright.arrays import BoolArray, FloatArray, IntArray
from mixwright.bayesopt.fidelities import Ranges, Structure
from mixwright.bayesopt.kernel import (
    Hyperparameters,
    are_replicates,
    matern,
    scaled_distances,
    unlikeness,
)
from mixwright.errors import FitDidNotConvergeError

_MOST_STEPS = 80
_FAILED = 1e10
# Median, spread and bounds of logarithms: of the common length, of a domain's against it, of the
# linear kernel's variance; and of the logits of what points of one run have in common, and of what
# is a mixture's own.
_LENGTH, _RELATIVE = (np.log(1.2), 0.8, -3.0, 3.0), (0.0, 0.3, -2.5, 2.5)
_LINEAR, _COMMON = (np.log(0.7), 1.5, -7.0, 4.0), (1.0, 1.0, -4.0, 6.0)
_ROUGHNESS = (0.0, 1.0, -4.0, 4.0)


@dataclass(frozen=True, slots=True)
class Problem:
    """Observations to explain.

    Attributes:
        rooted: features, shape `(n, k)`.
        centre: mean feature, shape `(k,)`.
        fidelity: shape `(n,)`.
        values: shape `(n,)`, standardised.
        noisiness: shape `(n,)`, variance of each against its fidelity's noise.
        run: shape `(n,)`, equal for points of one run.
        structure: of the fidelities.
    """

    rooted: FloatArray
    centre: FloatArray
    fidelity: IntArray
    values: FloatArray
    noisiness: FloatArray
    run: IntArray
    structure: Structure
    unlike: FloatArray = field(init=False)
    indicators: FloatArray = field(init=False)
    is_same_run: FloatArray | None = field(init=False)
    is_replicate: FloatArray | None = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.structure.means)
        object.__setattr__(self, "unlike", unlikeness(self.centre, self.rooted))
        object.__setattr__(self, "indicators", np.eye(count)[self.fidelity])
        same_run = self.run[:, None] == self.run[None]
        np.fill_diagonal(same_run, False)
        object.__setattr__(self, "is_same_run", _if_any(same_run))
        replicates = are_replicates(self.rooted, self.fidelity)
        object.__setattr__(self, "is_replicate", _if_any(replicates & ~same_run.any()))

    @property
    def ranges(self) -> Ranges:
        """Priors and bounds of all that is searched."""
        own = np.array(
            [_LENGTH, *[_RELATIVE] * self.rooted.shape[1], _LINEAR, _COMMON, _ROUGHNESS]
        ).T
        other = self.structure.ranges
        rest = (other.median, other.spread, other.low, other.high)
        return Ranges(*(np.concatenate([a, b]) for a, b in zip(own, rest, strict=True)))

    @property
    def own(self) -> int:
        """How many of the searched numbers come before those of the structure."""
        return len(self.centre) + 4


def _if_any(pairs: BoolArray) -> FloatArray | None:
    """Return 1 for pairs `(n, n)` that are; None where there is none."""
    return pairs.astype(float) if pairs.any() else None


def unpack(theta: FloatArray, problem: Problem) -> Hyperparameters:
    """Return the hyperparameters that `theta` stands for."""
    own = problem.own
    signal, noises = problem.structure.unpack(theta[own:])
    return Hyperparameters(
        centre=problem.centre,
        lengths=np.exp(theta[0] + theta[1 : own - 3]),
        linear=float(np.exp(theta[own - 3])),
        signal=signal,
        noises=noises,
        common=0.0 if problem.is_same_run is None else float(expit(theta[own - 2])),
        roughness=float(expit(theta[own - 1])) if problem.is_same_run is None else 0.0,
    )


def pack(hyperparameters: Hyperparameters, problem: Problem) -> FloatArray:
    """Return the vector that `unpack` turns back, for a warm start."""
    lengths = np.log(hyperparameters.lengths)
    common = logit(np.clip(hyperparameters.common or 0.73, 0.02, 0.99))
    rough = logit(np.clip(hyperparameters.roughness or 0.5, 0.02, 0.98))
    return np.concatenate(
        [
            [lengths.mean()],
            lengths - lengths.mean(),
            [np.log(hyperparameters.linear), common, rough],
            problem.structure.pack(hyperparameters),
        ]
    )


def find(problem: Problem, start: FloatArray | None = None) -> Hyperparameters:
    """Return the posterior mode, searched for from `start` or from the prior's medians.

    Raises:
        FitDidNotConvergeError: no positive definite covariance was found.
    """
    ranges = problem.ranges
    begin = ranges.median if start is None else np.clip(start, ranges.low, ranges.high)
    result = minimize(
        cost_and_gradient,
        begin,
        args=(problem, ranges),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(ranges.low, ranges.high, strict=True)),
        options={"maxiter": _MOST_STEPS},
    )
    if not float(result.fun) < _FAILED:
        raise FitDidNotConvergeError(
            "the Gaussian process found no positive definite covariance; are there runs with "
            "outcomes far out of the others' range?"
        )
    return unpack(np.asarray(result.x), problem)


def cost_and_gradient(
    theta: FloatArray, problem: Problem, ranges: Ranges
) -> tuple[float, FloatArray]:
    """Return minus the log posterior, less a constant, and its gradient."""
    away = (theta - ranges.median) / ranges.spread
    cost, gradient = _likelihood(theta, problem)
    return cost + 0.5 * float(away @ away), gradient + away / ranges.spread


def noise_covariance(hyperparameters: Hyperparameters, problem: Problem) -> FloatArray:
    """Return the covariance `(n, n)` of what runs show beyond the law.

    Points of one run share some of it, and so do replicates: what is their mixture's own.
    """
    beyond = hyperparameters.beyond_law(problem.fidelity, problem.noisiness)
    if problem.is_same_run is None:
        shared = hyperparameters.roughness * _between_replicates(hyperparameters, problem)
        return np.asarray(shared + np.diag(beyond))
    root = np.sqrt(beyond)
    shared = hyperparameters.common * problem.is_same_run + np.eye(len(root))
    return np.asarray(shared * np.outer(root, root))


def _likelihood(theta: FloatArray, problem: Problem) -> tuple[float, FloatArray]:
    hyper = unpack(theta, problem)
    parts = _parts(hyper, problem)
    means = problem.structure.means[np.ix_(problem.fidelity, problem.fidelity)]
    try:
        covariance = parts.between * (matern(parts.distances) + parts.linear) + means + parts.noise
        factor = cholesky(covariance, lower=True, check_finite=False)
    except LinAlgError:
        return _FAILED, np.zeros_like(theta)
    triangle = np.tril(dpotri(factor, lower=1)[0])
    inverse = triangle + np.tril(triangle, -1).T
    loadings = hyper.loadings(problem.structure.target)
    residuals = problem.values - loadings[problem.fidelity] * problem.unlike
    weights = inverse @ residuals
    cost = 0.5 * float(residuals @ weights) + float(np.log(np.diag(factor)).sum())
    slope = inverse - np.outer(weights, weights)  # twice d cost / d covariance
    return cost, _chain(theta, slope, weights, parts, hyper, problem)


@dataclass(frozen=True, slots=True)
class _Parts:
    scaled: FloatArray  # features over lengths
    distances: FloatArray
    linear: FloatArray
    between: FloatArray  # B of the runs' fidelities
    noise: FloatArray


def _parts(hyper: Hyperparameters, problem: Problem) -> _Parts:
    scaled = (problem.rooted - problem.centre) / hyper.lengths
    return _Parts(
        scaled=scaled,
        distances=scaled_distances(scaled, scaled),
        linear=hyper.linear * (scaled @ scaled.T),
        between=hyper.signal[np.ix_(problem.fidelity, problem.fidelity)],
        noise=noise_covariance(hyper, problem),
    )


def _chain(
    theta: FloatArray,
    slope: FloatArray,
    weights: FloatArray,
    parts: _Parts,
    hyper: Hyperparameters,
    problem: Problem,
) -> FloatArray:
    """Return the gradient by `theta` from twice the one by the covariance, and minus the means'."""
    by_kernel = slope * parts.between
    by_lengths = _by_lengths(by_kernel, parts, hyper)
    signal = by_kernel * (matern(parts.distances) + parts.linear)
    by_signal = problem.indicators.T @ signal @ problem.indicators
    by_signal += _by_loadings(weights, hyper, problem)
    noisy = slope * parts.noise
    by_noise = problem.indicators.T @ noisy.sum(axis=1)
    by_common = by_rough = 0.0
    if problem.is_same_run is not None:
        together = float(noisy.sum() - np.trace(noisy))
        by_common = 0.5 * together * (1.0 - hyper.common)
    else:
        by_rough = 0.5 * _by_roughness(slope, hyper, problem)
    rest = problem.structure.chain(theta[problem.own :], by_signal, by_noise)
    by_linear = 0.5 * np.sum(by_kernel * parts.linear)
    own = [by_linear, by_common, by_rough]
    return np.concatenate([[by_lengths.sum()], by_lengths, own, rest])


def _by_roughness(slope: FloatArray, hyper: Hyperparameters, problem: Problem) -> float:
    """Return twice the gradient by the logit of the roughness."""
    of_each = np.diag(slope) * hyper.noises[problem.fidelity] * (1.0 - problem.noisiness)
    moved = of_each.sum() + np.sum(slope * _between_replicates(hyper, problem))
    return float(hyper.roughness * (1.0 - hyper.roughness) * moved)


def _between_replicates(hyper: Hyperparameters, problem: Problem) -> FloatArray | float:
    """Return what replicates would have in common `(n, n)` if nothing were luck."""
    if problem.is_replicate is None:
        return 0.0
    between: FloatArray = hyper.noises[problem.fidelity][:, None] * problem.is_replicate
    return between


def _by_loadings(weights: FloatArray, hyper: Hyperparameters, problem: Problem) -> FloatArray:
    """Return what the prior means add to `B * (2 d cost / d B)`, `(F, F)`.

    The loading of f is `B_ft / sqrt(B_tt)`, t the target.
    """
    target = problem.structure.target
    by_loading = -problem.indicators.T @ (weights * problem.unlike)
    by_log = by_loading * hyper.loadings(target)
    added = np.zeros_like(hyper.signal)
    added[:, target] += by_log
    added[target] += by_log
    added[target, target] -= by_log.sum()
    return added


def _by_lengths(by_kernel: FloatArray, parts: _Parts, hyper: Hyperparameters) -> FloatArray:
    """Return the gradient by the log of each domain's length, `(k,)`."""
    d, u = parts.distances, parts.scaled
    inner = by_kernel * ((5.0 / 3.0) * (1.0 + d) * np.exp(-d))
    squares = 2.0 * (inner.sum(axis=1) @ u**2 - np.einsum("ij,ij->j", u, inner @ u))
    linear = -2.0 * hyper.linear * np.einsum("ij,ij->j", u, by_kernel @ u)
    by_lengths: FloatArray = 0.5 * (squares + linear)
    return by_lengths
