"""A small decoder, stacked over proxies: every parameter has a leading axis of slots.

One batched matrix product does for all proxies what one product does for one. Attention folds the
slots into the batch; the embedding is one table with each slot's rows behind an offset.

Shapes: K slots, B sequences, T tokens, N = B T, D width, H heads, E = D / H, F feed-forward,
V vocabulary.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mixwright.proxies import ProxyModel
from workers.fused import head_loss, rms_norm, rotate, swiglu

Parameters = dict[str, Tensor]

_ROTARY_BASE = 10_000.0


def initialise(model: ProxyModel, seeds: Sequence[int]) -> Parameters:
    """Return float32 parameters, one slot per seed; a slot's values depend on its seed alone.

    Matrices are normal with variance 1 / fan-in; those that write into the residual stream are
    smaller by sqrt(2 layers), so that depth does not change its scale.
    """
    slots = [_initialise_one(model, seed) for seed in seeds]
    return {name: torch.stack([slot[name] for slot in slots]) for name in slots[0]}


def _initialise_one(model: ProxyModel, seed: int) -> Parameters:
    draw = torch.Generator().manual_seed(seed)

    def matrix(rows: int, columns: int, scale: float = 1.0) -> Tensor:
        return torch.randn(rows, columns, generator=draw) * (scale / math.sqrt(rows))

    d, f, inward = model.width, model.feed_forward, 1 / math.sqrt(2 * model.layers)
    parameters = {"embedding": torch.randn(model.vocabulary, d, generator=draw) * 0.5}
    for layer in range(model.layers):
        parameters |= {
            f"{layer}.attention_norm": torch.ones(d),
            f"{layer}.qkv": matrix(d, 3 * d),
            f"{layer}.attention_out": matrix(d, d, inward),
            f"{layer}.feed_forward_norm": torch.ones(d),
            f"{layer}.gate_up": matrix(d, 2 * f),
            f"{layer}.down": matrix(f, d, inward),
        }
    parameters["norm"] = torch.ones(d)
    if not model.tied:
        parameters["head"] = matrix(d, model.vocabulary)
    return parameters


def losses(parameters: Parameters, model: ProxyModel, windows: Tensor) -> Tensor:
    """Return each slot's mean loss per sequence, shape (K, B), nats per token.

    Args:
        parameters: of K slots.
        model: their shape.
        windows: token ids (K, B, T + 1); the last of each is only a target.
    """
    return token_losses(parameters, model, windows).mean(-1)


def token_losses(parameters: Parameters, model: ProxyModel, windows: Tensor) -> Tensor:
    """Return each slot's loss of every token, shape (K, B, T), nats; see `losses`."""
    num_slots, num_sequences, _ = windows.shape
    hidden = _decode(parameters, model, windows[..., :-1])  # (K, N, D)
    head = parameters["embedding"].transpose(1, 2) if model.tied else parameters["head"]
    nats = head_loss(hidden, head, windows[..., 1:].reshape(num_slots, -1))  # (K, N)
    return nats.view(num_slots, num_sequences, -1)


def _decode(parameters: Parameters, model: ProxyModel, tokens: Tensor) -> Tensor:
    _, num_sequences, length = tokens.shape
    stream = _embed(parameters["embedding"], tokens)  # (K, N, D)
    rotation = _rotation(length, model.width // model.heads, stream.device)
    for layer in range(model.layers):
        part = {
            name.removeprefix(f"{layer}."): p
            for name, p in parameters.items()
            if name.startswith(f"{layer}.")
        }
        inner = rms_norm(stream, part["attention_norm"])
        seen = _attend(part, model, inner, num_sequences, rotation)
        stream = torch.baddbmm(stream, seen, part["attention_out"])
        inner = rms_norm(stream, part["feed_forward_norm"])
        stream = torch.baddbmm(stream, swiglu(torch.bmm(inner, part["gate_up"])), part["down"])
    return rms_norm(stream, parameters["norm"])


def _embed(table: Tensor, tokens: Tensor) -> Tensor:
    num_slots, vocabulary, width = table.shape
    offsets = torch.arange(num_slots, device=table.device)[:, None] * vocabulary
    return functional.embedding(tokens.reshape(num_slots, -1) + offsets, table.view(-1, width))


def _attend(
    part: Parameters, model: ProxyModel, inner: Tensor, sequences: int, rotation: Tensor
) -> Tensor:
    """Return what each position sees, (K, N, D), before it is written into the stream."""
    num_slots, rows, width = inner.shape
    mixed = torch.bmm(inner, part["qkv"])  # (K, N, 3 D)
    mixed = mixed.view(num_slots * sequences, -1, 3, model.heads, width // model.heads)
    q, k, v = (part.transpose(1, 2) for part in rotate(mixed, rotation))  # (K B, H, T, E)
    seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return seen.transpose(1, 2).reshape(num_slots, rows, width)


def _rotation(length: int, size: int, device: torch.device) -> Tensor:
    """Return cosines and sines, float64 (2, T, E / 2): Su et al., "RoFormer", 2021."""
    halves = torch.arange(0, size, 2, device=device, dtype=torch.float64)
    angles = torch.arange(length, device=device)[:, None] / _ROTARY_BASE ** (halves / size)
    return torch.stack([angles.cos(), angles.sin()])
