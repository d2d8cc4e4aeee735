"""An exact Gaussian process: an ARD Matérn-5/2 kernel on log shares plus a linear kernel on shares.

Source:
    Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006: posterior (2.25, 2.26),
    Matérn kernel (4.17), marginal likelihood (5.8) and its gradient (5.9) [X]. The features and
    the priors on hyperparameters are ours [I].

Departures:
    Hyperparameters are the mode of marginal likelihood times log-normal priors, found on at most
    `hyperparameter_runs` runs; the posterior then uses every run up to `max_runs`. Out-of-fold
    predictions reuse the hyperparameters, centre and scale found on all runs.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from mixwright.arrays import BoolArray, FloatArray, IntArray
from mixwright.errors import FitDidNotConvergeError
from mixwright.options import option
from mixwright.surrogates.base import (
    Prediction,
    Progress,
    State,
    canonical_order,
    silent,
    standardise,
)
from mixwright.surrogates.marginal_likelihood import Kernel, Space, find_kernel

_CHUNK = 4_096  # mixtures scored at once: bounds the kernel matrix at a few tens of megabytes
_JITTERS = (1e-10, 1e-8, 1e-6)


@dataclass(frozen=True, slots=True)
class GaussianProcess:
    """Options of the Gaussian process."""

    features: str = option(
        "log", "What the Matérn kernel sees of a share.", choices=("log", "sqrt")
    )
    hyperparameter_runs: int = option(
        256, "Runs, drawn at random, on which hyperparameters are found.", minimum=8, maximum=4096
    )
    max_runs: int = option(
        1500, "Runs, drawn at random, that predictions are made from.", minimum=8, maximum=4096
    )

    def min_runs(self, num_domains: int) -> int:
        """Return half the number of length scales and a few: priors supply the rest."""
        return num_domains // 2 + 5

    def fit(self, mixtures: FloatArray, values: FloatArray, seed: int) -> "FittedGaussianProcess":
        """Find each metric's hyperparameters, and condition on its runs.

        Raises:
            FitDidNotConvergeError: the marginal likelihood is finite nowhere it was tried.
        """
        order = canonical_order(mixtures, values)
        mixtures, values = mixtures[order], values[order]
        scaled, centre, scale = standardise(values)
        space = Space.of(mixtures, self.features)
        kernels = [
            find_kernel(space, mixtures, column, self.hyperparameter_runs, seed)
            for column in scaled.T
        ]
        rows = _draw(len(mixtures), self.max_runs, seed)
        return _condition(mixtures[rows], scaled[rows], space, kernels, centre, scale)

    def cross_fit(
        self,
        mixtures: FloatArray,
        values: FloatArray,
        folds: IntArray,
        seed: int,
        progress: Progress = silent,
    ) -> tuple["FittedGaussianProcess", Prediction]:
        """Fit once; leave folds out with the hyperparameters of all runs."""
        fitted = self.fit(mixtures, values, seed)
        progress(0.8)
        scaled = (values - fitted.centre) / fitted.scale
        mean, std = np.empty(values.shape), np.empty(values.shape)
        for fold in np.unique(folds):
            held, kept = folds == fold, np.flatnonzero(folds != fold)
            kept = kept[canonical_order(mixtures[kept], values[kept])]
            rows = kept[_draw(len(kept), self.max_runs, seed)]
            part = _condition(
                mixtures[rows],
                scaled[rows],
                fitted.space,
                fitted.kernels,
                fitted.centre,
                fitted.scale,
            )
            prediction = part.predict(mixtures[held])
            mean[held], std[held] = prediction.mean, prediction.std
        return fitted, Prediction(mean, std)


@dataclass(frozen=True, slots=True)
class FittedGaussianProcess:
    """A posterior for every metric.

    Attributes:
        mixtures: shape `(n, k)`.
        present: shape `(m, n)`, one where the run has the metric.
        weights: shape `(m, n)`, inverse covariance times observations, zero where missing.
        space: from shares to what the kernels see.
        kernels: one per metric.
        centre: shape `(m,)`, mean of the metric.
        scale: shape `(m,)`, its standard deviation.
    """

    mixtures: FloatArray
    present: FloatArray
    weights: FloatArray
    space: Space
    kernels: tuple[Kernel, ...]
    centre: FloatArray
    scale: FloatArray

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
        variances = [
            _posterior_variance(self, kernel, present > 0, mixtures)
            for kernel, present in zip(self.kernels, self.present, strict=True)
        ]
        std = np.sqrt(np.array(variances).T) * self.scale
        return Prediction(self.predict_mean(mixtures), std)

    def predict_mean(self, mixtures: FloatArray) -> FloatArray:
        """Return posterior means, shape `(q, m)`, in bounded memory."""
        means = np.empty((len(mixtures), len(self.kernels)))
        for start in range(0, len(mixtures), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            for column, (kernel, weights) in enumerate(
                zip(self.kernels, self.weights, strict=True)
            ):
                covariance = kernel.between(self.space, mixtures[chunk], self.mixtures)
                means[chunk, column] = covariance @ weights
        return means * self.scale + self.centre

    def gradient(self, mixtures: FloatArray) -> FloatArray:
        """Return d mean / d weights, shape `(q, m, k)`."""
        gradients = [
            kernel.gradient(self.space, mixtures, self.mixtures, weights)
            for kernel, weights in zip(self.kernels, self.weights, strict=True)
        ]
        return np.stack(gradients, axis=1) * self.scale[:, None]

    def to_state(self) -> State:
        """Return the arrays of the posterior, its space and its kernels."""
        return {
            "mixtures": self.mixtures,
            "present": self.present,
            "weights": self.weights,
            "centre": self.centre,
            "scale": self.scale,
            "is_log": np.array(float(self.space.is_log)),
            "linear_centre": self.space.linear_centre,
            "lengths": np.array([kernel.lengths for kernel in self.kernels]),
            "variances": np.array([kernel.variances for kernel in self.kernels]),
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from `to_state`."""
        pairs = zip(state["lengths"], state["variances"], strict=True)
        return cls(
            mixtures=state["mixtures"],
            present=state["present"],
            weights=state["weights"],
            space=Space(bool(state["is_log"]), state["linear_centre"]),
            kernels=tuple(Kernel(lengths, variances) for lengths, variances in pairs),
            centre=state["centre"],
            scale=state["scale"],
        )


