"""The share power law: what counts is the share of data that transfers to the metric.

For each metric `loss = floor + Σ_t (Σ_j w_j exp(θ_tj)) ** -b_t`: `exp(θ_tj)` is how much a token of
domain j is worth, the sum is the worth of the mixture, and the loss falls as a power of it, as it
falls in the number of tokens. With b > 0 every term is convex in the weights.

Source:
    Our own [I]: no paper states this law. It generalises the own-share power law of BiMix (Ge et
    al., arXiv:2405.14908) [R], in which only the domain's own tokens have worth.

Fit:
    Least squares on values scaled to unit variance, with quadratic pulls that make the law usable
    with fewer runs than parameters: of every θ towards the mean of its term (a difference between
    two domains that no run shows is taken to be none), of log b towards -2 and of the log gap
    between the floor and the smallest value towards log 0.8 standard deviations. Their weights and
    centres were chosen on random subsets of 16 to 128 of RegMix's 512 runs of 1M parameters,
    judged on the rest of those 512.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import block_diag

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import FitDidNotConvergeError
from mixwright.surrogates.base import Prediction, State, canonical_order, standardise
from mixwright.surrogates.least_squares import Solution, inverse_normal, solve_batch
from mixwright.surrogates.options import option

_LOG_EXPONENT, _EXPONENT_PULL = -2.0, 3.0
_LOG_GAP, _GAP_PULL = np.log(0.8), 1.0
_START_SPREAD = 1.0  # standard deviation of the noise on θ that tells terms and starts apart
_TOLERANCE = 1e-7
_LARGEST_LOG = 50.0  # exponents of exp are held within this in the optimiser's trial steps


@dataclass(frozen=True, slots=True)
class SharePower:
    """Options of the share power law."""

    terms: int = option(
        1, "Powers added up: 1 is stiff and extrapolates, 4 is flexible.", minimum=1, maximum=8
    )
    starts: int = option(
        1,
        "Random starts whose laws are averaged; useful with two terms or more.",
        minimum=1,
        maximum=20,
    )
    ridge: float = option(
        1e-2,
        "Pull of a domain's log worth towards the mean of all domains.",
        minimum=1e-8,
        maximum=1e2,
    )

    def min_runs(self, num_domains: int) -> int:
        """Return half the parameters and a few: the ridge supplies the rest."""
        return num_domains // 2 + 2 + self.terms

    def fit(self, mixtures: FloatArray, values: FloatArray, seed: int) -> "FittedSharePower":
        """Fit every metric from every start in one batch.

        Raises:
            FitDidNotConvergeError: a metric's cost is finite at none of the starts.
        """
        order = canonical_order(mixtures, values)
        mixtures, values = mixtures[order], values[order]
        problem = _Problem.build(mixtures, values, self)
        start = np.concatenate([_start(problem, self, seed, i) for i in range(self.starts)])
        solution = solve_batch(problem.residuals, start, tolerance=_TOLERANCE)
        return _assemble(problem, solution)


@dataclass(frozen=True, slots=True)
class FittedSharePower:
    """Laws of every metric from s starts, the best start of each metric first.

    Attributes:
        log_worth: θ, shape `(s, m, t, k)`.
        exponent: b, shape `(s, m, t)`.
        floor: shape `(s, m)`, in units of `scale` above `centre`, as all laws are.
        centre: shape `(m,)`.
        scale: shape `(m,)`.
        noise_std: shape `(m,)`, in units of `scale`.
        covariance: shape `(m, p, p)`, of the first start's parameters, for unit noise.
    """

    log_worth: FloatArray
    exponent: FloatArray
    floor: FloatArray
    centre: FloatArray
    scale: FloatArray
    noise_std: FloatArray
    covariance: FloatArray

    @property
    def is_differentiable(self) -> bool:
        """Powers of positive sums have gradients."""
        return True

    @property
    def is_convex(self) -> bool:
        """A negative power of a positive linear form is convex."""
        return True

    def predict(self, mixtures: FloatArray) -> Prediction:
        """Return means; standard deviations from noise, parameters and starts."""
        terms, log_sums = self._terms(mixtures)
        laws = terms.sum(axis=-1) + self.floor  # (q, s, m)
        jacobian = self._parameter_jacobian(mixtures, terms[:, 0], log_sums[:, 0])
        leverage = np.einsum("qmi,mij,qmj->qm", jacobian, self.covariance, jacobian)
        variance = self.noise_std**2 * (1.0 + np.maximum(leverage, 0.0)) + laws.var(axis=1)
        mean = laws.mean(axis=1) * self.scale + self.centre
        return Prediction(mean, np.sqrt(variance) * self.scale)

    def predict_mean(self, mixtures: FloatArray) -> FloatArray:
        """Return means, shape `(q, m)`, averaged over the starts."""
        terms, _ = self._terms(mixtures)
        laws = terms.sum(axis=(1, 3)) / len(self.floor) + self.floor.mean(axis=0)
        mean: FloatArray = laws * self.scale + self.centre
        return mean

    def gradient(self, mixtures: FloatArray) -> FloatArray:
        """Return d mean / d weights, shape `(q, m, k)`."""
        terms, log_sums = self._terms(mixtures)
        slopes = -self.exponent * terms * np.exp(-log_sums)  # (q, s, m, t)
        gradient: FloatArray = np.einsum("qsmt,smtk->qmk", slopes, np.exp(self.log_worth))
        return gradient * (self.scale / len(self.floor))[:, None]

    def to_state(self) -> State:
        """Return the seven arrays."""
        return {
            "log_worth": self.log_worth,
            "exponent": self.exponent,
            "floor": self.floor,
            "centre": self.centre,
            "scale": self.scale,
            "noise_std": self.noise_std,
            "covariance": self.covariance,
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild from `to_state`."""
        return cls(**state)

    def _terms(self, mixtures: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the powers and the logarithms of the worths, both `(q, s, m, t)`."""
        num_domains = self.log_worth.shape[-1]
        log_sums = mixtures @ np.exp(self.log_worth).reshape(-1, num_domains).T
        np.log(log_sums, out=log_sums)
        powers = log_sums * -self.exponent.reshape(-1)
        np.exp(powers, out=powers)
        shape = (len(mixtures), *self.exponent.shape)
        return powers.reshape(shape), log_sums.reshape(shape)

    def _parameter_jacobian(
        self, mixtures: FloatArray, terms: FloatArray, log_sums: FloatArray
    ) -> FloatArray:
        """Return d law / d parameters of the first start, shape `(q, m, p)`."""
        exponent = self.exponent[0]
        slopes = -exponent * terms * np.exp(-log_sums)  # (q, m, t)
        by_worth = slopes[..., None] * np.exp(self.log_worth[0]) * mixtures[:, None, None, :]
        by_exponent = -exponent * log_sums * terms
        by_floor = np.ones((*terms.shape[:2], 1))
        flat = by_worth.reshape(*terms.shape[:2], -1)
        return np.concatenate([by_floor, flat, by_exponent], axis=-1)


@dataclass(frozen=True, slots=True)
class _Problem:
    """Scaled data; problem i is metric `i % m`. Parameters: log gap, θ (t, k), log b (t,)."""

    mixtures: FloatArray  # (n, k)
    observed: FloatArray  # (m, n), zero where missing
    present: FloatArray  # (m, n), one where observed
    lowest: FloatArray  # (m,)
    centre: FloatArray  # (m,)
    scale: FloatArray  # (m,)
    terms: int
    ridge: float

    @classmethod
    def build(cls, mixtures: FloatArray, values: FloatArray, options: SharePower) -> Self:
        scaled, centre, scale = standardise(values)
        present = np.isfinite(scaled).T.astype(float)
        observed = np.where(present > 0, scaled.T, 0.0)
        lowest = np.nanmin(scaled, axis=0)
        return cls(mixtures, observed, present, lowest, centre, scale, options.terms, options.ridge)

    def unpack(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the gap `(b,)`, θ `(b, t, k)` and the exponents `(b, t)`."""
        num_domains = self.mixtures.shape[1]
        gap = np.exp(np.minimum(parameters[:, 0], _LARGEST_LOG))
        log_worth = parameters[:, 1 : 1 + self.terms * num_domains]
        exponent = np.exp(np.minimum(parameters[:, -self.terms :], _LARGEST_LOG))
        return gap, log_worth.reshape(-1, self.terms, num_domains), exponent

    def residuals(
        self, parameters: FloatArray, problems: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return residuals `(b, n + p)` and their Jacobian."""
        metric = problems % len(self.observed)
        gap, log_worth, exponent = self.unpack(parameters)
        largest = log_worth.max(axis=-1, keepdims=True)
        worth = np.exp(log_worth - largest)  # (b, t, k)
        sums = np.maximum(worth @ self.mixtures.T, np.finfo(float).tiny)  # (b, t, n)
        log_sums = np.log(sums) + largest
        powers = np.exp(np.minimum(-exponent[..., None] * log_sums, _LARGEST_LOG))
        law = (self.lowest[metric] - gap)[:, None] + powers.sum(axis=1)
        present = self.present[metric]
        fit = (law - self.observed[metric]) * present
        slopes = -exponent[..., None] * powers / sums * present[:, None]
        by_worth = [
            slopes[:, t, :, None] * self.mixtures * worth[:, t, None, :] for t in range(self.terms)
        ]
        by_exponent = (-exponent[..., None] * log_sums * powers * present[:, None]).swapaxes(1, 2)
        by_gap = (-gap[:, None] * present)[..., None]
        jacobian = np.concatenate([by_gap, *by_worth, by_exponent], axis=-1)
        pull, pull_jacobian = self._pull(parameters)
        return np.hstack([fit, pull]), np.concatenate([jacobian, pull_jacobian], axis=1)

    def _pull(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the residuals `(b, p)` of the pulls on parameters, and their Jacobian."""
        num_domains = self.mixtures.shape[1]
        centring = np.eye(num_domains) - 1.0 / num_domains
        jacobian = block_diag(
            np.sqrt(_GAP_PULL),
            np.kron(np.eye(self.terms), centring) * np.sqrt(self.ridge),
            np.eye(self.terms) * np.sqrt(_EXPONENT_PULL),
        )
        aim = np.zeros(len(jacobian))
        aim[0], aim[-self.terms :] = _LOG_GAP, _LOG_EXPONENT
        pull = (parameters - aim) @ jacobian
        return pull, np.broadcast_to(jacobian, (len(parameters), *jacobian.shape))


def _start(problem: _Problem, options: SharePower, seed: int, index: int) -> FloatArray:
    """Return start `index` of every metric, shape `(m, p)`: equal worths, told apart by noise.

    A single term needs no noise, so its first start treats all domains alike.
    """
    num_metrics, num_domains = len(problem.observed), problem.mixtures.shape[1]
    amplitude = (np.exp(_LOG_GAP) - problem.lowest) / options.terms
    level = -np.log(amplitude) / np.exp(_LOG_EXPONENT)
    log_worth = np.repeat(level[:, None], options.terms * num_domains, axis=1)
    if options.terms > 1 or index > 0:
        rng = np.random.default_rng([seed, index])
        log_worth = log_worth + _START_SPREAD * rng.standard_normal(options.terms * num_domains)
    gap = np.full((num_metrics, 1), _LOG_GAP)
    return np.hstack([gap, log_worth, np.full((num_metrics, options.terms), _LOG_EXPONENT)])


def _assemble(problem: _Problem, solution: Solution) -> FittedSharePower:
    """Sort each metric's starts by cost and linearise around the best."""
    num_metrics = len(problem.observed)
    cost = solution.cost.reshape(-1, num_metrics)
    if not np.isfinite(cost.min(axis=0)).all():
        failed = np.flatnonzero(~np.isfinite(cost.min(axis=0)))
        raise FitDidNotConvergeError(f"share_power: no finite fit of metrics {failed.tolist()}")
    ranked = np.argsort(cost, axis=0, kind="stable")  # (s, m)
    parameters = solution.parameters.reshape(*cost.shape, -1)
    parameters = np.take_along_axis(parameters, ranked[..., None], axis=0)
    gap, log_worth, exponent = problem.unpack(parameters.reshape(cost.size, -1))
    noise_std, covariance = _linearise(problem, parameters[0])
    return FittedSharePower(
        log_worth=log_worth.reshape(*cost.shape, *log_worth.shape[1:]),
        exponent=exponent.reshape(*cost.shape, -1),
        floor=problem.lowest - gap.reshape(cost.shape),
        centre=problem.centre,
        scale=problem.scale,
        noise_std=noise_std,
        covariance=covariance,
    )


def _linearise(problem: _Problem, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the noise `(m,)` and the parameters' covariance for unit noise `(m, p, p)`.

    The effective number of parameters is the trace of the hat matrix. The floor stands in for
    its log gap.
    """
    num_runs = len(problem.mixtures)
    values, jacobian = problem.residuals(parameters, np.arange(len(parameters)))
    jacobian[:, :, 0] = np.where(jacobian[:, :, 0] != 0, 1.0, 0.0)
    covariance = inverse_normal(jacobian)
    fitted = jacobian[:, :num_runs]
    used = np.einsum("mni,mij,mnj->m", fitted, covariance, fitted)
    freedom = np.maximum(problem.present.sum(axis=1) - used, 1.0)
    variance = np.sum(values[:, :num_runs] ** 2, axis=1) / freedom
    return np.sqrt(variance), covariance
