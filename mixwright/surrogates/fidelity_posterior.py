"""What a Gaussian process over mixtures and fidelities predicts at one of the fidelities.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006: posterior (2.25, 2.26) [X].
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import solve_triangular

from mixwright.arrays import FloatArray, IntArray
from mixwright.bayesopt.kernel import (
    Hyperparameters,
    are_replicates,
    features,
    over_mixtures,
    prior_mean,
    prior_slope,
    scaled_distances,
    variances_over_mixtures,
)
from mixwright.bayesopt.model import factorised
from mixwright.surrogates.base import Prediction, State

FITTED = 0  # index of the fidelity that is fitted; the others follow
_SHIFT = 1e-4  # of shares: bounds the gradient of the square root at a share of zero
_CHUNK = 4_096  # mixtures scored at once


def shifted(mixtures: FloatArray) -> FloatArray:
    """Return the shares `(n, k)` that the kernel sees."""
    return mixtures + _SHIFT


@dataclass(frozen=True, slots=True)
class FittedMultiFidelityGP:
    """A posterior at the fitted fidelity for every metric, given n runs at F fidelities.

    Attributes:
        rooted: features of the runs, shape `(n, k)`.
        fidelity: of the runs, shape `(n,)`; 0 is the fitted one.
        noisiness: shape `(m, n)`, variance of each run's noise against its fidelity's, zero where
            the metric is missing.
        weights: shape `(m, n)`, inverse covariance times observations, zero where missing.
        kernels: one per metric.
        means: shape `(F, F)`, prior covariance of the fidelities' means.
        offset: shape `(m,)`, what is predicted where the kernel is zero.
        unit: shape `(m,)`, of each metric.
    """

    rooted: FloatArray
    fidelity: IntArray
    noisiness: FloatArray
    weights: FloatArray
    kernels: tuple[Hyperparameters, ...]
    means: FloatArray
    offset: FloatArray
    unit: FloatArray

    @property
    def is_differentiable(self) -> bool:
        """The Matérn-5/2 kernel has continuous gradients."""
        return True

    @property
    def is_convex(self) -> bool:
        """A Gaussian process has any shape."""
        return False

    def predict(self, mixtures: FloatArray) -> Prediction:
        """Return posterior means, and standard deviations of a new run, noise included."""
        variances = [self._variance(metric, mixtures) for metric in range(len(self.kernels))]
        return Prediction(self.predict_mean(mixtures), np.sqrt(np.array(variances).T) * self.unit)

    def predict_mean(self, mixtures: FloatArray) -> FloatArray:
        """Return posterior means, shape `(q, m)`, in bounded memory."""
        means = np.empty((len(mixtures), len(self.kernels)))
        for start in range(0, len(mixtures), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            rooted = features(shifted(mixtures[chunk]))
            here = np.full(len(rooted), FITTED)
            for metric, kernel in enumerate(self.kernels):
                over = over_mixtures(kernel, rooted, self.rooted)
                means[chunk, metric] = over @ self._pull(metric)
                means[chunk, metric] += prior_mean(kernel, rooted, here, FITTED)
        return means * self.unit + self.offset

    def gradient(self, mixtures: FloatArray) -> FloatArray:
        """Return d mean / d weights, shape `(q, m, k)`."""
        rooted = features(shifted(mixtures))
        slopes = [
            kernel.loadings(FITTED)[FITTED] * prior_slope(kernel)
            + _slope(kernel, rooted, self.rooted, self._pull(metric))
            for metric, kernel in enumerate(self.kernels)
        ]
        by_share = 0.5 / rooted
        return np.stack(slopes, axis=1) * self.unit[:, None] * by_share[:, None]

    def to_state(self) -> State:
        """Return the arrays of the posterior and its kernels."""
        return {
            "rooted": self.rooted,
            "fidelity": self.fidelity.astype(np.float64),
            "noisiness": self.noisiness,
            "weights": self.weights,
            "means": self.means,
            "offset": self.offset,
            "unit": self.unit,
            "centre": np.array([kernel.centre for kernel in self.kernels]),
            "lengths": np.array([kernel.lengths for kernel in self.kernels]),
            "linear": np.array([kernel.linear for kernel in self.kernels]),
            "signal": np.array([kernel.signal for kernel in self.kernels]),
            "noises": np.array([kernel.noises for kernel in self.kernels]),
            "roughness": np.array([kernel.roughness for kernel in self.kernels]),
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from `to_state`."""
        names = ("centre", "lengths", "linear", "signal", "noises")
        rough = state.get("roughness", np.zeros(len(state["linear"])))  # of fits before there was
        kernels = zip(*(state[name] for name in names), rough, strict=True)
        return cls(
            rooted=state["rooted"],
            fidelity=state["fidelity"].astype(np.int64),
            noisiness=state["noisiness"],
            weights=state["weights"],
            kernels=tuple(
                Hyperparameters(centre, lengths, float(linear), signal, noises, 0.0, float(rough))
                for centre, lengths, linear, signal, noises, rough in kernels
            ),
            means=state["means"],
            offset=state["offset"],
            unit=state["unit"],
        )

    def _pull(self, metric: int) -> FloatArray:
        """Return the weights `(n,)` of the kernel over mixtures."""
        signal = self.kernels[metric].signal[FITTED, self.fidelity]
        pull: FloatArray = signal * self.weights[metric]
        return pull

    def _variance(self, metric: int, mixtures: FloatArray) -> FloatArray:
        """Return the standardised variance `(q,)` of a new run at each mixture."""
        kernel, present = self.kernels[metric], self.noisiness[metric] > 0
        runs, fidelity = self.rooted[present], self.fidelity[present]
        factor = factor_of(kernel, self.means, runs, fidelity, self.noisiness[metric, present])
        signal, means = kernel.signal[FITTED], self.means[FITTED]
        variance = np.empty(len(mixtures))
        for start in range(0, len(mixtures), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            rooted = features(shifted(mixtures[chunk]))
            cross = over_mixtures(kernel, runs, rooted) * signal[fidelity, None]
            explained = solve_triangular(factor, cross + means[fidelity, None], lower=True)
            prior = signal[FITTED] * variances_over_mixtures(kernel, rooted) + means[FITTED]
            variance[chunk] = np.maximum(prior - np.sum(explained**2, axis=0), 0.0)
        noisy: FloatArray = variance + kernel.noises[FITTED]
        return noisy


def factor_of(
    kernel: Hyperparameters,
    means: FloatArray,
    rooted: FloatArray,
    fidelity: IntArray,
    noisiness: FloatArray,
) -> FloatArray:
    """Return the Cholesky factor `(n, n)` of the covariance of runs, replicates being related."""
    pairs = np.ix_(fidelity, fidelity)
    covariance = kernel.signal[pairs] * over_mixtures(kernel, rooted, rooted) + means[pairs]
    own = kernel.roughness * kernel.noises[fidelity]
    covariance += own[:, None] * are_replicates(rooted, fidelity)
    covariance[np.diag_indices_from(covariance)] += kernel.beyond_law(fidelity, noisiness)
    return factorised(covariance)


def _slope(
    kernel: Hyperparameters, rooted: FloatArray, runs: FloatArray, pull: FloatArray
) -> FloatArray:
    """Return d (over_mixtures(rooted, runs) @ pull) / d rooted, shape `(q, k)`."""
    one, other = ((each - kernel.centre) / kernel.lengths for each in (rooted, runs))
    distances = scaled_distances(one, other)
    towards = (5.0 / 3.0) * (1.0 + distances) * np.exp(-distances) * pull
    slope: FloatArray = towards @ other - towards.sum(axis=1)[:, None] * one
    slope += kernel.linear * (pull @ other)
    return slope / kernel.lengths
