"""The posterior given more runs than an exact one can take.

All runs are summarised by the values at some of them, the inducing runs: the posterior of
`p(y | u) = N(K_fu K_uu^-1 u, noise)`, which is the optimal one of Titsias, "Variational learning of
inducing variables in sparse Gaussian processes", 2009 [X]. Inducing runs are those that a pivoted
Cholesky factorisation takes first, each the one least explained by those before it (Burt,
Rasmussen and van der Wilk, "Convergence of sparse variational inference", 2020) [X].

The summary has the form of an exact posterior: as many made-up outcomes at the inducing runs, with
a noise covariance that is full. So everything that works on an exact posterior works on it. It is
found without inverting `K_uf N^-1 K_fu`, whose condition is the square of that of `K_uu`.
"""

from dataclasses import replace

import numpy as np
from scipy.linalg import solve_triangular

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.fidelities import Structure
from mixwright.bayesopt.kernel import (
    Hyperparameters,
    features,
    over_mixtures,
    prior_mean,
    variances_over_mixtures,
)
from mixwright.bayesopt.model import Posterior, factorised, standard
from mixwright.bayesopt.observations import Observations

INDUCING = 1_000
_EXPLAINED = 1e-6  # of the signal's variance: what no inducing run is needed for
_LEAST_TOLD = 1e-10  # by the runs of a direction, against the noise
_ROWS = 4_096  # runs taken in at once


def condition_sparsely(
    observations: Observations,
    structure: Structure,
    hyperparameters: Hyperparameters,
    inducing: int = INDUCING,
) -> Posterior:
    """Return the posterior given runs, approximated by `inducing` of them.

    Memory is `inducing` times the number of runs. Points of one run's loss curve are taken to be
    independent, and nothing to be a mixture's own.

    Raises:
        FitDidNotConvergeError: the covariance is not positive definite.
    """
    location, unit = standard(observations, structure)
    values = (observations.values - location[observations.fidelity]) / unit
    rooted = features(observations.mixtures)
    values -= prior_mean(hyperparameters, rooted, observations.fidelity, structure.target)
    rows = _most_telling(observations, structure, hyperparameters, inducing)
    chosen = observations.take(rows)
    root = factorised(_covariance(hyperparameters, structure, chosen, chosen))
    told, weighted = np.zeros_like(root), np.zeros(len(rows))
    for start in range(0, len(values), _ROWS):
        part = slice(start, start + _ROWS)
        some = observations.take(np.arange(len(values))[part])
        cross = _covariance(hyperparameters, structure, chosen, some)
        whitened = np.asarray(solve_triangular(root, cross, lower=True))
        scaled = whitened / hyperparameters.beyond_law(some.fidelity, some.noisiness)
        told += scaled @ whitened.T
        weighted += scaled @ values[part]
    factor, whitened = _as_exact(root, told, weighted)
    return Posterior(
        observations=chosen,
        ran=observations.fidelity,
        hyperparameters=replace(hyperparameters, roughness=0.0),
        structure=structure,
        location=location,
        unit=unit,
        factor=factor,
        whitened=whitened,
    )


def _as_exact(
    root: FloatArray, told: FloatArray, weighted: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the factor `(u, u)` and the whitened outcomes `(u,)` of the posterior.

    With `K_uu = root root'`, `T = told` and `C = T (1 + T)^-1 = H'H`, H lower triangular, explained
    covariance is `K_*u root'^-1 C root^-1 K_u*`, so the factor is `root H^-1`.
    """
    values, vectors = np.linalg.eigh(told)
    values = np.maximum(values, _LEAST_TOLD)
    share = (vectors * (values / (1.0 + values))) @ vectors.T
    half = factorised(share[::-1, ::-1])[::-1, ::-1].T
    factor = solve_triangular(half, root.T, lower=True, trans=1).T
    mean = vectors @ ((vectors.T @ weighted) / (1.0 + values))
    return np.asarray(factor), np.asarray(solve_triangular(half, mean, lower=True, trans=1))


def _most_telling(
    observations: Observations, structure: Structure, hyper: Hyperparameters, count: int
) -> IntArray:
    """Return the pivots of a Cholesky factorisation of the runs' covariance, up to `count`."""
    fidelity, size = observations.fidelity, len(observations.values)
    over = variances_over_mixtures(hyper, features(observations.mixtures))
    left = np.diag(hyper.signal)[fidelity] * over + np.diag(structure.means)[fidelity]
    enough = _EXPLAINED * float(np.diag(hyper.signal).max())
    factor, pivots = np.empty((min(count, size), size)), list[int]()
    while len(pivots) < len(factor):
        pivot, step = int(left.argmax()), len(pivots)
        if left[pivot] <= enough:
            break
        one = observations.take(np.array([pivot]))
        row = _covariance(hyper, structure, one, observations)[0]
        row -= factor[:step, pivot] @ factor[:step]
        factor[step] = row / np.sqrt(left[pivot])
        left = np.maximum(left - factor[step] ** 2, 0.0)
        left[pivot] = 0.0
        pivots.append(pivot)
    return np.array(pivots, dtype=np.int64)


def _covariance(
    hyper: Hyperparameters, structure: Structure, left: Observations, right: Observations
) -> FloatArray:
    pairs = np.ix_(left.fidelity, right.fidelity)
    over = over_mixtures(hyper, features(left.mixtures), features(right.mixtures))
    covariance: FloatArray = hyper.signal[pairs] * over + structure.means[pairs]
    return covariance
