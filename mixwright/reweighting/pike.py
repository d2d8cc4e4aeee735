"""PiKE: more of the domains with large gradients, fewer of those with noisy ones.

Where the gradients of domains seldom conflict, the loss that a step takes off is bounded by their
squared norms less a penalty for the noise of a batch. Each update multiplies weights by
`exp(ζ₁ ‖∇L‖² - ζ₂ σ² / 2b)` for a batch of b samples. Balanced PiKE favours domains with high
losses: their norms and variances count times `(τ softmax(τ L))²`. As norms shrink in training,
weights settle.

Source:
    Li et al., "PiKE: Adaptive Data Mixing for Large-Scale Multi-Task Learning Under Low Gradient
    Conflicts", arXiv:2502.06244, Algorithm 1. Grade of evidence: PAPER. INTERP for how the losses
    enter in Balanced PiKE; its weights are those of the paper's Lemma 3.6.

Departures:
    ζ₁, ζ₂ and the interval were not found. Where they are not given, the largest reward of the
    first update is 0.1 and the median penalty half of the largest reward. Batches are rounded by
    the largest remainder with at least one sample of every domain. The score of a domain that
    stays away is reused for 10 updates and is 0 after that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import InvalidInputError
from mixwright.exports.units import apportion
from mixwright.options import option
from mixwright.reweighting.base import (
    MOST_MISSING,
    Json,
    Observation,
    Requirements,
    State,
    Update,
    number,
    seen,
)
from mixwright.reweighting.exponentiated import exponentiated_gradient, softmax
from mixwright.reweighting.trajectory import moved, scores_with

_LONGEST_REUSE = 10  # updates
_FIRST_REWARD = 0.1  # the largest, in log-weight
_FIRST_PENALTY = 0.5  # the median, of the largest reward


@dataclass(frozen=True, slots=True)
class PiKE:
    """Options of PiKE."""

    step_size: float = option(
        -1.0, "ζ₁, the reward for squared norms; below 0, chosen at the first.", minimum=-1.0
    )
    noise_penalty: float = option(
        -1.0, "ζ₂, the penalty for variances; below 0, chosen at the first.", minimum=-1.0
    )
    temperature: float = option(
        0.0, "τ of Balanced PiKE, from 1 to 5 in the paper; 0 is plain PiKE.", minimum=0.0
    )

    @property
    def requires(self) -> Requirements:
        """Squared norms and variances of gradients, and the size of a batch."""
        fields = ("grad_norms_squared", "grad_variances", "batch_size")
        return Requirements(
            fields=(*fields, "losses") if self.temperature else fields,
            every_steps=100,
            cost="the gradients of at least two microbatches of each domain",
        )

    def init(self, domains: tuple[str, ...], weights: FloatArray, seed: int) -> State:
        """Return the state before anything was observed."""
        nothing = np.zeros(len(domains))
        return State(domains, weights, seed, vectors={"scores": nothing, "ages": nothing})

    def plan(self, state: State) -> Mapping[str, Json]:
        """Return nothing to measure but what is required."""
        return {}

    def update(self, state: State, observation: Observation) -> Update:
        """Take one step of exponentiated gradient on rewards less penalties."""
        size = number(observation, "batch_size", 1.0)
        if isinstance(size, str):
            return Update(state, size)
        measured = self._measured(state, observation)
        if isinstance(measured, str):
            return Update(state, measured)
        gains, noise = measured[0], measured[1] / (2 * size)
        memory = self._scales(state, gains, noise)
        scores = (memory["step_size"] or 0.0) * gains - (memory["noise_penalty"] or 0.0) * noise
        last = scores_with(state, scores, _LONGEST_REUSE)
        weights = exponentiated_gradient(state.weights, last["scores"], 0.0)
        counts = batch_counts(weights, int(size)).tolist()
        return Update(
            state.after(observation, weights, vectors=last, memory=memory),
            diagnostics={"batch_counts": dict(zip(state.domains, counts, strict=True))},
        )

    def remap(self, state: State, new: State, origin: Mapping[str, str]) -> State:
        """Return what is known of domains by name; ζ₁ and ζ₂ stay."""
        return replace(moved(state, new, origin), memory=state.memory)

    def _measured(
        self, state: State, observation: Observation
    ) -> tuple[FloatArray, FloatArray] | str:
        """Return ‖∇L‖² and σ² as they count, each `(k,)`, NaN where not seen, or what is wrong."""
        squared = seen(state, observation, "grad_norms_squared")
        variances = seen(state, observation, "grad_variances")
        losses = seen(state, observation, "losses") if self.temperature else np.zeros(1)
        if isinstance(squared, str):
            return squared
        if isinstance(variances, str):
            return variances
        if isinstance(losses, str):
            return losses
        if (variances < 0).any():
            return "grad_variances are below 0"
        counts = balanced(losses, self.temperature) ** 2 if self.temperature else np.ones(1)
        missing = np.isnan(squared + variances + counts)
        if missing.mean() > MOST_MISSING:
            return "too many domains lack one of its numbers"
        gains, noise = counts * np.maximum(squared, 0.0), counts * variances
        return np.where(missing, np.nan, gains), np.where(missing, np.nan, noise)

    def _scales(
        self, state: State, gains: FloatArray, noise: FloatArray
    ) -> dict[str, float | None]:
        """Return ζ₁ and ζ₂: as given, as chosen before, or chosen now; None while they cannot be.

        Args:
            state: before the update.
            gains: shape `(k,)`, NaN where not seen; what ζ₁ multiplies.
            noise: shape `(k,)`, NaN where not seen; what ζ₂ multiplies.
        """
        reward, penalty = state.memory.get("step_size"), state.memory.get("noise_penalty")
        largest, noises = float(np.nanmax(gains)), noise[noise > 0]
        if self.step_size >= 0:
            reward = self.step_size
        elif reward is None and largest > 0:
            reward = _FIRST_REWARD / largest
        if self.noise_penalty >= 0:
            penalty = self.noise_penalty
        elif penalty is None and reward is not None and len(noises):
            penalty = _FIRST_PENALTY * reward * largest / float(np.median(noises))
        return {"step_size": reward, "noise_penalty": penalty}


def balanced(losses: FloatArray, temperature: float) -> FloatArray:
    """Return τ softmax(τ L), shape `(k,)`: how much each domain counts in Balanced PiKE.

    Args:
        losses: shape `(k,)`, nats; NaN where not seen, and so is what comes of it.
        temperature: τ, above 0.
    """
    found = np.full(len(losses), np.nan)
    known = np.isfinite(losses)
    found[known] = temperature * softmax(temperature * losses[known])
    return found


def batch_counts(weights: FloatArray, size: int) -> IntArray:
    """Return how many samples of a batch each domain gets, shape `(k,)`; they sum to `size`.

    Rounded by the largest remainder. A domain with a weight gets one at least, from the domain
    with most, if the batch is large enough: without a sample there is no gradient to measure.
    """
    counts = apportion(weights, size)
    lacking = np.flatnonzero((counts == 0) & (weights > 0))
    if size >= np.count_nonzero(weights):
        for place in lacking:
            counts[np.argmax(counts)] -= 1
            counts[place] = 1
    return counts


def gradient_moments(gradients: FloatArray, size: int) -> tuple[float, float]:
    """Return unbiased estimates of ‖∇L‖² and σ² from the gradients of microbatches.

    The first may be below 0, where noise hides the gradient; PiKE takes it for 0.

    Args:
        gradients: ḡ of each microbatch, shape `(n, parameters)`.
        size: samples in each microbatch.

    Returns:
        The squared norm of the gradient, and the trace of the covariance of one sample's gradient.

    Raises:
        InvalidInputError: fewer than two microbatches.
    """
    count = len(gradients)
    if count < 2:
        raise InvalidInputError("the noise of gradients needs two microbatches", field="gradients")
    mean = gradients.mean(axis=0)
    scatter = float(np.sum((gradients - mean) ** 2)) / (count - 1)
    return float(mean @ mean) - scatter / count, size * scatter
