"""What a run can still teach about the best mixture at the target.

The value of runs is by how much the best posterior mean at the target is expected to improve once
they are known: the knowledge gradient (Frazier, Powell and Dayanik, 2009) [X], over a finite set
of target mixtures. What is ours [I] is how cheap and dear runs are compared. Divided by cost, one
cheap run looks good for ever: its first bit of knowledge is always cheap. So fidelities are
compared at equal spend: a target run against **as many runs of the cheaper fidelity as it would
pay for**, whose joint value saturates as what they can teach about the target, limited by the
learned correlation, is used up. Where a cheap run costs a thousandth and ranks at .97, the block
wins until the surface is known; where it costs a fifth and ranks at .55, it soon loses.
"""

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.special import roots_hermitenorm

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.model import Posterior

_NODES, _NODE_WEIGHTS = roots_hermitenorm(21)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()
_DRAWS = 256
_TINY = 1e-9
LARGEST_BLOCK = 64  # runs whose joint value is looked at; more teach little that these do not


def values_of_single_runs(
    posterior: Posterior, target_pool: FloatArray, mixtures: FloatArray, fidelity: IntArray
) -> FloatArray:
    """Return the knowledge gradient `(q,)` of one run at each cell, in units of the outcome.

    Args:
        posterior: what is known.
        target_pool: mixtures `(p, k)` among which the best is wanted.
        mixtures: of the cells, `(q, k)`.
        fidelity: of the cells, `(q,)`.
    """
    at_target = np.full(len(target_pool), posterior.target)
    mean = posterior.mean(target_pool, at_target)
    covariance = posterior.covariance(target_pool, at_target, mixtures, fidelity)  # (p, q)
    spread = covariance / np.sqrt(variances(posterior, mixtures, fidelity))
    best = np.zeros(len(mixtures))
    for node, weight in zip(_NODES, _NODE_WEIGHTS, strict=True):
        best += weight * np.min(mean[:, None] + node * spread, axis=0)
    # Where the best mixture is all but certain, what moves the means most still comes first.
    tie_breaker = _TINY * np.sqrt((spread**2).mean(axis=0))
    gain: FloatArray = np.maximum(mean.min() - best, 0.0) + tie_breaker
    return gain


def value_of_block(
    posterior: Posterior,
    target_pool: FloatArray,
    mixtures: FloatArray,
    fidelity: IntArray,
    seed: int,
) -> float:
    """Return the joint knowledge gradient of runs at all of the cells, in units of the outcome."""
    at_target = np.full(len(target_pool), posterior.target)
    mean = posterior.mean(target_pool, at_target)
    cross = posterior.covariance(target_pool, at_target, mixtures, fidelity)
    inner = posterior.covariance(mixtures, fidelity, mixtures, fidelity)
    inner[np.diag_indices_from(inner)] += posterior.noise(fidelity)
    half = solve_triangular(_factor(inner), cross.T, lower=True)  # (b, p): shift = half.T @ z
    draws = np.random.default_rng(seed).standard_normal((_DRAWS, len(mixtures)))
    draws = np.concatenate([draws, -draws])
    best = np.min(mean + draws @ half, axis=1).mean()
    return max(0.0, float(mean.min() - best))


def variances(posterior: Posterior, mixtures: FloatArray, fidelity: IntArray) -> FloatArray:
    """Return the variances `(q,)` of runs at cells, noise included."""
    half = solve_triangular(
        posterior.factor, posterior.cross(mixtures, fidelity).T, lower=True, check_finite=False
    )
    prior = posterior.prior_variances(mixtures, fidelity)
    known = posterior.unit**2 * np.sum(half**2, axis=0)
    floor = 1e-12 * posterior.unit**2
    variance: FloatArray = np.maximum(prior - known, floor) + posterior.noise(fidelity)
    return variance


def _factor(covariance: FloatArray) -> FloatArray:
    jitter = 1e-10 * float(np.trace(covariance)) / len(covariance)
    while True:
        try:
            return np.asarray(cholesky(covariance + jitter * np.eye(len(covariance)), lower=True))
        except LinAlgError:
            jitter *= 10
