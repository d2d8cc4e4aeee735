"""How the share power law is fitted: pulls that stand in for missing runs, and how strong they are.

Parameters of a law with t terms over k domains, in this order: log gap between the floor and the
smallest value, θ `(t, k)`, log b `(t,)`; p = 1 + t (k + 1). Values are scaled to unit variance.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy.linalg import block_diag

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import FitDidNotConvergeError
from mixwright.surrogates.base import standardise
from mixwright.surrogates.least_squares import inverse_normal, solve_batch

# Centres and weights of the pulls, and how much weaker ones must help, were chosen on random
# subsets of 16 to 128 of RegMix's 512 runs of 1M parameters, judged on the rest of those 512.
_LOG_EXPONENT, _EXPONENT_PULL = -2.0, 3.0
_LOG_GAP, _GAP_PULL = float(np.log(0.8)), 1.0
_STRENGTHS: Final = np.array([1.0, 0.1, 0.01])
_MUST_LEAVE = 0.5  # of the leave-one-out error, for a weaker pull to be taken
_START_SPREAD = 1.0  # standard deviation of the noise on θ that tells terms and starts apart
_TOLERANCE, _MOST_STEPS = 1e-5, 60  # more changed no out-of-sample error on those runs
_LARGEST_LOG = 50.0  # exponents of exp are held within this in the optimiser's trial steps
_MOST_LEVERAGE = 0.95


@dataclass(frozen=True, slots=True)
class Laws:
    """Laws from s starts, the best of each metric first.

    Attributes:
        parameters: shape `(s, m, p)`.
        noise_std: shape `(m,)`.
        covariance: shape `(m, p, p)`, of the best start's parameters for unit noise, with the
            floor in place of the log gap.
    """

    parameters: FloatArray
    noise_std: FloatArray
    covariance: FloatArray


@dataclass(frozen=True, slots=True)
class Problem:
    """Runs to fit, scaled."""

    mixtures: FloatArray  # (n, k)
    observed: FloatArray  # (m, n), zero where missing
    present: FloatArray  # (m, n), one where observed
    lowest: FloatArray  # (m,)
    centre: FloatArray  # (m,)
    scale: FloatArray  # (m,)
    terms: int
    pull: FloatArray  # (p, p), Jacobian of the pulls at full strength
    aim: FloatArray  # (p,), where the pulls are zero

    @classmethod
    def build(cls, mixtures: FloatArray, values: FloatArray, terms: int, ridge: float) -> Self:
        """Scale `values` `(n, m)`, and set up the pulls."""
        scaled, centre, scale = standardise(values)
        present = np.isfinite(scaled).T.astype(float)
        observed = np.where(present > 0, scaled.T, 0.0)
        num_domains = mixtures.shape[1]
        centring = np.eye(num_domains) - 1.0 / num_domains
        pull = block_diag(
            np.sqrt(_GAP_PULL),
            np.kron(np.eye(terms), centring) * np.sqrt(ridge),
            np.eye(terms) * np.sqrt(_EXPONENT_PULL),
        )
        aim = np.zeros(len(pull))
        aim[0], aim[-terms:] = _LOG_GAP, _LOG_EXPONENT
        lowest = np.nanmin(scaled, axis=0)
        return cls(mixtures, observed, present, lowest, centre, scale, terms, pull, aim)

    def unpack(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the gap `(b,)`, θ `(b, t, k)` and the exponents `(b, t)`."""
        gap = np.exp(np.minimum(parameters[:, 0], _LARGEST_LOG))
        log_worth = parameters[:, 1 : -self.terms]
        exponent = np.exp(np.minimum(parameters[:, -self.terms :], _LARGEST_LOG))
        return gap, log_worth.reshape(len(parameters), self.terms, -1), exponent

    def residuals(
        self, parameters: FloatArray, metric: IntArray, strength: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return residuals `(b, n + p)` and their Jacobian; `metric` and `strength` are `(b,)`."""
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
        pull = np.sqrt(strength)[:, None, None] * self.pull
        pulled = ((parameters - self.aim)[:, None, :] @ pull)[:, 0]
        return np.hstack([fit, pulled]), np.concatenate([jacobian, pull], axis=1)


def fit_laws(problem: Problem, starts: int, seed: int) -> Laws:
    """Fit every metric from every start, with pulls as strong as the runs ask for.

    Raises:
        FitDidNotConvergeError: a metric's cost is finite at none of the starts.
    """
    num_metrics = len(problem.observed)
    trials = np.repeat(_STRENGTHS[:, None], num_metrics, axis=1)
    first = np.stack([_start(problem, seed, 0)] * len(trials))
    strength = _choose_strength(problem, _solve(problem, first, trials)[0], trials)
    start = np.stack([_start(problem, seed, index) for index in range(starts)])
    parameters, costs = _solve(problem, start, np.stack([strength] * starts))
    best = costs.min(axis=0)
    if not np.isfinite(best).all():
        failed = np.flatnonzero(~np.isfinite(best)).tolist()
        raise FitDidNotConvergeError(f"share_power: no finite fit of metrics {failed}")
    ranked = np.argsort(costs, axis=0, kind="stable")
    parameters = np.take_along_axis(parameters, ranked[..., None], axis=0)
    return Laws(parameters, *_linearise(problem, parameters[0], strength))


def _solve(
    problem: Problem, start: FloatArray, strength: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return parameters `(s, m, p)` and costs `(s, m)` from starts `(s, m, p)`, in one batch."""
    metric, strength = np.indices(strength.shape)[1].ravel(), strength.ravel()
    solution = solve_batch(
        lambda parameters, i: problem.residuals(parameters, metric[i], strength[i]),
        np.concatenate(start),
        max_steps=_MOST_STEPS,
        tolerance=_TOLERANCE,
    )
    return solution.parameters.reshape(start.shape), solution.cost.reshape(start.shape[:2])


def _start(problem: Problem, seed: int, index: int) -> FloatArray:
    """Return start `index` of every metric, shape `(m, p)`: equal worths, told apart by noise.

    A single term needs no noise, so its first start treats all domains alike.
    """
    amplitude = (np.exp(_LOG_GAP) - problem.lowest) / problem.terms
    level = -np.log(amplitude) / np.exp(_LOG_EXPONENT)
    start = np.repeat(problem.aim[None], len(level), axis=0)
    start[:, 1 : -problem.terms] += level[:, None]
    if problem.terms > 1 or index > 0:
        rng = np.random.default_rng([seed, index])
        noise = rng.standard_normal(start[0, 1 : -problem.terms].size)
        start[:, 1 : -problem.terms] += _START_SPREAD * noise
    return start


def _choose_strength(problem: Problem, tried: FloatArray, trials: FloatArray) -> FloatArray:
    """Return the strength of each metric's pulls `(m,)`, given solutions `(strengths, m, p)`.

    Full strength biases laws that fit well; weaker pulls overfit where runs are few. The error
    of leaving one run out, to first order, decides; full strength stays unless it is halved.
    """
    errors = np.stack(
        [_leave_one_out(problem, *trial) for trial in zip(tried, trials, strict=True)]
    )
    best = np.where(errors.min(axis=0) < _MUST_LEAVE * errors[0], errors.argmin(axis=0), 0)
    return _STRENGTHS[best]


def _leave_one_out(problem: Problem, parameters: FloatArray, strength: FloatArray) -> FloatArray:
    """Return the mean squared leave-one-out error of each metric `(m,)`, linearised."""
    num_runs = len(problem.mixtures)
    values, jacobian = problem.residuals(parameters, np.arange(len(parameters)), strength)
    leverage = _leverage(jacobian[:, :num_runs], inverse_normal(jacobian))
    errors = values[:, :num_runs] / (1.0 - np.minimum(leverage, _MOST_LEVERAGE))
    mean: FloatArray = np.sum(errors**2, axis=1) / problem.present.sum(axis=1)
    return mean


def _leverage(jacobian: FloatArray, covariance: FloatArray) -> FloatArray:
    """Return the diagonals of the hat matrices, shape `(m, n)`."""
    leverage: FloatArray = np.sum((jacobian @ covariance) * jacobian, axis=-1)
    return leverage


def _linearise(
    problem: Problem, parameters: FloatArray, strength: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the noise `(m,)` and the parameters' covariance for unit noise `(m, p, p)`.

    The effective number of parameters is the trace of the hat matrix.
    """
    num_runs = len(problem.mixtures)
    values, jacobian = problem.residuals(parameters, np.arange(len(parameters)), strength)
    gap, _, _ = problem.unpack(parameters)
    jacobian[:, :, 0] /= -gap[:, None]
    covariance = inverse_normal(jacobian)
    used = _leverage(jacobian[:, :num_runs], covariance).sum(axis=1)
    freedom = np.maximum(problem.present.sum(axis=1) - used, 1.0)
    variance = np.sum(values[:, :num_runs] ** 2, axis=1) / freedom
    return np.sqrt(variance), covariance
