"""The Gaussian process's kernel, and the search for its hyperparameters.

Kernel: `a · Matérn52(φ(w), φ(w')) + b · (w - w̄) · (w' - w̄)`, with noise variance c on the diagonal.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from mixwright.arrays import FloatArray
from mixwright.errors import FitDidNotConvergeError

_LOG_OFFSET = 1e-3  # share below which log features stop telling domains apart
_SQRT_OFFSET = 1e-4  # bounds the gradient of the square root at a share of zero
_SMALLEST_SPREAD = 1e-9  # of a feature: a domain that every run gives the same share
# Medians and spreads of the priors were chosen on random subsets of 16 to 400 of RegMix's 512 runs
# of 1M parameters, judged on the rest of those 512.
_LENGTH_PER_SQRT_DOMAIN = 4.0  # prior median of a length scale, in standard deviations
_VARIANCE_MEDIANS = np.array([4.0, 0.05, 0.05])  # of Matérn, linear and noise
_LENGTH_LOG_STD, _VARIANCE_LOG_STD = 1.5, np.array([1.5, 2.0, 2.0])
_LENGTH_BOUNDS = (-3.0, 8.0)
_VARIANCE_BOUNDS = ((-8.0, 6.0), (-8.0, 6.0), (-12.0, 3.0))
_MOST_STEPS = 60
_NOT_POSITIVE_DEFINITE = 1e10  # cost that sends the line search back
_SQRT5 = float(np.sqrt(5.0))


@dataclass(frozen=True, slots=True)
class Space:
    """From shares to what kernels see.

    Attributes:
        is_log: whether features are `log(w + 1e-3)`, else `sqrt(w + 1e-4)`.
        linear_centre: shape `(k,)`, where the linear kernel is zero.
    """

    is_log: bool
    linear_centre: FloatArray

    @classmethod
    def of(cls, mixtures: FloatArray, features: str) -> Self:
        """Return the space centred on `mixtures`, with "log" or "sqrt" features."""
        return cls(features == "log", mixtures.mean(axis=0))

    def features(self, mixtures: FloatArray) -> FloatArray:
        """Return φ, the shape of `mixtures`."""
        if self.is_log:
            return np.log(mixtures + _LOG_OFFSET)
        return np.sqrt(mixtures + _SQRT_OFFSET)

    def slopes(self, mixtures: FloatArray) -> FloatArray:
        """Return dφ/dw, the shape of `mixtures`."""
        slopes: FloatArray
        if self.is_log:
            slopes = 1.0 / (mixtures + _LOG_OFFSET)
        else:
            slopes = 0.5 / np.sqrt(mixtures + _SQRT_OFFSET)
        return slopes


@dataclass(frozen=True, slots=True)
class Kernel:
    """Hyperparameters of one metric.

    Attributes:
        lengths: shape `(k,)`, in units of the features.
        variances: shape `(3,)`, of the Matérn kernel, the linear kernel (per unit of share) and
            the noise.
    """

    lengths: FloatArray
    variances: FloatArray

    @property
    def noise(self) -> float:
        """Variance of a run around the mean."""
        return float(self.variances[2])

    def between(self, space: Space, left: FloatArray, right: FloatArray) -> FloatArray:
        """Return covariances `(q, n)` without noise between mixtures `(q, k)` and `(n, k)`."""
        distance = self._distance(space, left, right)
        covariance = (1.0 + distance + distance**2 / 3.0) * np.exp(-distance)
        covariance *= self.variances[0]
        centre = space.linear_centre
        covariance += self.variances[1] * ((left - centre) @ (right - centre).T)
        return covariance

    def at(self, space: Space, mixtures: FloatArray) -> FloatArray:
        """Return prior variances `(q,)` without noise."""
        linear = np.sum((mixtures - space.linear_centre) ** 2, axis=1)
        variance: FloatArray = self.variances[0] + self.variances[1] * linear
        return variance

    def gradient(
        self, space: Space, mixtures: FloatArray, runs: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """Return d (between(mixtures, runs) @ weights) / d mixtures, shape `(q, k)`."""
        distance = self._distance(space, mixtures, runs)
        pull = (5.0 / 3.0) * self.variances[0] * (1.0 + distance) * np.exp(-distance) * weights
        features = space.features(mixtures)
        towards = pull @ space.features(runs) - pull.sum(axis=1)[:, None] * features
        matern: FloatArray = towards / self.lengths**2 * space.slopes(mixtures)
        matern += self.variances[1] * (weights @ (runs - space.linear_centre))
        return matern

    def _distance(self, space: Space, left: FloatArray, right: FloatArray) -> FloatArray:
        """Return sqrt(5) times the scaled distance, shape `(q, n)`."""
        return _scaled_distance(
            space.features(left) / self.lengths, space.features(right) / self.lengths
        )


def find_kernel(
    space: Space, mixtures: FloatArray, values: FloatArray, most_runs: int, seed: int
) -> Kernel:
    """Return the posterior mode of the hyperparameters of one metric.

    Args:
        space: of the kernel.
        mixtures: shape `(n, k)`.
        values: shape `(n,)`, scaled to unit variance, NaN where missing.
        most_runs: a random subset of this size is used where there are more.
        seed: draws the subset.

    Raises:
        FitDidNotConvergeError: no positive definite covariance was found.
    """
    rows = np.flatnonzero(np.isfinite(values))
    if len(rows) > most_runs:
        drawn = np.random.default_rng(seed).choice(len(rows), most_runs, replace=False)
        rows = rows[np.sort(drawn)]
    features = space.features(mixtures)
    spread = np.maximum(features.std(axis=0), _SMALLEST_SPREAD)
    shares = mixtures - space.linear_centre
    share_scale = max(float(mixtures.std()), _SMALLEST_SPREAD)
    posterior = _LogPosterior(features[rows] / spread, shares[rows] / share_scale, values[rows])
    found = minimize(
        posterior,
        posterior.prior_mode(),
        jac=True,
        method="L-BFGS-B",
        bounds=[_LENGTH_BOUNDS] * len(spread) + list(_VARIANCE_BOUNDS),
        options={"maxiter": _MOST_STEPS},
    )
    if not found.fun < _NOT_POSITIVE_DEFINITE:
        raise FitDidNotConvergeError("gp: no positive definite covariance was found")
    parameters = np.exp(found.x)
    variances = parameters[-3:] / np.array([1.0, share_scale**2, 1.0])
    return Kernel(parameters[:-3] * spread, variances)


@dataclass(frozen=True, slots=True)
class _LogPosterior:
    """Minus the log posterior of log hyperparameters (lengths `(k,)`, variances `(3,)`)."""

    features: FloatArray  # (n, k), unit variance
    shares: FloatArray  # (n, k), centred
    values: FloatArray  # (n,)

    def prior_mode(self) -> FloatArray:
        num_domains = self.features.shape[1]
        length = np.log(_LENGTH_PER_SQRT_DOMAIN * np.sqrt(num_domains))
        return np.concatenate([np.full(num_domains, length), np.log(_VARIANCE_MEDIANS)])

    def __call__(self, log_parameters: FloatArray) -> tuple[float, FloatArray]:
        likelihood, gradient = self._likelihood(log_parameters)
        num_domains = self.features.shape[1]
        std = np.concatenate([np.full(num_domains, _LENGTH_LOG_STD), _VARIANCE_LOG_STD])
        away = (log_parameters - self.prior_mode()) / std
        return likelihood + 0.5 * float(away @ away), gradient + away / std

    def _likelihood(self, log_parameters: FloatArray) -> tuple[float, FloatArray]:
        """Return minus the log marginal likelihood, less a constant, and its gradient."""
        matern_variance, linear_variance, noise = np.exp(log_parameters[-3:])
        scaled = self.features * np.exp(-log_parameters[:-3])
        distance = _scaled_distance(scaled, scaled)
        decay = matern_variance * np.exp(-distance)
        matern = (1.0 + distance + distance**2 / 3.0) * decay
        linear = linear_variance * (self.shares @ self.shares.T)
        covariance = matern + linear + noise * np.eye(len(distance))
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            return _NOT_POSITIVE_DEFINITE, np.zeros_like(log_parameters)
        lower = np.tril(dpotri(factor, lower=1)[0])
        inverse = lower + np.tril(lower, -1).T
        weights = inverse @ self.values
        cost = 0.5 * self.values @ weights + np.log(np.diag(factor)).sum()
        outer = inverse - np.outer(weights, weights)  # twice d cost / d covariance
        by_distance = outer * (5.0 / 3.0) * (1.0 + distance) * decay
        along = scaled * by_distance.sum(axis=1)[:, None] - by_distance @ scaled
        by_length = np.sum(scaled * along, axis=0)
        by_variance = [np.sum(outer * matern), np.sum(outer * linear), noise * np.trace(outer)]
        return float(cost), np.concatenate([by_length, 0.5 * np.array(by_variance)])


def _scaled_distance(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return sqrt(5) times Euclidean distances `(q, n)`, by one matrix product."""
    squared = -10.0 * (left @ right.T)
    squared += 5.0 * np.sum(left**2, axis=1)[:, None]
    squared += 5.0 * np.sum(right**2, axis=1)
    np.maximum(squared, 0.0, out=squared)
    return np.sqrt(squared, out=squared)
