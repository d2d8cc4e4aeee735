"""Acquisitions that compare fidelities by score over cost, in log space, to measure ours against.

They give the log of what one run is worth; the run with the largest log worth less log cost is
made. See `mixwright.bayesopt.choosing` for why that is not our default.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np
from scipy.special import log_ndtr, ndtr

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.acquisition import NODE_WEIGHTS, NODES, KnowledgeGradient
from mixwright.bayesopt.belief import Belief, draws_at_target

Score: TypeAlias = Callable[[Belief, FloatArray, FloatArray, IntArray, int], FloatArray]
"""`(belief, target pool (p, k), mixtures (q, k), fidelity (q,), seed) -> log worth (q,)`."""

_LEAST = 1e-300
_LOG_NORMALISER = 0.5 * np.log(2.0 * np.pi)
_MINIMA = 16  # draws of the unknown minimum
_ROWS = 128  # cells at once: bounds memory
_STRONG = 0.7  # correlation from which on quadrature is over what is inside of Phi
_INSIDE = np.linspace(-10.0, 10.0, 51)


def expected_improvement(
    belief: Belief, target_pool: FloatArray, mixtures: FloatArray, fidelity: IntArray, seed: int
) -> FloatArray:
    """Return the log of augmented expected improvement at the target.

    Expected improvement of the mixture's target value over the best posterior mean, times the
    correlation of the run with that value, times what is left after noise: Huang, Allen, Notz and
    Miller, "Sequential kriging optimization using multiple-fidelity evaluations", 2006 [X]. In log
    space after Ament et al., "Unexpected improvements to expected improvement", 2023 [X].
    """
    at_target = np.full(len(mixtures), belief.target)
    best = belief.mean(target_pool, np.full(len(target_pool), belief.target)).min()
    std = np.sqrt(belief.variance(mixtures, at_target))
    z = (best - belief.mean(mixtures, at_target)) / std
    noise = belief.noise(fidelity)
    kept = 1.0 - np.sqrt(noise / (noise + belief.variance(mixtures, fidelity)))
    correlation = np.abs(_correlations(belief, mixtures, fidelity, with_noise=False))
    return np.asarray(
        np.log(std) + log_improvement(z) + np.log(correlation + _LEAST) + np.log(kept + _LEAST)
    )


def log_improvement(z: FloatArray) -> FloatArray:
    """Return `log(phi(z) + z Phi(z))` without underflow, for any z.

    For negative z it is `log phi(z) + log(1 - |z| Phi(z) / phi(z))`, whose last term is the tail
    `1 / z^2` where Mills' ratio leaves no digits.
    """
    direct = np.log(np.maximum(np.exp(_log_density(z)) + z * ndtr(z), _LEAST))
    away = np.minimum(z, -1.0)
    ratio = np.exp(np.log(-away) + log_ndtr(away) - _log_density(away))
    middle = _log_density(away) + np.log(np.maximum(1.0 - ratio, _LEAST))
    tail = _log_density(away) - 2.0 * np.log(-away)
    return np.asarray(np.where(z > -1.0, direct, np.where(z > -1e3, middle, tail)))


def _log_density(z: FloatArray) -> FloatArray:
    """Return `log phi(z)`. As `scipy.stats.norm.logpdf`, which takes long to load."""
    return np.asarray(-(z**2) / 2.0 - _LOG_NORMALISER)


def max_value_entropy(
    belief: Belief, target_pool: FloatArray, mixtures: FloatArray, fidelity: IntArray, seed: int
) -> FloatArray:
    """Return the log of what a run tells of the minimum at the target, in nats.

    Wang and Jegelka, "Max-value entropy search", 2017, for fidelities by Takeno et al.,
    "Multi-fidelity Bayesian optimization with max-value entropy search", 2020 [X]. A run's outcome
    `z` given that its mixture is no better than the minimum is normal times
    `Phi((g + r z) / sqrt(1 - r^2)) / Phi(g)`; what it tells is the Kullback-Leibler divergence from
    the normal, here by quadrature. The minimum is drawn jointly over the pool.
    """
    at_target = np.full(len(mixtures), belief.target)
    mean, std = belief.mean(mixtures, at_target), np.sqrt(belief.variance(mixtures, at_target))
    r = np.abs(_correlations(belief, mixtures, fidelity, with_noise=True)).clip(0.0, 0.9999)
    strong, told = r > _STRONG, np.zeros(len(mixtures))
    for minimum in _minima(belief, target_pool, seed):
        g = (mean - minimum) / std
        told[strong] += _told_strongly(g[strong], r[strong])
        told[~strong] += _told_weakly(g[~strong], r[~strong])
    return np.asarray(np.log(np.maximum(told / _MINIMA, _LEAST)))


def knowledge_gradient(
    belief: Belief, target_pool: FloatArray, mixtures: FloatArray, fidelity: IntArray, seed: int
) -> FloatArray:
    """Return the log of the knowledge gradient of one run."""
    value = KnowledgeGradient(belief, target_pool)
    return np.asarray(np.log(value.of_single_runs(mixtures, fidelity) + _LEAST))


SCORES: Final[Mapping[str, Score]] = {
    "expected_improvement": expected_improvement,
    "knowledge_gradient": knowledge_gradient,
    "max_value_entropy": max_value_entropy,
}


def _correlations(
    belief: Belief, mixtures: FloatArray, fidelity: IntArray, *, with_noise: bool
) -> FloatArray:
    """Return the correlation `(q,)` of each run with its mixture's value at the target."""
    noise = belief.noise(fidelity) if with_noise else 0.0
    variance = belief.variance(mixtures, fidelity) + noise
    at_target = np.full(len(mixtures), belief.target)
    covariance = np.empty(len(mixtures))
    for start in range(0, len(mixtures), _ROWS):
        part = slice(start, start + _ROWS)
        block = belief.covariance(mixtures[part], at_target[part], mixtures[part], fidelity[part])
        covariance[part] = np.diag(block)
    return np.asarray(covariance / np.sqrt(variance * belief.variance(mixtures, at_target)))


def _told_weakly(g: FloatArray, r: FloatArray) -> FloatArray:
    """Return the divergence `(q,)` by Gauss-Hermite quadrature over the outcome."""
    inside = (g[:, None] + r[:, None] * NODES) / np.sqrt(1.0 - r**2)[:, None]
    log_ratio = log_ndtr(inside) - log_ndtr(g)[:, None]
    told: FloatArray = (np.exp(log_ratio) * log_ratio) @ NODE_WEIGHTS
    return told


def _told_strongly(g: FloatArray, r: FloatArray) -> FloatArray:
    """Return the divergence `(q,)` where Phi is nearly a step: over what is inside of it.

    It is `-log Phi(g)` and the mean of `log Phi(inside)`, which is zero but near the step.
    """
    given, narrow = log_ndtr(g), np.sqrt(1.0 - r**2) / r
    outcome = narrow[:, None] * _INSIDE - (g / r)[:, None]
    density = np.exp(_log_density(outcome) + log_ndtr(_INSIDE) - given[:, None])
    near = (density @ log_ndtr(_INSIDE)) * narrow * (_INSIDE[1] - _INSIDE[0])
    return np.asarray(near - given)


def _minima(belief: Belief, target_pool: FloatArray, seed: int) -> FloatArray:
    return np.asarray(draws_at_target(belief, target_pool, _MINIMA, seed).min(axis=1))
