"""What gradients of domains have in common, and how noisy they are.

For DoGE (arXiv:2310.15393), Dynamic Gradient Alignment (arXiv:2410.02498), PiKE
(arXiv:2502.06244) and TiKMiX (arXiv:2508.17677). A row is the gradient of one domain's mean loss,
over the parameters that were chosen or a projection of them; rows of domains that were not in the
batch are left out, never kept from before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mixwright_client import ranks

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Projection:
    """A random projection that keeps inner products in the mean: a count sketch.

    Each parameter goes to one of `size` places with a random sign. The variance of an inner
    product is at most `2 |a|² |b|² / size`. Source: Charikar, Chen and Farach-Colton, "Finding
    frequent items in data streams", 2002. All rows and all ranks have to use the same seed.

    Attributes:
        size: numbers that are left of a gradient.
        seed: of places and signs.
    """

    size: int = 4096
    seed: int = 0

    def apply(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the projection `(size,)` of a gradient given by its parts, any shapes."""
        import torch

        device = parts[0].device
        generator = torch.Generator(device=device).manual_seed(self.seed)
        found = torch.zeros(self.size, dtype=torch.float32, device=device)
        for part in parts:
            shape = (part.numel(),)
            places = torch.randint(self.size, shape, generator=generator, device=device)
            signs = torch.randint(2, shape, generator=generator, device=device) * 2 - 1
            found.index_add_(0, places, part.reshape(-1).float() * signs)
        return found


def gradient(
    loss: torch.Tensor,
    parameters: Sequence[torch.Tensor],
    projection: Projection | None = None,
) -> torch.Tensor:
    """Return the gradient of a loss as one row of float32, shape `(d,)`.

    The graph of the loss is kept, and `.grad` is not touched. A parameter that the loss does not
    depend on counts as 0.

    Args:
        loss: a scalar, such as a domain's mean loss.
        parameters: such as those of the last layers.
        projection: what makes rows short; None for all parameters, one after the other.
    """
    import torch

    parameters = list(parameters)
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    parts = [
        torch.zeros_like(parameter) if part is None else part
        for part, parameter in zip(found, parameters)
    ]
    if projection is not None:
        return projection.apply(parts)
    return torch.cat([part.reshape(-1).float() for part in parts])


def averaged(row: torch.Tensor) -> torch.Tensor:
    """Return a row's mean over all ranks; every rank has to call it, for the same rows."""
    _, world = ranks.rank_and_world()
    return ranks.add_up(row.clone()) / world


def clipped(row: torch.Tensor, largest_norm: float) -> torch.Tensor:
    """Return a row `(d,)` scaled down to a norm, as DoGE does with 5."""
    smaller: torch.Tensor = row / (row.norm() / largest_norm).clamp_min(1.0)
    return smaller


def alignment(
    rows: Mapping[str, torch.Tensor], target: torch.Tensor | None = None
) -> dict[str, float]:
    """Return how far each domain's gradient lowers the target's loss: positive is good.

    Args:
        rows: by domain, each `(d,)`.
        target: the gradient of the target's loss, `(d,)`; None where the domains themselves are
            the target. Each is then compared with the sum of all others, as in DoGE.
    """
    import torch

    stacked = torch.stack(list(rows.values()))
    if target is not None:
        found = stacked @ target
    else:
        found = stacked @ stacked.sum(dim=0) - (stacked * stacked).sum(dim=1)
    return dict(zip(rows, found.tolist()))


