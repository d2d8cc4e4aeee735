"""Losses of all slots on fixed windows of every domain's validation tokens.

The windows are evenly spaced and the same for every proxy and every evaluation, so that what two
proxies differ by is their training and not what they were asked. Losses are told in nats per
token, and in bits per byte, which compare between tokenizers: a loss in nats, divided by ln 2 and
by the mean number of bytes that a validation token stands for.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixwright.arrays import FloatArray
from mixwright.corpus.store import TokenStore
from mixwright.proxies import ProxyModel
from workers.model import Parameters, losses

_ENTRIES_AT_ONCE = 1 << 22  # logits


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Mean losses (K, D domains) in nats per token, and their standard errors over windows."""

    losses: FloatArray
    standard_errors: FloatArray


def windows_of(tokens: np.ndarray, count: int, context: int) -> Tensor:
    """Return up to `count` evenly spaced windows of `tokens`, int64 (W, T + 1).

    Fewer where so many would overlap, but never fewer than two.
    """
    room = len(tokens) - context - 1
    count = max(2, min(count, len(tokens) // (context + 1)))
    first = np.linspace(0, room, count).round().astype(np.int64)
    return torch.from_numpy(tokens[first[:, None] + np.arange(context + 1)].astype(np.int64))


@torch.no_grad()
def evaluate(parameters: Parameters, model: ProxyModel, domains: list[Tensor]) -> Evaluation:
    """Return every slot's loss on the windows (W, T + 1) of each domain."""
    means, errors = [], []
    for windows in domains:
        per_window = _per_window(parameters, model, windows)
        means.append(per_window.mean(1))
        errors.append(per_window.std(1) / math.sqrt(per_window.shape[1]))
    return Evaluation(*(torch.stack(part, 1).cpu().numpy() for part in (means, errors)))


def _per_window(parameters: Parameters, model: ProxyModel, windows: Tensor) -> Tensor:
    embedding = parameters["embedding"]
    num_slots = len(embedding)
    at_once = max(1, _ENTRIES_AT_ONCE // (num_slots * model.context * model.vocabulary))
    return torch.cat(
        [
            losses(parameters, model, part.to(embedding.device).expand(num_slots, -1, -1))
            for part in torch.split(windows, at_once)
        ],
        1,
    ).double()


def named(
    evaluation: Evaluation, slot: int, store: TokenStore, domains: list[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return a slot's metrics and their standard errors, `loss/D` and `bits_per_byte/D`."""
    metrics: dict[str, float] = {}
    errors: dict[str, float] = {}
    for column, name in enumerate(domains):
        per_byte = store.validation_bytes_per_token(store.domains.index(name)) * math.log(2)
        loss = float(evaluation.losses[slot, column])
        error = float(evaluation.standard_errors[slot, column])
        metrics |= {f"loss/{name}": loss, f"bits_per_byte/{name}": loss / per_byte}
        errors |= {f"loss/{name}": error, f"bits_per_byte/{name}": error / per_byte}
    return metrics, errors
