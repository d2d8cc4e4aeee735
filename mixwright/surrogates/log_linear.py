"""The log-linear mixing law: `metric = offset + exp(c) + exp(a · w)`.

Source:
    Ye et al., "Data Mixing Laws", ICLR 2025, arXiv:2403.16952, in the form of the authors' code
    [X]; without the factor k, which shares on the simplex cannot tell from a shift of `a`, as in
    the olmix package (allenai/olmix) [X].

Departures:
    Plain least squares by Levenberg-Marquardt instead of a Huber loss by L-BFGS over hundreds of
    starts; starts that reach a higher cost are dropped. `offset` is 0 where every value is
    positive; otherwise (a maximised metric, negated) it makes room below the smallest value,
    because `exp(c)` cannot be negative.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import FitDidNotConvergeError
from mixwright.options import option
from mixwright.surrogates.base import Prediction, State, canonical_order
from mixwright.surrogates.least_squares import Solution, inverse_normal, solve_batch

_LARGEST_LOG = 50.0


@dataclass(frozen=True, slots=True)
class LogLinear:
    """Options of the log-linear law."""

    starts: int = option(3, "Values of c the fit is started from.", minimum=1, maximum=100)

    def min_runs(self, num_domains: int) -> int:
        """Return one run more than the k + 1 parameters."""
        return num_domains + 2

    def fit(self, mixtures: FloatArray, values: FloatArray, seed: int) -> "FittedLogLinear":
        """Fit every metric from every start in one batch; keep the best start of each.

        Raises:
            FitDidNotConvergeError: a metric's cost is finite at none of the starts.
        """
        order = canonical_order(mixtures, values)
        problem = _Problem.build(mixtures[order], values[order])
        start = np.concatenate([_start(problem, share) for share in _shares(self.starts)])
        return _assemble(problem, solve_batch(problem.residuals, start))


@dataclass(frozen=True, slots=True)
class FittedLogLinear:
    """The law of every metric.

    Attributes:
        offset: shape `(m,)`.
        log_floor: c, shape `(m,)`.
        slopes: a, shape `(m, k)`.
        noise_std: shape `(m,)`.
        covariance: shape `(m, k + 1, k + 1)`, of (c, a) for unit noise.
    """

    offset: FloatArray
    log_floor: FloatArray
    slopes: FloatArray
    noise_std: FloatArray
    covariance: FloatArray

    @property
    def is_differentiable(self) -> bool:
        """Exponentials have gradients."""
        return True

    @property
    def is_convex(self) -> bool:
        """The exponential of a linear form is convex."""
        return True

    def predict(self, mixtures: FloatArray) -> Prediction:
        """Return means, and standard deviations from noise and parameters."""
        powers = np.exp(mixtures @ self.slopes.T)  # (q, m)
        floor = np.broadcast_to(np.exp(self.log_floor), powers.shape)[..., None]
        jacobian = np.concatenate([floor, powers[..., None] * mixtures[:, None, :]], axis=-1)
        leverage = np.einsum("qmi,mij,qmj->qm", jacobian, self.covariance, jacobian)
        std = self.noise_std * np.sqrt(1.0 + np.maximum(leverage, 0.0))
        return Prediction(self.predict_mean(mixtures), std)

    def predict_mean(self, mixtures: FloatArray) -> FloatArray:
        """Return means, shape `(q, m)`."""
        powers: FloatArray = np.exp(mixtures @ self.slopes.T)
        return powers + np.exp(self.log_floor) + self.offset

    def gradient(self, mixtures: FloatArray) -> FloatArray:
        """Return d mean / d weights, shape `(q, m, k)`."""
        powers: FloatArray = np.exp(mixtures @ self.slopes.T)
        return powers[..., None] * self.slopes

    def to_state(self) -> State:
        """Return the five arrays."""
        return {
            "offset": self.offset,
            "log_floor": self.log_floor,
            "slopes": self.slopes,
            "noise_std": self.noise_std,
            "covariance": self.covariance,
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from `to_state`."""
        return cls(**state)


@dataclass(frozen=True, slots=True)
class _Problem:
    """Data; problem i is metric `i % m`. Parameters: c, a (k,)."""

    mixtures: FloatArray  # (n, k)
    observed: FloatArray  # (m, n), offset subtracted, zero where missing
    present: FloatArray  # (m, n), one where observed
    offset: FloatArray  # (m,)

    @classmethod
    def build(cls, mixtures: FloatArray, values: FloatArray) -> Self:
        present = np.isfinite(values).T.astype(float)
        lowest, spread = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        offset = np.where(lowest > 0, 0.0, lowest - np.maximum(spread - lowest, 1e-9))
        observed = np.where(present > 0, (values - offset).T, 0.0)
        return cls(mixtures, observed, present, offset)

    def residuals(
        self, parameters: FloatArray, problems: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        metric = problems % len(self.observed)
        present = self.present[metric]
        floor = np.exp(np.minimum(parameters[:, :1], _LARGEST_LOG)) * present  # (b, n)
        exponents = np.minimum(parameters[:, 1:] @ self.mixtures.T, _LARGEST_LOG)
        powers = np.exp(exponents) * present
        jacobian = np.concatenate([floor[..., None], powers[..., None] * self.mixtures], axis=-1)
        return floor + powers - self.observed[metric], jacobian


def _shares(starts: int) -> FloatArray:
    """Return the shares of the smallest value that the starts give to the floor."""
    return np.linspace(0.9, 0.1, starts) if starts > 1 else np.array([0.5])


def _start(problem: _Problem, share: float) -> FloatArray:
    """Return `c` at `share` of the smallest value and `a` by regression of logs, `(m, k + 1)`."""
    rows = []
    for observed, present in zip(problem.observed, problem.present > 0, strict=True):
        floor = share * observed[present].min()
        logs = np.log(observed[present] - floor)
        slopes = np.linalg.lstsq(problem.mixtures[present], logs, rcond=None)[0]
        rows.append(np.concatenate([[np.log(floor)], slopes]))
    return np.array(rows)


def _assemble(problem: _Problem, solution: Solution) -> FittedLogLinear:
    """Keep each metric's best start and linearise around it."""
    num_metrics = len(problem.observed)
    cost = solution.cost.reshape(-1, num_metrics)
    best = cost.argmin(axis=0)
    if not np.isfinite(cost.min(axis=0)).all():
        failed = np.flatnonzero(~np.isfinite(cost.min(axis=0)))
        raise FitDidNotConvergeError(f"log_linear: no finite fit of metrics {failed.tolist()}")
    parameters = solution.parameters.reshape(*cost.shape, -1)[best, np.arange(num_metrics)]
    _, jacobian = problem.residuals(parameters, np.arange(num_metrics))
    freedom = np.maximum(problem.present.sum(axis=1) - parameters.shape[1], 1.0)
    covariance = inverse_normal(jacobian)
    return FittedLogLinear(
        offset=problem.offset,
        log_floor=parameters[:, 0],
        slopes=parameters[:, 1:],
        noise_std=np.sqrt(cost.min(axis=0) / freedom),
        covariance=covariance,
    )
