"""Reads a sample of scored documents from files, for planners that split them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.cli.terminal import Tell
from mixwright.errors import InvalidInputError

if TYPE_CHECKING:  # PyArrow is of the extra `corpus`
    import pyarrow as pa

MOST_DOCUMENTS = 200_000


def read_sample(
    patterns: Sequence[str],
    domain: str,
    tokens: str,
    columns: Sequence[str],
    seed: int,
    tell: Tell,
) -> tuple[dict[str, Any], int]:
    """Return a sample of documents as a schedule takes it, and how many had no number.

    Every document is as likely as any other to be in it: the ones with the smallest of random
    numbers are kept.

    Args:
        patterns: globs of Parquet or JSON lines.
        domain: column of the domain.
        tokens: column of the count of tokens.
        columns: to take; none takes every column of numbers.
        seed: of the sample.
        tell: is told of progress.

    Raises:
        InvalidInputError: a column is not there, or no document is left.
        ShardError: no file matches, or one is damaged.
    """
    from mixwright.quality.shards import Fields, find_shards, format_of

    paths, rng = find_shards(patterns), np.random.default_rng(seed)
    wanted = Fields(texts=(domain,), numbers=(tokens, *columns))
    sizes = np.cumsum([path.stat().st_size for path in paths], dtype=float)
    kept: pa.Table | None = None
    left_out = 0
    for path, size in zip(paths, sizes, strict=True):
        for batch in format_of(path).read(path, wanted):
            found, lost = _numbers(batch, domain, tokens, columns, path)
            kept, left_out = _smallest(kept, found, rng), left_out + lost
        tell(float(size / sizes[-1]))
    if kept is None or not kept.num_rows:
        raise InvalidInputError("no document has a number in every column", "documents")
    names = [name for name in kept.column_names if name not in (_DRAW, domain, tokens)]
    return {
        "domain": kept[domain].to_pylist(),
        "tokens": kept[tokens].to_pylist(),
        "columns": {name: kept[name].to_pylist() for name in names},
    }, left_out


_DRAW = "<draw>"


def _numbers(
    batch: "pa.RecordBatch", domain: str, tokens: str, columns: Sequence[str], path: Path
) -> tuple["pa.Table", int]:
    """Return a batch's documents with finite numbers, as doubles, and how many have none."""
    import pyarrow as pa

    names = [*columns] or [*_number_columns(batch, {domain, tokens})]
    if not names:
        raise InvalidInputError(
            f"{path} does not tell its columns of numbers; name them with --column", "documents"
        )
    table = pa.table(
        {
            domain: batch.column(domain).cast(pa.string()),
            **{name: batch.column(name).cast(pa.float64()) for name in (tokens, *names)},
        }
    )
    values = np.array([table[name].to_numpy() for name in (tokens, *names)])
    finite = np.isfinite(values).all(axis=0) & (values[0] > 0)
    return table.filter(pa.array(finite)), int((~finite).sum())


def _number_columns(batch: "pa.RecordBatch", besides: set[str]) -> Iterator[str]:
    import pyarrow as pa

    for field in batch.schema:
        is_number = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
        if is_number and field.name not in besides:
            yield field.name


def _smallest(kept: "pa.Table | None", found: "pa.Table", rng: np.random.Generator) -> "pa.Table":
    """Return the documents with the smallest draws of both tables, in the order they came."""
    import pyarrow as pa

    found = found.append_column(_DRAW, pa.array(rng.random(found.num_rows)))
    both = found if kept is None else pa.concat_tables([kept, found.select(kept.column_names)])
    if both.num_rows <= MOST_DOCUMENTS:
        return both
    chosen = np.argpartition(both[_DRAW].to_numpy(), MOST_DOCUMENTS)[:MOST_DOCUMENTS]
    return both.take(pa.array(np.sort(chosen)))