def _draw(count: int, most: int, seed: int) -> IntArray:
    """Return all indices below `count`, or `most` of them drawn at random, in order."""
    if count <= most:
        return np.arange(count)
    drawn: IntArray = np.random.default_rng(seed).choice(count, most, replace=False)
    return np.sort(drawn)


def _condition(
    mixtures: FloatArray,
    scaled: FloatArray,
    space: Space,
    kernels: "list[Kernel] | tuple[Kernel, ...]",
    centre: FloatArray,
    scale: FloatArray,
) -> FittedGaussianProcess:
    """Return the posterior given runs whose scaled values are `(n, m)`, NaN where missing."""
    weights = np.zeros(scaled.T.shape)
    for row, (kernel, column) in enumerate(zip(kernels, scaled.T, strict=True)):
        present = np.isfinite(column)
        factor = _factor(kernel, space, mixtures[present])
        weights[row, present] = cho_solve(factor, column[present])
    return FittedGaussianProcess(
        mixtures=mixtures,
        present=np.isfinite(scaled).T.astype(float),
        weights=weights,
        space=space,
        kernels=tuple(kernels),
        centre=centre,
        scale=scale,
    )


def _factor(kernel: Kernel, space: Space, mixtures: FloatArray) -> tuple[FloatArray, bool]:
    """Return the Cholesky factor of the runs' covariance.

    Raises:
        FitDidNotConvergeError: no jitter makes it positive definite.
    """
    covariance = kernel.between(space, mixtures, mixtures)
    for jitter in _JITTERS:
        shifted = covariance + (kernel.noise + jitter) * np.eye(len(mixtures))
        try:
            factor, lower = cho_factor(shifted, lower=True, overwrite_a=True)
        except LinAlgError:
            continue
        return np.asarray(factor, dtype=np.float64), bool(lower)
    raise FitDidNotConvergeError(
        f"the covariance of {len(mixtures)} runs is not positive definite, even with "
        f"{_JITTERS[-1]:g} added to its diagonal"
    )


def _posterior_variance(
    fitted: FittedGaussianProcess, kernel: Kernel, present: BoolArray, mixtures: FloatArray
) -> FloatArray:
    """Return the scaled variance of a new run at each mixture, shape `(q,)`."""
    runs = fitted.mixtures[present]
    factor = _factor(kernel, fitted.space, runs)
    variance = np.empty(len(mixtures))
    for start in range(0, len(mixtures), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        cross = kernel.between(fitted.space, mixtures[chunk], runs)
        explained = np.einsum("qn,nq->q", cross, cho_solve(factor, cross.T))
        prior = kernel.at(fitted.space, mixtures[chunk])
        variance[chunk] = np.maximum(prior - explained, 0.0) + kernel.noise
    return variance
