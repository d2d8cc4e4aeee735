"""One fused training step: losses, gradients, clip and AdamW of all slots at once.

The loss is the sum over slots of each slot's own mean, so every gradient is exactly the one a
proxy would have alone. Whatever reduces over parameters does so one parameter after another: the
order, and with it every bit on a processor, is the same whatever the number of slots.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mixwright.proxies import ProxyModel
from workers.model import Parameters, losses
from workers.order import OptimizerOrder

Losses = Callable[[Parameters, ProxyModel, Tensor], Tensor]

_EPSILON = 1e-8
_LEAST_NORM = 1e-6  # as torch.nn.utils.clip_grad_norm_ has it


@dataclass(slots=True)
class TrainingState:
    """Everything a step changes.

    Attributes:
        parameters: float32, each with a leading axis of K slots.
        first: AdamW's first moments, like `parameters`.
        second: AdamW's second moments.
        alive: shape (K,): false for slots that diverged and are frozen, or that only fill up.
        step: number of steps done.
        average: weighted sum of checkpoints so far, like `parameters`, once there is one.
        averaged: shape (K,), the sum of their weights.
    """

    parameters: Parameters
    first: Parameters
    second: Parameters
    alive: Tensor
    step: int = 0
    average: Parameters | None = None
    averaged: Tensor | None = None


def begin(parameters: Parameters, alive: Tensor) -> TrainingState:
    """Return the state before the first step; `alive` has shape (K,)."""
    return TrainingState(
        parameters,
        {name: torch.zeros_like(p) for name, p in parameters.items()},
        {name: torch.zeros_like(p) for name, p in parameters.items()},
        alive,
    )


def train_step(
    state: TrainingState,
    model: ProxyModel,
    windows: Tensor,
    optimizer: OptimizerOrder,
    rates: Tensor,
    micro_batch: int | None = None,
    *,
    is_compiled: bool = False,
) -> Tensor:
    """Change `state` by one step of AdamW; return each slot's loss (K,), nats per token.

    A slot whose loss or gradient is not finite is frozen before it can change anything.

    Args:
        state: of K slots.
        model: their shape.
        windows: token ids (K, B, T + 1).
        optimizer: clip, betas and decay.
        rates: shape (K,), learning rates at this step.
        micro_batch: sequences at a time, to save memory; None: all B.
        is_compiled: whether to compile the model, which costs half a minute the first time.
    """
    forward = _compiled() if is_compiled else losses
    loss, gradients = _gradients(forward, state.parameters, model, windows, micro_batch)
    norm = _norm(gradients)
    state.alive = state.alive & loss.isfinite() & norm.isfinite()
    clip = (optimizer.clip / (norm + _LEAST_NORM)).clamp(max=1.0)
    state.step += 1
    _adamw(state, gradients, clip, torch.where(state.alive, rates, 0.0), optimizer)
    return loss


def add_to_average(state: TrainingState, weights: Tensor) -> None:
    """Add the parameters, times weights (K,), to the average of checkpoints, in float32."""
    if state.average is None or state.averaged is None:
        state.average = {name: torch.zeros_like(p) for name, p in state.parameters.items()}
        state.averaged = torch.zeros(len(weights), device=state.alive.device)
    weights = weights.to(state.alive.device)
    state.averaged += weights
    for name, p in state.parameters.items():
        state.average[name] += weights[(slice(None), *[None] * (p.ndim - 1))] * p


def averaged(state: TrainingState) -> Parameters:
    """Return the average of checkpoints of the slots that have one, and the others as they are."""
    assert state.average is not None  # noqa: S101  - asked for where there is one
    assert state.averaged is not None  # noqa: S101
    has_one = state.averaged > 0
    return {
        name: torch.where(has_one[(slice(None), *[None] * (p.ndim - 1))], state.average[name], p)
        for name, p in state.parameters.items()
    }


@functools.cache
def _compiled() -> Losses:
    return torch.compile(losses, dynamic=False)


def _gradients(
    forward: Losses,
    parameters: Parameters,
    model: ProxyModel,
    windows: Tensor,
    micro_batch: int | None,
) -> tuple[Tensor, list[Tensor]]:
    leaves = {name: p.detach().requires_grad_() for name, p in parameters.items()}
    num_sequences = windows.shape[1]
    total = torch.zeros(windows.shape[0], device=windows.device)
    for part in torch.split(windows, micro_batch or num_sequences, 1):
        loss = forward(_cast(leaves), model, part).sum(1) / num_sequences
        loss.sum().backward()  # type: ignore[no-untyped-call]  # torch's
        total = total + loss.detach()
    return total, [_gradient(leaf) for leaf in leaves.values()]


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None  # noqa: S101  - every parameter is used
    return leaf.grad


def _cast(parameters: Parameters) -> Parameters:
    """Return matrices in bfloat16 on a GPU; masters and gains stay in float32."""
    if not next(iter(parameters.values())).is_cuda:
        return parameters
    return {name: p.bfloat16() if p.ndim == 3 else p for name, p in parameters.items()}


def _norm(gradients: list[Tensor]) -> Tensor:
    squares = torch.zeros(len(gradients[0]), device=gradients[0].device)
    for gradient in gradients:
        squares = squares + torch.linalg.vector_norm(gradient.flatten(1), dim=1).square()
    return squares.sqrt()


def _adamw(
    state: TrainingState,
    gradients: list[Tensor],
    clip: Tensor,
    rates: Tensor,
    optimizer: OptimizerOrder,
) -> None:
    """Change parameters and moments in place: Loshchilov and Hutter, 2019.

    Gains are not decayed. A frozen slot has the rate 0 and the gradient 0.
    """
    beta1, beta2 = optimizer.beta1, optimizer.beta2
    steps = rates / (1 - beta1**state.step)
    roots = (1 - beta2**state.step) ** 0.5
    is_whole = not state.alive.is_cuda and bool(state.alive.all())  # asking a GPU would wait
    for (name, p), g in zip(state.parameters.items(), gradients, strict=True):
        first, second = state.first[name], state.second[name]
        axes = (slice(None), *[None] * (p.ndim - 1))
        g = g.mul_(clip[axes]) if is_whole else torch.where(state.alive[axes], g * clip[axes], 0.0)
        first.lerp_(g, 1 - beta1)
        second.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        if p.ndim == 3:
            p.mul_((1 - rates * optimizer.weight_decay)[axes])
        denominator = second.sqrt().div_(roots).add_(_EPSILON)
        p.addcmul_(denominator.reciprocal_().mul_(first), steps[axes], value=-1)
