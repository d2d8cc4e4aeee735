"""What is learned from all runs so far, at the price that a request can pay.

Hyperparameters are searched for when the runs are 15 % more than at the last search, on the runs
there were then. So they follow from the runs alone, whoever asks and how often, and what was found
is remembered: between two searches an answer costs a Cholesky factorisation.
"""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from mixwright.arrays import IntArray
from mixwright.bayesopt.fidelities import Structure
from mixwright.bayesopt.kernel import Hyperparameters
from mixwright.bayesopt.model import Posterior
from mixwright.bayesopt.observations import Observations, with_noise_of_replicates
from mixwright.bayesopt.robust import Outlier, fit_robustly, impossible, outliers_of, without
from mixwright.bayesopt.sparse import condition_sparsely

LARGEST_EXACT = 2_000  # runs; a posterior given more is approximated
_GROWTH = 1.15
_ALWAYS = 8  # up to so many runs, every one is worth a search
_LARGEST_SEARCH = 1_000  # runs, beyond which a draw of them is searched


@dataclass(frozen=True, slots=True)
class Learned:
    """A posterior given every run, and the runs that were given no weight."""

    posterior: Posterior
    outliers: tuple[Outlier, ...]


def learn(observations: Observations, structure: Structure) -> Learned:
    """Return what is learned from runs, which are in the order in which they came.

    Raises:
        InvalidInputError: no runs.
        FitDidNotConvergeError: no positive definite covariance was found.
    """
    searched = observations.take(np.arange(_searched_at(len(observations.values))))
    searched = with_noise_of_replicates(searched)
    hyperparameters = _search(_Search(_digest(searched, structure), searched, structure))
    observations = with_noise_of_replicates(observations)
    if len(observations.values) <= LARGEST_EXACT:
        return Learned(*fit_robustly(observations, structure, hyperparameters))
    flagged = impossible(observations)
    posterior = condition_sparsely(without(observations, flagged), structure, hyperparameters)
    return Learned(posterior, outliers_of(posterior, observations, flagged))


def _searched_at(count: int) -> int:
    """Return the number of runs at the last search, when there are `count`."""
    at = min(count, _ALWAYS)
    while count > _ALWAYS and int(np.ceil(at * _GROWTH)) <= count:
        at = int(np.ceil(at * _GROWTH))
    return at


@dataclass(frozen=True)
class _Search:
    digest: str  # alone tells two searches apart
    observations: Observations = field(compare=False)
    structure: Structure = field(compare=False)


@lru_cache(maxsize=1_024)
def _search(search: _Search) -> Hyperparameters:
    sample = search.observations.take(_drawn(search.observations, search.structure.target))
    return fit_robustly(sample, search.structure)[0].hyperparameters


def _drawn(observations: Observations, target: int) -> IntArray:
    """Return the rows to search on: all, or the target's first and a draw of the others."""
    count = len(observations.values)
    if count <= _LARGEST_SEARCH:
        return np.arange(count)
    shuffled = np.random.default_rng(count).permutation(count)
    first = np.argsort(observations.fidelity[shuffled] != target, kind="stable")
    half = shuffled[first[: _LARGEST_SEARCH // 2]]
    rest = shuffled[~np.isin(shuffled, half)]
    return np.sort(np.concatenate([half, rest[: _LARGEST_SEARCH - len(half)]]))


def _digest(observations: Observations, structure: Structure) -> str:
    digest = hashlib.sha256(repr(structure).encode())
    for column in (observations.mixtures, observations.fidelity, observations.values):
        digest.update(np.ascontiguousarray(column).tobytes())
    digest.update(observations.noisiness.tobytes() + observations.run.tobytes())
    return digest.hexdigest()
