"""The posterior given more runs than an exact one can take.

All runs are summarised by the values at some of them, the inducing runs: the posterior of
`p(y | u) = N(K_fu K_uu^-1 u, noise)`, which is the optimal one of Titsias, "Variational learning of
inducing variables in sparse Gaussian processes", 2009 [X]. Inducing runs are those that a pivoted
Cholesky factorisation takes first, each the one least explained by those before it (Burt,
Rasmussen and van der Wilk, "Convergence of sparse variational inference", 2020) [X].

The summary has the form of an exact posterior: as many made-up outcomes at the inducing runs, with
a noise covariance that is full. So everything that works on an exact posterior works on it.
"""

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.fidelities import Structure
from mixwright.bayesopt.kernel import (
    Hyperparameters,
    features,
    over_mixtures,
    variances_over_mixtures,
)
from mixwright.bayesopt.model import Posterior, factorised, standard
from mixwright.bayesopt.observations import Observations

INDUCING = 1_000
_EXPLAINED = 1e-6  # of the signal's variance: what no inducing run is needed for
_ROWS = 4_096  # runs taken in at once


def condition_sparsely(
    observations: Observations,
    structure: Structure,
    hyperparameters: Hyperparameters,
    inducing: int = INDUCING,
) -> Posterior:
    """Return the posterior given runs, approximated by `inducing` of them.

    Memory is `inducing` times the number of runs. Points of one run's loss curve are taken to be
    independent.

    Raises:
        FitDidNotConvergeError: the covariance is not positive definite.
    """
    location, unit = standard(observations, structure)
    values = (observations.values - location[observations.fidelity]) / unit
    rows = _most_telling(observations, structure, hyperparameters, inducing)
    chosen = observations.take(rows)
    inner = _covariance(hyperparameters, structure, chosen, chosen)
    precision, weighted = np.zeros_like(inner), np.zeros(len(rows))
    for start in range(0, len(values), _ROWS):
        part = slice(start, start + _ROWS)
        some = observations.take(np.arange(len(values))[part])
        cross = _covariance(hyperparameters, structure, chosen, some)
        scaled = cross / (hyperparameters.noises[some.fidelity] * some.noisiness)
        precision += scaled @ cross.T
        weighted += scaled @ values[part]
    half = factorised(precision)
    noise = inner @ cho_solve((half, True), inner)  # K_uu (K_uf N^-1 K_fu)^-1 K_uu
    made_up = inner @ cho_solve((half, True), weighted)
    factor = factorised(inner + 0.5 * (noise + noise.T))
    return Posterior(
        observations=chosen,
        ran=observations.fidelity,
        hyperparameters=hyperparameters,
        structure=structure,
        location=location,
        unit=unit,
        factor=factor,
        whitened=np.asarray(solve_triangular(factor, made_up, lower=True)),
    )


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
