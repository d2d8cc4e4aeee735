"""Loss multipliers, for trainers whose sampling is fixed when they start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

SAMPLING_IS_FIXED = (
    "This trainer lays down its order of samples when it starts, so weights that change later "
    "cannot change what is sampled. Multiply each token's loss by its domain's multiplier "
    "instead: w / q, the wanted weight over the share that is sampled. Never use both, changed "
    "sampling and multipliers: that counts the weights twice. The variance of gradients grows "
    "with w / q, so multipliers are capped, and beyond the cap weights have less effect than "
    "they say. A domain that is not sampled cannot be weighted at all."
)
"""To be shown to whoever trains in this way."""

_HALVINGS = 200
_SMALLEST_RATIO = 1e-6  # so that the mean can be 1 where some weights are 0


def loss_multipliers(
    weights: Mapping[str, float], sampled: Mapping[str, float], cap: float = 2.0
) -> dict[str, float]:
    """Return what to multiply each domain's loss by, in place of sampling by the weights.

    `clip(c w / q, 1 / cap, cap)`, with c such that the mean under q is 1: the scale of the loss,
    and so the learning rate, keeps its meaning. c is 1 where nothing is capped. Source: the
    importance weights of DoReMi's trainer (sangmichaelxie/doremi); cap and c are ours.

    Args:
        weights: w, the wanted ones, summing to 1.
        sampled: q, the shares of tokens that the trainer samples, summing to 1.
        cap: the largest multiplier, at least 1; the smallest is its inverse.

    Raises:
        ValueError: the domains differ, the cap is below 1, or a domain has weight but no samples.
    """
    if set(weights) != set(sampled):
        raise ValueError(f"domains differ: {sorted(set(weights) ^ set(sampled))}")
    if cap < 1:
        raise ValueError(f"a cap of {cap} is below 1")
    lost = [name for name, share in sampled.items() if share <= 0 < weights[name]]
    if lost:
        raise ValueError(f"domains with weight are never sampled: {lost}")
    ratios = {name: weights[name] / share if share else 1.0 for name, share in sampled.items()}

    def clipped(scale: float) -> dict[str, float]:
        raised = {name: scale * max(ratio, _SMALLEST_RATIO) for name, ratio in ratios.items()}
        return {name: min(max(value, 1 / cap), cap) for name, value in raised.items()}

    def mean(scale: float) -> float:
        return sum(sampled[name] * value for name, value in clipped(scale).items())

    if all(1 / cap <= ratio <= cap for ratio in ratios.values()):
        return ratios
    return clipped(_root(mean, sum(sampled.values())))


def _root(mean: Callable[[float], float], target: float) -> float:
    """Return where a function that grows reaches a target, by halving on a log scale."""
    low, high = 1e-12, 1e12
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if mean(middle) < target else (low, middle)
    return high
