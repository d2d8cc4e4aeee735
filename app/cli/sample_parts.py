"""Divides shards of scored documents into bodies that a server takes.

Every document is named: by its id, or where its shard has none by the shard's SHA-256 and its place
in it. So documents that are sent again count once, however they are divided.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # of the extra `corpus`
    import pyarrow as pa

PART = 200_000  # documents
_LARGEST_BODY = 12 * 2**20  # bytes; servers take 16 MiB


def parts_of(
    path: Path, raters: Mapping[str, str], id_column: str | None, domain: str, tokens: str
) -> Iterator[bytes]:
    """Yield a shard's documents as bodies of Parquet.

    Args:
        path: of the shard.
        raters: by rater, the column of its scores.
        id_column: of ids; None takes `id`, where there is such a column.
        domain: column of domains.
        tokens: column of tokens.

    Raises:
        ShardError: it lacks columns, or is broken.
    """
    import pyarrow as pa

    from mixwright.quality.columns import rows_after, texts_of
    from mixwright.quality.shards import Fields, format_of

    ids = id_column or ("id" if _has_ids(path) else None)
    fields = Fields(
        texts=(domain,) if ids is None else (ids, domain),
        numbers=(tokens, *raters.values()),
        raters={column: rater for rater, column in raters.items()},
    )
    numbers = {"tokens": tokens, **raters}
    prefix, first, waiting = "" if ids else _digest(path), 0, list[pa.RecordBatch]()
    for batch in format_of(path).read(path, fields):
        with rows_after(first, path):
            names = texts_of(batch, ids) if ids else _places(prefix, first, len(batch))
            arrays = {"id": names, "domain": texts_of(batch, domain)}
        arrays |= {name: batch.column(column) for name, column in numbers.items()}
        waiting.append(pa.RecordBatch.from_pydict(arrays))
        first += len(batch)
        if sum(len(one) for one in waiting) >= PART:
            yield from _bodies(pa.Table.from_batches(waiting))
            waiting = []
    if any(len(one) for one in waiting):
        yield from _bodies(pa.Table.from_batches(waiting))


def _has_ids(path: Path) -> bool:
    from mixwright.quality.shards import BrokenShardError, Fields, ShardError, format_of

    try:
        list(islice(format_of(path).read(path, Fields(texts=("id",))), 2))
    except BrokenShardError:
        raise
    except ShardError:
        return False
    return True


def _places(prefix: str, first: int, count: int) -> "pa.Array":
    import pyarrow as pa

    return pa.array([f"{prefix}:{row}" for row in range(first, first + count)], pa.string())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bodies(table: "pa.Table") -> Iterator[bytes]:
    """Yield a table as Parquet, in halves where it is too large for a body."""
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd")
    if file.tell() <= _LARGEST_BODY or len(table) < 2:
        yield file.getvalue()
        return
    half = len(table) // 2
    yield from _bodies(table.slice(0, half))
    yield from _bodies(table.slice(half))
