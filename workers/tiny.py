"""Trains many tiny byte-level language models at once, one per mixture, on a processor.

The model predicts a byte from the `CONTEXT` bytes before it: embeddings, one hidden layer, a
softmax (Bengio et al., "A Neural Probabilistic Language Model", JMLR 2003, without its direct
connections). All proxies of a call are trained in one batched matrix product per layer. They
share initial weights and the order of their random draws, so that proxies differ by their mixture
alone (common random numbers), unless their seeds differ.

As a program it reads an order and writes results, both JSON:
    echo '{"mixtures": [[...], ...], "seeds": [0, ...], "steps": 200}' | python -m workers.tiny
"""

import json
import sys
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from workers.python_text import read_domains

# Shapes: P proxies, B bytes of a batch, C context, E embedding, H hidden, V = 256 bytes.
CONTEXT, EMBEDDING, HIDDEN, VOCABULARY = 12, 16, 96, 256
BATCH = 256
VALIDATION_BYTES = 2048
PEAK_LEARNING_RATE = 4e-3


def parameters_per_proxy() -> int:
    """Return the number of weights of one proxy."""
    return VOCABULARY * EMBEDDING + (CONTEXT * EMBEDDING + 1) * HIDDEN + (HIDDEN + 1) * VOCABULARY


def initialise(seeds: list[int]) -> list[Tensor]:
    """Return the stacked weights of one proxy per seed."""
    stacked = []
    for seed in seeds:
        draw = torch.Generator().manual_seed(seed)
        stacked.append(
            [
                torch.randn(VOCABULARY, EMBEDDING, generator=draw) * 0.3,
                torch.randn(CONTEXT * EMBEDDING, HIDDEN, generator=draw) / 14,
                torch.zeros(1, HIDDEN),
                torch.randn(HIDDEN, VOCABULARY, generator=draw) / 20,
                torch.zeros(1, VOCABULARY),
            ]
        )
    return [torch.stack(list(part)).requires_grad_() for part in zip(*stacked, strict=True)]


def logits(weights: list[Tensor], contexts: Tensor) -> Tensor:
    """Return the (P, B, V) scores of the byte that follows `contexts`, (P, B, C)."""
    embedding, inner, inner_bias, outer, outer_bias = weights
    num_proxies, batch, _ = contexts.shape
    # All tables as one, each proxy's rows behind an offset: one gather, one scatter back.
    offsets = torch.arange(num_proxies)[:, None, None] * VOCABULARY
    embedded = functional.embedding(contexts + offsets, embedding.flatten(0, 1))
    inputs = embedded.view(num_proxies, batch, -1)  # (P, B, C E)
    hidden = torch.tanh(torch.baddbmm(inner_bias, inputs, inner))  # (P, B, H)
    return torch.baddbmm(outer_bias, hidden, outer)


def loss(weights: list[Tensor], windows: Tensor) -> Tensor:
    """Return each proxy's mean loss (P,), nats per byte, on `windows` (P, B, C + 1)."""
    scores = logits(weights, windows[..., :-1])
    targets = windows[..., -1]
    nats = functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="none")
    return nats.view(targets.shape).mean(1)


class Sampler:
    """Draws windows of the training text; a pure function of (seed, step)."""

    def __init__(self, texts: list[np.ndarray], mixtures: np.ndarray, seeds: list[int]) -> None:
        self._text = np.concatenate(texts)
        self._lengths = np.array([len(text) for text in texts])
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)[:-1]])
        self._edges = np.cumsum(mixtures, axis=1)[:, None, :-1]  # (P, 1, K - 1)
        self._seeds = seeds

    def draw(self, step: int) -> Tensor:
        """Return windows (P, B, C + 1)."""
        uniforms = np.stack(
            [np.random.default_rng((seed, step)).random((2, BATCH)) for seed in self._seeds]
        )  # (P, 2, B)
        domain = (uniforms[:, 0, :, None] >= self._edges).sum(-1)  # (P, B)
        offset = (uniforms[:, 1] * (self._lengths[domain] - CONTEXT - 1)).astype(np.int64)
        first = self._starts[domain] + offset
        return torch.from_numpy(self._text[first[..., None] + np.arange(CONTEXT + 1)])


def split(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return training and validation bytes: every tenth block of 4 KiB validates."""
    data = np.frombuffer(text, dtype=np.uint8).astype(np.int64)
    is_validation = (np.arange(len(data)) // 4096) % 10 == 9
    return data[~is_validation], data[is_validation]


def train(
    mixtures: np.ndarray,
    seeds: list[int],
    steps: int,
    texts: dict[str, bytes],
    progress: Callable[[int], None],
) -> np.ndarray:
    """Train a proxy per mixture; return validation losses (P, K), nats per byte.

    Args:
        mixtures: shape `(P, K)`, shares of the domains in the order of `texts`.
        seeds: one per proxy, for initial weights and draws.
        steps: optimiser steps of `BATCH` bytes each.
        texts: the text of each domain.
        progress: called with the number of steps done.
    """
    parts = [split(text) for text in texts.values()]
    sampler = Sampler([train for train, _ in parts], mixtures, seeds)
    weights = initialise(seeds)
    optimiser = torch.optim.AdamW(weights, lr=PEAK_LEARNING_RATE, weight_decay=0.0, fused=True)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = PEAK_LEARNING_RATE * min(1.0, (step + 1) / 20, 2 * (1 - step / steps))
        optimiser.zero_grad()
        loss(weights, sampler.draw(step)).sum().backward()  # type: ignore[no-untyped-call]  # torch's
        optimiser.step()
        progress(step + 1)
    return evaluate(weights, [validation for _, validation in parts])


@torch.no_grad()
def evaluate(weights: list[Tensor], validations: list[np.ndarray]) -> np.ndarray:
    """Return every proxy's loss (P, K) on the same evenly spaced windows of each domain."""
    num_proxies = weights[0].shape[0]
    losses = []
    for text in validations:
        first = np.linspace(0, len(text) - CONTEXT - 1, VALIDATION_BYTES).astype(np.int64)
        windows = torch.from_numpy(text[first[:, None] + np.arange(CONTEXT + 1)])
        chunks = [
            loss(weights, chunk.expand(num_proxies, -1, -1)) for chunk in torch.split(windows, 256)
        ]
        losses.append(torch.stack(chunks).mean(0))
    return torch.stack(losses, dim=1).numpy().astype(np.float64)


def main() -> None:
    """Read an order from standard input; write a line per finished step, then the losses."""
    order = json.load(sys.stdin)
    texts = read_domains()

    def report(step: int) -> None:
        sys.stdout.write(json.dumps({"step": step}) + "\n")
        sys.stdout.flush()

    if order.get("describe"):
        answer: dict[str, object] = {
            "domains": {name: len(text) for name, text in texts.items()},
            "parameters": parameters_per_proxy(),
            "bytes_per_step": BATCH,
        }
    else:
        losses = train(np.array(order["mixtures"]), order["seeds"], order["steps"], texts, report)
        answer = {"losses": losses.tolist()}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
