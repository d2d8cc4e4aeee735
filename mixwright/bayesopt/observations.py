"""Runs as a Gaussian process sees them: one outcome, lower is better."""

from dataclasses import dataclass, replace

import numpy as np

from mixwright.arrays import FloatArray, IntArray

_PRIOR_RUNS = 4.0  # how many replicates the common noise of a fidelity counts for


@dataclass(frozen=True, slots=True)
class Observations:
    """Runs of one outcome.

    Attributes:
        mixtures: shape `(n, k)`.
        fidelity: shape `(n,)`, indices into the study's fidelities.
        values: shape `(n,)`, oriented so that lower is better.
        noisiness: shape `(n,)`, variance of each run's noise against its fidelity's.
        run: shape `(n,)`, which run each is of: several are points of one loss curve.
    """

    mixtures: FloatArray
    fidelity: IntArray
    values: FloatArray
    noisiness: FloatArray
    run: IntArray

    @classmethod
    def of(cls, mixtures: FloatArray, fidelity: IntArray, values: FloatArray) -> "Observations":
        """Return one observation a run, equally noisy within a fidelity."""
        return cls(mixtures, fidelity, values, np.ones(len(values)), np.arange(len(values)))

    def with_runs(
        self, mixtures: FloatArray, fidelity: IntArray, values: FloatArray
    ) -> "Observations":
        """Return these and more."""
        more = len(values)
        return Observations(
            np.vstack([self.mixtures, mixtures]),
            np.concatenate([self.fidelity, fidelity]),
            np.concatenate([self.values, values]),
            np.concatenate([self.noisiness, np.ones(more)]),
            np.concatenate([self.run, self.run.max(initial=-1) + 1 + np.arange(more)]),
        )

    def take(self, rows: IntArray) -> "Observations":
        """Return some of them."""
        return Observations(
            self.mixtures[rows],
            self.fidelity[rows],
            self.values[rows],
            self.noisiness[rows],
            self.run[rows],
        )


def with_noise_of_replicates(observations: Observations) -> Observations:
    """Return the same with `noisiness` as replicates show it.

    Runs of one mixture at one fidelity are replicates. Their variance is drawn towards the mean
    variance of the fidelity's replicates, which counts as four of them: the mean of a scaled
    inverse chi-squared posterior (Gelman et al., "Bayesian Data Analysis", 2.6) [X].
    """
    keys = np.column_stack([observations.fidelity, observations.mixtures])
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.reshape(-1)
    count = np.bincount(group)
    mean = np.bincount(group, observations.values) / count
    squares = np.bincount(group, (observations.values - mean[group]) ** 2)
    noisiness = observations.noisiness.copy()
    for fidelity in np.unique(observations.fidelity[count[group] > 1]):
        here = np.unique(group[observations.fidelity == fidelity])
        freedom = count[here] - 1
        common = squares[here].sum() / freedom.sum()
        if common > 0:
            ratio = (_PRIOR_RUNS + squares[here] / common) / (_PRIOR_RUNS + freedom)
            rows = np.isin(group, here)
            noisiness[rows] = ratio[np.searchsorted(here, group[rows])]
    return replace(observations, noisiness=noisiness)
