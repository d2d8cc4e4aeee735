"""Perplexities of documents by proxies that were kept.

A document is read as training saw it: after the end of another, in windows of the model's context
that follow one another, to its own end. Its perplexity is exp of the mean loss over all its tokens.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from mixwright.arrays import FloatArray, IntArray
from mixwright.corpus.store import Tokens
from workers.keeping import Kept
from workers.model import token_losses

_ENTRIES_AT_ONCE = 1 << 24  # logits


def perplexities(kept: Kept, documents: Sequence[str]) -> FloatArray:
    """Return the perplexity of every document, `(n,)`; that of an empty one is of its end."""
    return token_perplexities(kept, [kept.tokenizer.encode(text) for text in documents])


def token_perplexities(kept: Kept, documents: Sequence[Tokens]) -> FloatArray:
    """Return the perplexity of documents that are tokens, each with its end, `(n,)`."""
    context = kept.model.context
    at_once = max(1, _ENTRIES_AT_ONCE // (context * kept.model.vocabulary))
    sums = np.zeros(len(documents))
    for rows, lengths, owners in _windows(documents, context, at_once):
        losses = _losses(kept, rows)
        losses[np.arange(context) >= lengths[:, None]] = 0.0
        np.add.at(sums, owners, losses.sum(1))
    counts = np.array([len(document) for document in documents], dtype=np.float64)
    found: FloatArray = np.exp(sums / counts)
    return found


@torch.no_grad()
def _losses(kept: Kept, rows: IntArray) -> FloatArray:
    """Return the loss of every token after the first of windows `(n, T + 1)`, `(n, T)`."""
    device = next(iter(kept.parameters.values())).device
    windows = torch.from_numpy(rows).to(device)[None]
    found: FloatArray = token_losses(kept.parameters, kept.model, windows)[0].double().cpu().numpy()
    return found


def _windows(
    documents: Sequence[Tokens], context: int, at_once: int
) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """Yield windows `(n, T + 1)`, how many targets each has, and whose document each is."""
    rows, lengths, owners = list[IntArray](), list[int](), list[int]()
    for owner, document in enumerate(documents):
        stream = np.concatenate([document[-1:], document]).astype(np.int64)
        for start in range(0, len(document), context):
            window = stream[start : start + context + 1]
            rows.append(np.pad(window, (0, context + 1 - len(window))))
            lengths.append(len(window) - 1)
            owners.append(owner)
            if len(rows) == at_once:
                yield np.stack(rows), np.array(lengths), np.array(owners)
                rows, lengths, owners = [], [], []
    if rows:
        yield np.stack(rows), np.array(lengths), np.array(owners)
