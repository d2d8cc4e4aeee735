"""Reads documents that people have labelled, from shards."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mixwright.quality.rewriting import DocumentError
from mixwright.quality.shards import Fields, ShardError, format_of
from mixwright.scoring.shards import numbers_of, texts_of


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
            try:
                labels = numbers_of(batch, [label_column])[:, 0]
                texts = texts_of(batch, text_column)
            except DocumentError as error:
                raise ShardError(f"{path}, row {row + error.row + 1}: {error}") from error
            if other := sorted(set(labels) - {0.0, 1.0}):
                raise ShardError(
                    f"{path} has labels {other[:3]} in '{label_column}'; 0 or 1 is one"
                )
            yield from zip(texts, (labels == 1).tolist(), strict=True)
            row += len(batch)
