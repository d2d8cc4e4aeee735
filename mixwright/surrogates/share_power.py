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
    between the floor and the smallest value towards log 0.8 standard deviations. Each metric's
    pulls are 10 or 100 times weaker where that halves the error of leaving one run out.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.options import option
from mixwright.surrogates.base import Prediction, State, canonical_order
from mixwright.surrogates.share_power_fit import Problem, fit_laws


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
        """Fit every metric from every start.

        Raises:
            FitDidNotConvergeError: a metric's cost is finite at none of the starts.
        """
        order = canonical_order(mixtures, values)
        mixtures, values = mixtures[order], values[order]
        problem = Problem.build(mixtures, values, self.terms, self.ridge)
        laws = fit_laws(problem, self.starts, seed)
        shape = laws.parameters.shape[:2]
        gap, log_worth, exponent = problem.unpack(np.concatenate(laws.parameters))
        return FittedSharePower(
            log_worth=log_worth.reshape(*shape, *log_worth.shape[1:]),
            exponent=exponent.reshape(*shape, -1),
            floor=problem.lowest - gap.reshape(shape),
            centre=problem.centre,
            scale=problem.scale,
            noise_std=laws.noise_std,
            covariance=laws.covariance,
        )


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