def gram(rows: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return all inner products of rows, as the field `gram` of an observation."""
    import torch

    stacked = torch.stack(list(rows.values()))
    names = list(rows)
    return {"rows": names, "columns": names, "values": (stacked @ stacked.T).tolist()}


def influence(
    rows: Mapping[str, torch.Tensor],
    tasks: Mapping[str, torch.Tensor],
    curvature: torch.Tensor,
) -> dict[str, Any]:
    """Return how far training on each domain lowers each task's loss, as the field `influence`.

    It is `tᵀ H⁻¹ g` for the gradients t of a task and g of a domain: TiKMiX's group influence with
    its sign turned, so that what lowers a loss is positive, as its reweighters have it. Tasks are
    the table's rows, domains its columns.

    Departure [I]: the paper has an EK-FAC Hessian. Here it is a diagonal one, damped by its mean,
    so rows must not be projections.

    Args:
        rows: by domain, each `(d,)`, over as many tokens for each.
        tasks: gradients of the tasks' losses by name, each `(d,)`, over the same parameters.
        curvature: diagonal of the Hessian, `(d,)`, such as `second_moments`; a common factor of it
            changes all influence alike.

    Raises:
        ValueError: gradients and curvature differ in length, or the curvature is negative or not
            finite somewhere, or 0 everywhere.
    """
    import torch

    domains, aims = torch.stack(list(rows.values())), torch.stack(list(tasks.values()))
    lengths = {domains.shape[1], aims.shape[1], *curvature.shape}
    if curvature.dim() != 1 or len(lengths) > 1:
        raise ValueError(
            f"domains have gradients of length {domains.shape[1]}, tasks of {aims.shape[1]}, and "
            f"the curvature has shape {tuple(curvature.shape)}; take the same parameters for all"
        )
    least, level = float(curvature.min()), float(curvature.mean())
    if not (least >= 0.0 and 0.0 < level < float("inf")):
        raise ValueError(f"the curvature must be 0 or more, not all 0: least {least}, mean {level}")
    found = (aims / (curvature + level)) @ domains.T
    return {"rows": list(tasks), "columns": list(rows), "values": found.tolist()}


def second_moments(
    optimizer: torch.optim.Optimizer, parameters: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return Adam's second moments as one row `(d,)`, for the diagonal of a Hessian.

    They are means of squared gradients of batches: an empirical Fisher matrix's diagonal, but for
    the mean inside a batch. Adam's correction for their start is left out: it is a common factor.

    Args:
        optimizer: Adam or AdamW, that has made a step.
        parameters: those that `gradient` was given, in the same order.

    Raises:
        ValueError: the optimiser has no second moments of a parameter.
    """
    import torch

    kept = [optimizer.state.get(parameter, {}).get("exp_avg_sq") for parameter in parameters]
    lacking = [place for place, moments in enumerate(kept) if moments is None]
    if lacking:
        raise ValueError(
            f"{type(optimizer).__name__} has no second moments of parameter {lacking[0]}: it has "
            "to be Adam or AdamW, and to have made a step with a gradient of it"
        )
    return torch.cat([moments.reshape(-1).float() for moments in kept])


def grad_norms(rows: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Return the norm of each row."""
    return {name: float(row.norm()) for name, row in rows.items()}


def norm_and_variance(rows: torch.Tensor, micro_batch: int) -> tuple[float, float]:
    """Return estimates of a gradient's squared norm and of its variance per sample.

    With the mean `ḡ` of n rows: `σ² = B Σ |g - ḡ|² / (n - 1)` and
    `|∇L|² = |ḡ|² - Σ |g - ḡ|² / (n (n - 1))`, both without bias; the norm is cut off at 0.
    They are `grad_norms_squared` and `grad_variances` of PiKE's observations (arXiv:2502.06244,
    which does not say how to estimate them: these are the standard moments).

    Args:
        rows: gradients of a domain's micro-batches, shape `(n, d)`, of at least two.
        micro_batch: B, samples in each.

    Raises:
        ValueError: there are fewer than two.
    """
    count = len(rows)
    if count < 2:
        raise ValueError("a variance needs at least two micro-batches")
    mean = rows.mean(dim=0)
    scatter = float(((rows - mean) ** 2).sum()) / (count - 1)
    return max(0.0, float(mean @ mean) - scatter / count), micro_batch * scatter
