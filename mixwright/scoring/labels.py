"""Reads documents that people have labelled, from shards."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mixwright.quality.columns import numbers_of, require, rows_after, texts_of
from mixwright.quality.shards import Fields, format_of


def read_labelled(
    paths: Sequence[Path], text_column: str, label_column: str
) -> Iterator[tuple[str, bool]]:
    """Yield texts, and whether each is good: its label is true, or 1, and not false, or 0.

    Raises:
        ShardError: a shard cannot be used, or a label is something else.
    """
    fields = Fields(texts=(text_column,), numbers=(label_column,))
    for path in paths:
        row = 0
        for batch in format_of(path).read(path, fields):
            with rows_after(row, path):
                labels = numbers_of(batch, label_column)
                require(np.isin(labels, (0, 1)), labels, label_column, "a label is 0 or 1")
                texts = texts_of(batch, text_column).to_pylist()
            yield from zip(texts, (labels == 1).tolist(), strict=True)
            row += len(batch)
