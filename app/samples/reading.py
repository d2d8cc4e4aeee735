"""Reads bodies of scored documents: lines of JSON (also gzip or zstd), or Parquet."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from io import BufferedIOBase
from typing import Any

import numpy as np

from app.errors import InvalidRequestError
from app.samples.checking import DOMAIN, ID, LARGEST_PART, TOKENS, Part, Rows, Wrong, to_part
from app.samples.space import RatedSpace
from app.studies.definition import listed
from mixwright.arrays import FloatArray

NDJSON, PARQUET = "application/x-ndjson", "application/vnd.apache.parquet"
ENCODINGS = ("identity", "gzip", "zstd")
_BATCH = 8192  # rows
_LONGEST_LINE = 1 << 14  # bytes
_MOST_UNPACKED = 1 << 30  # bytes


def read_part(body: bytes, media_type: str, encoding: str, space: RatedSpace) -> Part:
    """Return the documents in a body.

    Args:
        body: of the request.
        media_type: `NDJSON` or `PARQUET`.
        encoding: one of `ENCODINGS`.
        space: whose domains and raters they have to be of.

    Raises:
        InvalidRequestError: it is not what it is said to be, or rows are wrong; names them.
    """
    wrong = Wrong()
    read = _read_parquet if media_type == PARQUET else _read_lines
    return to_part(space, read(_unpacked(body, encoding), space, wrong), wrong)


def _unpacked(body: bytes, encoding: str) -> BufferedIOBase:
    plain = io.BytesIO(body)
    if encoding == "gzip":
        return gzip.GzipFile(fileobj=plain)
    if encoding == "zstd":
        zstandard = _optional("zstandard")
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(plain))
    return plain


def _optional(module: str) -> Any:  # noqa: ANN401  - a module
    try:
        return __import__(module, fromlist=["*"])
    except ImportError as error:
        raise InvalidRequestError(
            f"this server cannot read that: it has no {module} (install mixwright[corpus] on it); "
            f"send {NDJSON}, plain or with gzip"
        ) from error


def _read_lines(file: BufferedIOBase, space: RatedSpace, wrong: Wrong) -> Iterator[Rows]:
    """Yield the rows of lines of JSON; a row's number is that of its line."""
    numbers, rows = [], []
    for number, line in _lines(file):
        row = _object_in(number, line, space, wrong)
        if row is not None:
            numbers.append(number)
            rows.append(row)
        if len(rows) == _BATCH:
            yield _rows_of(numbers, rows, space)
            numbers, rows = [], []
    if rows:
        yield _rows_of(numbers, rows, space)


def _lines(file: BufferedIOBase) -> Iterator[tuple[int, bytes]]:
    unreadable: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, *_zstd_errors())
    number = size = 0
    try:
        while line := file.readline(_LONGEST_LINE + 1):
            number, size = number + 1, size + len(line)
            if len(line) > _LONGEST_LINE or size > _MOST_UNPACKED:
                raise InvalidRequestError(
                    f"row {number} is longer than {_LONGEST_LINE:,} bytes, or all of them are more "
                    f"than {_MOST_UNPACKED:,}; send domain, tokens, id and scores alone, in parts"
                )
            if line.strip():
                yield number, line
    except unreadable as error:
        raise InvalidRequestError(
            f"the body is truncated or damaged after row {number}: {error}"
        ) from error


def _zstd_errors() -> tuple[type[Exception], ...]:
    try:
        from zstandard import ZstdError
    except ImportError:
        return ()
    return (ZstdError,)


