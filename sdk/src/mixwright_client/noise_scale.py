"""The gradient noise scale B = tr Σ / |g|², from the gradients that a step computes anyway.

Of two batches of b and B tokens (or samples) the mean gradients have squared norms with the means
`|g|² + tr Σ / b` and `|g|² + tr Σ / B`, so that without bias

    |g|² = (B |g_B|² - b |g_b|²) / (B - b)        tr Σ = (|g_b|² - |g_B|²) / (1/b - 1/B)

Source:
    McCandlish, Kaplan, Amodei et al., "An Empirical Model of Large-Batch Training",
    arXiv:1812.06162, appendix A.1: the small batch is a rank's or a micro-batch, the large one the
    whole; both are averaged over steps, and divided only then, since a ratio of noisy numbers is
    biased. Moving averages begin with a mean of all steps so far [I].
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Batch:
    """A batch's size and the squared norm of its mean gradient.

    Attributes:
        size: in tokens or samples, above 0.
        squared_norm: at least 0.

    Raises:
        ValueError: a number is not finite or out of range.
    """

    size: float
    squared_norm: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.size) and self.size > 0):
            raise ValueError(f"a batch has a size of {self.size}; it must be above 0")
        if not (math.isfinite(self.squared_norm) and self.squared_norm >= 0):
            raise ValueError(
                f"the squared norm of a gradient is {self.squared_norm}; it must be finite and at "
                "least 0: leave out steps that the optimiser skips"
            )


def moments(small: Batch, large: Batch) -> tuple[float, float]:
    """Return estimates of |g|² and of tr Σ, both without bias: either may be negative.

    Args:
        small: a rank's or a micro-batch; the mean over several of their squared norms is better.
        large: the batch that it is part of.

    Raises:
        ValueError: the large batch is not larger.
    """
    if large.size <= small.size:
        raise ValueError(
            f"batches of {small.size:g} and {large.size:g}: the second has to be the larger one; "
            "with one rank, take a micro-batch for the first"
        )
    difference = large.size - small.size
    signal = large.size * large.squared_norm - small.size * small.squared_norm
    noise = small.squared_norm - large.squared_norm
    return signal / difference, noise * small.size * large.size / difference


class NoiseScale:
    """Follows the noise scale over steps; for a number per domain, one of these for each.

    Attributes:
        decay: what the averages keep at a step.
        steps: how many were added.
        squared_norm: smoothed estimate of |g|²; 0 before any step.
        trace: smoothed estimate of tr Σ, per token (or sample), as sizes are; 0 before any step.
    """

    def __init__(self, decay: float = 0.99) -> None:
        """Begin without a step; `decay` is from 0 to below 1.

        Raises:
            ValueError: it is not.
        """
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; it must be at least 0 and below 1")
        self.decay = decay
        self.steps = 0
        self.squared_norm = 0.0
        self.trace = 0.0

    def add(self, small: Batch, large: Batch) -> None:
        """Count a step.

        Raises:
            ValueError: see `moments`; nothing is counted then.
        """
        signal, noise = moments(small, large)
        self.steps += 1
        share = max(1 - self.decay, 1 / self.steps)
        self.squared_norm += share * (signal - self.squared_norm)
        self.trace += share * (noise - self.trace)

    @property
    def value(self) -> float | None:
        """The noise scale, in tokens (or samples); None while noise hides the gradient."""
        if self.squared_norm <= 0 or self.trace < 0:
            return None
        return self.trace / self.squared_norm


def squared_norm(parameters: Iterable[torch.nn.Parameter], divisor: float = 1.0) -> float:
    """Return |g / divisor|² of the gradients that parameters have, on this rank.

    Parameters without a gradient count as 0. One number leaves the device.

    Args:
        parameters: such as `model.parameters()`.
        divisor: what the mean gradient was multiplied by: 1/4 after the first of four micro-batches
            whose losses were divided by four, the loss scale where a GradScaler has not unscaled.

    Raises:
        ValueError: no parameter has a gradient, or the divisor is 0.
    """
    import torch

    if not divisor:
        raise ValueError("divisor is 0; give what gradients were multiplied by")
    gradients = [one.grad for one in parameters if one.grad is not None]
    if not gradients:
        raise ValueError("no parameter has a gradient; call this after backward")
    norms = torch.stack([one.detach().float().norm() for one in gradients])
    return float((norms / divisor).square().sum())


def batches_of(rows: torch.Tensor, micro_batch: float) -> tuple[Batch, Batch]:
    """Return the small and the large batch of gradients of micro-batches, as of one domain.

    What `moments` makes of them is what `gradients.norm_and_variance` does, without its cut at 0.

    Args:
        rows: gradients of micro-batches, shape `(n, d)`, of at least two.
        micro_batch: tokens (or samples) in each.
    """
    small = float(rows.float().square().sum(dim=1).mean())
    large = float(rows.float().mean(dim=0).square().sum())
    return Batch(micro_batch, small), Batch(len(rows) * micro_batch, large)
