"""Operations whose backward pass is written by hand, because memory traffic is what they cost.

Each does in one or two passes over its tensors what autograd would do in five to ten. The plain
form of each stands in tests/unit/workers/test_fused.py and is what they are checked against.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_EPSILON = 1e-6
_CHUNK_ENTRIES = 1 << 26  # logits at a time: 256 MB in float32


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:  # noqa: ANN401  - autograd's
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + _EPSILON).to(x.dtype)
        normal = x * scale
        ctx.save_for_backward(normal, scale, gain)
        return normal * gain[:, None].to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401  - autograd's
        normal, scale, gain = ctx.saved_tensors
        gain_gradient = (gradient * normal).sum(1, dtype=gain.dtype)
        inner = gradient * gain[:, None].to(gradient.dtype)
        along = (inner * normal).mean(-1, keepdim=True)
        return inner.addcmul_(normal, along, value=-1).mul_(scale), gain_gradient


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    """Return `x` (K, N, D) divided by its root mean square over D, times `gain` (K, D)."""
    result: Tensor = _RmsNorm.apply(x, gain)  # type: ignore[no-untyped-call]  # torch's
    return result


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:  # noqa: ANN401  - autograd's
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, dim=-1)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401  - autograd's
        (both,) = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        sigmoid = torch.sigmoid(gate)
        silu = gate * sigmoid
        result = torch.empty_like(both)
        into_gate, into_up = result.chunk(2, dim=-1)
        torch.mul(gradient, silu, out=into_up)
        slope = sigmoid.addcmul_(silu, 1 - sigmoid)  # of silu: s + g s (1 - s)
        torch.mul(slope, up, out=into_gate)
        into_gate.mul_(gradient)
        return result


def swiglu(both: Tensor) -> Tensor:
    """Return `silu(gate) * up`, (K, N, F), of `both` (K, N, 2 F): Shazeer, 2020."""
    result: Tensor = _SwiGlu.apply(both)  # type: ignore[no-untyped-call]  # torch's
    return result


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  - autograd's
        mixed: Tensor,
        rotation: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(rotation)
        turned = _turn(mixed[:, :, :2], rotation)
        return turned[:, :, 0], turned[:, :, 1], mixed[:, :, 2]

    @staticmethod
    def backward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (rotation,) = ctx.saved_tensors
        back = torch.stack([rotation[0], -rotation[1]])
        mixed = v.new_empty(*v.shape[:2], 3, *v.shape[2:])
        mixed[:, :, 0] = _turn(q[:, :, None], back)[:, :, 0]
        mixed[:, :, 1] = _turn(k[:, :, None], back)[:, :, 0]
        mixed[:, :, 2] = v
        return mixed, None


def _turn(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn pairs of the last axis of (B, T, P, H, E) by the angles of their position."""
    pairs = x.view(*x.shape[:-1], -1, 2)
    angles = rotation.to(x.dtype)[:, :, None, None]  # (2, T, 1, 1, E / 2)
    if x.dtype in (torch.float32, torch.float64):  # one pass, as complex numbers
        turned = torch.view_as_complex(pairs) * torch.complex(angles[0], angles[1])
        return torch.view_as_real(turned).flatten(-2)
    left, right = pairs.unbind(-1)
    ahead = left * angles[0] - right * angles[1]
    return torch.stack([ahead, left * angles[1] + right * angles[0]], -1).flatten(-2)


def rotate(mixed: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries and keys, turned by their positions' angles, and values, (B, T, H, E) each.

    Args:
        mixed: the three beside each other, (B, T, 3, H, E).
        rotation: cosines and sines, (2, T, E / 2).
    """
    q, k, v = _Rotate.apply(mixed, rotation)  # type: ignore[no-untyped-call]  # torch's
    return q, k, v


class _HeadLoss(torch.autograd.Function):
    """Head and cross-entropy at once; logits are turned into their own gradient.

    Where all logits at once would be large, chunks of positions are computed one after another,
    and once more in the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:  # noqa: ANN401
        rows = max(1, _CHUNK_ENTRIES // (hidden.shape[0] * head.shape[2]))
        chunks = zip(torch.split(hidden, rows, 1), torch.split(targets, rows, 1), strict=True)
        parts = [_loss_and_slope(*chunk, head) for chunk in chunks]
        kept = parts[0][1] if len(parts) == 1 else None
        ctx.save_for_backward(hidden, head, targets, kept)
        ctx.rows = rows
        return torch.cat([nats for nats, _ in parts], 1) if len(parts) > 1 else parts[0][0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        hidden, head, targets, kept = ctx.saved_tensors
        scale = gradient[:, :, None].to(hidden.dtype)
        if kept is not None:
            into_head = torch.bmm((hidden * scale).transpose(1, 2), kept)
            return torch.bmm(kept, head.transpose(1, 2)).mul_(scale), into_head, None
        into_hidden, into_head = torch.empty_like(hidden), torch.zeros_like(head)
        for start in range(0, hidden.shape[1], ctx.rows):
            some = slice(start, start + ctx.rows)
            _, slope = _loss_and_slope(hidden[:, some], targets[:, some], head)
            into_head.baddbmm_((hidden[:, some] * scale[:, some]).transpose(1, 2), slope)
            into_hidden[:, some] = torch.bmm(slope, head.transpose(1, 2)).mul_(scale[:, some])
        return into_hidden, into_head, None


def _loss_and_slope(hidden: Tensor, targets: Tensor, head: Tensor) -> tuple[Tensor, Tensor]:
    """Return nats (K, N) and their derivative by the logits (K, N, V)."""
    logits = torch.bmm(hidden, head)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    largest, at = wide.amax(-1), targets[:, :, None]
    wanted = wide.gather(2, at).squeeze(2)
    shares = torch.softmax(wide, -1)  # on a processor seven times faster than log_softmax
    # The largest share is 1 / sum(exp(logits - largest)): never 0, unlike the wanted one.
    nats = largest - shares.amax(-1).log() - wanted
    slope = shares.scatter_add_(2, at, torch.full_like(at, -1, dtype=shares.dtype))
    return nats, slope.to(logits.dtype)


def head_loss(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of every position, (K, N), nats.

    Args:
        hidden: shape (K, N, D).
        head: shape (K, D, V).
        targets: token ids (K, N).
    """
    result: Tensor = _HeadLoss.apply(hidden, head, targets)  # type: ignore[no-untyped-call]  # torch's
    return result