def _object_in(number: int, line: bytes, space: RatedSpace, wrong: Wrong) -> dict[str, Any] | None:
    """Return a line's object if it has the columns that are needed and none else."""
    try:
        row = json.loads(line)
        if b"\\u" in line:
            json.dumps(row, ensure_ascii=False).encode()  # half a character cannot be told of
    except (ValueError, RecursionError) as error:
        wrong.add(number, None, f"not JSON: {error}")
        return None
    if not isinstance(row, dict):
        wrong.add(number, None, "not a JSON object")
        return None
    before = wrong.count
    for name in _needed(space):
        if name not in row:
            wrong.add(number, name, "missing")
    for name in row.keys() - {*_needed(space), ID}:
        wrong.add(number, name, _UNKNOWN.format(names=listed([*_needed(space), ID])))
    return row if wrong.count == before else None


_UNKNOWN = "there is no such column; there are {names}"


def _needed(space: RatedSpace) -> tuple[str, ...]:
    return (DOMAIN, TOKENS, *space.raters)


def _rows_of(numbers: list[int], rows: list[dict[str, Any]], space: RatedSpace) -> Rows:
    return Rows(
        numbers=np.array(numbers),
        domain=[row[DOMAIN] for row in rows],
        tokens=_numbers([row[TOKENS] for row in rows]),
        scores=[_numbers([row[rater] for row in rows]) for rater in space.raters],
        ids=[row.get(ID) for row in rows],
    )


def _numbers(values: Sequence[object]) -> FloatArray:
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: object) -> float:
    """Return a number as a double: one that is too large for it as infinity, text as NaN."""
    if type(value) not in (int, float):
        return np.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return np.inf


def _read_parquet(file: BufferedIOBase, space: RatedSpace, wrong: Wrong) -> Iterator[Rows]:
    """Yield the rows of Parquet, which are counted from 1."""
    pyarrow, parquet = _optional("pyarrow"), _optional("pyarrow.parquet")
    first = 1
    try:
        with parquet.ParquetFile(file, pre_buffer=False) as table:
            _check_table(table, space)
            for batch in table.iter_batches(batch_size=_BATCH * 8, use_threads=False):
                yield _rows_in(batch, first, space)
                first += len(batch)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InvalidRequestError(
            f"the Parquet file is truncated or damaged after row {first - 1}: {error}"
        ) from error


def _check_table(table: Any, space: RatedSpace) -> None:  # noqa: ANN401  - a ParquetFile
    """Refuse a file for its columns or its size, before it is read."""
    from pyarrow import types

    wrong, schema = Wrong(), table.schema_arrow
    for name in _needed(space):
        if name not in schema.names:
            wrong.add(1, name, "missing")
    for name, kind in zip(schema.names, schema.types, strict=True):
        if schema.names.count(name) > 1:
            wrong.add(1, name, "this column comes twice")
        elif name not in {*_needed(space), ID}:
            wrong.add(1, name, _UNKNOWN.format(names=listed([*_needed(space), ID])))
        elif name not in (DOMAIN, ID) and not (types.is_floating(kind) or types.is_integer(kind)):
            wrong.add(1, name, f"a column of {kind}; numbers are needed")
    wrong.refuse()
    groups = range(table.metadata.num_row_groups)
    size = sum(table.metadata.row_group(place).total_byte_size for place in groups)
    if table.metadata.num_rows > LARGEST_PART or size > _MOST_UNPACKED:
        raise InvalidRequestError(
            f"{table.metadata.num_rows:,} documents of {size:,} bytes in one body; at most "
            f"{LARGEST_PART:,} and {_MOST_UNPACKED:,} are taken: send a sample in several parts"
        )


def _rows_in(batch: Any, first: int, space: RatedSpace) -> Rows:  # noqa: ANN401  - a RecordBatch
    def numbers(name: str) -> FloatArray:
        column: FloatArray = batch.column(name).to_numpy(zero_copy_only=False)
        return column.astype(np.float64)

    return Rows(
        numbers=np.arange(first, first + len(batch)),
        domain=batch.column(DOMAIN).to_pylist(),
        tokens=numbers(TOKENS),
        scores=[numbers(rater) for rater in space.raters],
        ids=batch.column(ID).to_pylist() if ID in batch.schema.names else [None] * len(batch),
    )
