"""Reads and writes shards of scored documents: Parquet and JSON lines.

A shard is read as record batches of bounded size and written with fixed settings, so that the same
documents make the same bytes (with the same version of PyArrow). Needs the extra `corpus`.
"""

import glob
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from mixwright.errors import MixwrightError

_BATCH_ROWS, _BATCH_BYTES = 1 << 14, 1 << 24
_GROUP_ROWS, _GROUP_BYTES = 1 << 17, 1 << 25  # of a Parquet row group that is written
_READ_BYTES = 1 << 20
_SETTINGS: Final = {"version": "2.6", "compression": "zstd", "compression_level": 3}
_LINE = "<line>"  # the column that keeps a line of JSON as it was
_NO_VALUE = (pa.ArrowException, TypeError, ValueError, OverflowError)
_CODECS = {".gz": "gzip", ".zst": "zstd"}

Write = Callable[[pa.RecordBatch], None]


class ShardError(MixwrightError):
    """A shard that cannot be used; says which file, which row and what to do."""


class BrokenShardError(ShardError):
    """A shard that is truncated or damaged."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What is read of a document, and what is added to it. Everything else is kept.

    Attributes:
        texts: columns of text; whole numbers become their digits.
        numbers: columns of numbers.
        vectors: columns of lists of numbers.
        added: columns that are written besides.
        raters: by column, the rater whose scores are to be in it.
    """

    texts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    raters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._refuse_added_in(self.read, "what is read")

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (*self.texts, *self.numbers, *self.vectors)

    def require(self, names: list[str], where: str) -> None:
        """Return if `names` has all columns that are read and none that is added.

        Raises:
            ShardError: names the columns.
        """
        if twice := sorted({name for name in self.read if names.count(name) > 1}):
            raise ShardError(f"{where} has two columns {', '.join(twice)}; rename one")
        if missing := sorted(set(self.read).difference(names)):
            scores = [self.raters[column] for column in missing if column in self.raters]
            raise ShardError(
                f"{where} has no column {', '.join(missing)}; it has {', '.join(names)}. Name its "
                "columns, or"
                + (f" score it with {', '.join(scores)}" if scores else " add what is missing")
            )
        self._refuse_added_in(names, where)

    def _refuse_added_in(self, names: Collection[str], where: str) -> None:
        if there := [name for name in self.added if name in names]:
            raise ShardError(
                f"{where} has a column {', '.join(there)} already; name another for what is added"
            )


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a document's facts lie that a sampling function needs.

    Attributes:
        raters: per rater of a sampling function, the column of its scores.
        id: column of the document's id, text or integers; what its copies are decided by.
        domain: column of the domain's name.
        tokens: column of the document's tokens.
        copies: column to write numbers of copies to; None writes every copy as a row.

    Raises:
        ShardError: copies would be written over what is read.
    """

    raters: Mapping[str, str]
    id: str = "id"
    domain: str = "domain"
    tokens: str = "tokens"
    copies: str | None = None

    def __post_init__(self) -> None:
        _ = self.fields

    @property
    def fields(self) -> Fields:
        """What is read and added."""
        return Fields(
            texts=(self.id, self.domain),
            numbers=(self.tokens, *self.raters.values()),
            added=() if self.copies is None else (self.copies,),
            raters={column: rater for rater, column in self.raters.items()},
        )


class Format(Protocol):
    """A kind of file that documents are read from and written to."""

    def read(self, path: Path, fields: Fields) -> Iterator[pa.RecordBatch]:
        """Yield a shard's documents in their order: one batch at least, be it empty.

        Raises:
            BrokenShardError: the file is truncated or damaged.
            ShardError: it lacks columns.
        """

    def write(self, file: IO[bytes], fields: Fields) -> AbstractContextManager[Write]:
        """Return a context that yields what writes batches of one schema."""


def find_shards(patterns: Sequence[str]) -> list[Path]:
    """Return the files that the globs match, sorted.

    Raises:
        ShardError: they match none, one of no known format, or two of the same name.
    """
    found = {Path(name) for pattern in patterns for name in glob.glob(pattern, recursive=True)}
    paths = sorted(path for path in found if path.is_file())
    if not paths:
        raise ShardError(f"no file matches {', '.join(patterns)}")
    by_name: dict[str, Path] = {}
    for path in paths:
        format_of(path)
        if (other := by_name.setdefault(output_name(path), path)) != path:
            raise ShardError(
                f"{other} and {path} would be written to the same file; write them to two folders"
            )
    return paths


def format_of(path: Path) -> Format:
    """Return the format that a file's name tells.

    Raises:
        ShardError: none.
    """
    name = path.name.lower()
    if name.endswith(".parquet"):
        return ParquetFormat()
    if name.endswith((".jsonl", ".jsonl.gz", ".jsonl.zst")):
        return JsonLines(_CODECS.get(Path(name).suffix))
    if name.endswith(".npy"):
        return Vectors()
    raise ShardError(f"{path} is neither .parquet nor .jsonl, .jsonl.gz or .jsonl.zst")


def output_name(path: Path) -> str:
    """Return the name of what becomes of a shard: its own, but of vectors alone a Parquet file."""
    return f"{path.stem}.parquet" if path.suffix.lower() == ".npy" else path.name


class ParquetFormat:
    """Parquet, written in groups of up to 131,072 rows or 32 MB, with zstd."""

    def read(self, path: Path, fields: Fields) -> Iterator[pa.RecordBatch]:
        """Yield batches of up to 16,384 rows and about 16 MB."""
        try:
            with parquet.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False) as file:
                fields.require(file.schema_arrow.names, str(path))
                rows = _rows_of_batch(file.metadata)
                yield pa.RecordBatch.from_pylist([], file.schema_arrow)  # its schema, if no more
                yield from file.iter_batches(batch_size=rows, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise BrokenShardError(f"{path} cannot be read: {error}") from error

    @contextmanager
    def write(self, file: IO[bytes], fields: Fields) -> Iterator[Write]:
        """Yield what writes batches, of which there has to be one at least."""
        groups = _RowGroups(file)
        try:
            yield groups.write
            groups.flush()
        finally:
            groups.close()


@dataclass(frozen=True, slots=True)
class JsonLines:
    """One JSON object a line; what is chosen is written as it was, to the byte.

    Attributes:
        codec: what it is compressed with, None for plain text.
    """

    codec: str | None = None

    def read(self, path: Path, fields: Fields) -> Iterator[pa.RecordBatch]:
        """Yield batches of up to 16,384 lines and about 16 MB."""
        if self.codec and not path.stat().st_size:
            raise BrokenShardError(f"{path} cannot be read: it is empty, as no {self.codec} is")
        yield _parse([], 0, path, fields)
        number = 0
        try:
            with pa.OSFile(str(path)) as file, io.BufferedReader(self._unpack(file)) as lines:
                rows = (line for line in lines if line.strip())
                while chunk := _take(rows):
                    yield _parse(chunk, number, path, fields)
                    number += len(chunk)
        except OSError as error:
            raise BrokenShardError(f"{path} cannot be read: {error}") from error

    @contextmanager
    def write(self, file: IO[bytes], fields: Fields) -> Iterator[Write]:
        """Yield what writes the lines of batches."""

        def write(batch: pa.RecordBatch) -> None:
            lines = batch.column(_LINE).to_pylist()
            if fields.added:
                rows = batch.select(list(fields.added)).to_pylist()
                lines = [_with(line, row) for line, row in zip(lines, rows, strict=True)]
            sink.write(b"".join(line + b"\n" for line in lines))

        with pa.PythonFile(file, mode="w") as plain, self._pack(plain) as sink:
            yield write

    def _pack(self, file: pa.NativeFile) -> pa.NativeFile:
        return pa.CompressedOutputStream(file, self.codec) if self.codec else file

    def _unpack(self, file: pa.NativeFile) -> Any:  # noqa: ANN401  - a raw stream to Python
        return pa.CompressedInputStream(file, self.codec) if self.codec else file


class Vectors:
    """A NumPy array with a vector a row; ids are lines of `a.ids.txt` beside `a.npy`.

    What is written is Parquet with ids and what was added.
    """

    def read(self, path: Path, fields: Fields) -> Iterator[pa.RecordBatch]:
        """Yield batches of up to 16,384 rows."""
        if len(fields.vectors) != 1 or fields.texts or fields.numbers:
            raise ShardError(f"{path} has vectors alone; what is asked for needs more columns")
        vectors, ids = self._vectors(path), self._ids(path)
        if len(ids) != len(vectors):
            raise ShardError(f"{path} has {len(vectors)} rows, and {len(ids)} ids beside it")
        for start in range(0, max(1, len(vectors)), _BATCH_ROWS):
            part = slice(start, start + _BATCH_ROWS)
            flat = pa.array(np.asarray(vectors[part], dtype=np.float32).ravel())
            lists = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
            yield pa.RecordBatch.from_pydict({"id": pa.array(ids[part]), fields.vectors[0]: lists})

    @contextmanager
    def write(self, file: IO[bytes], fields: Fields) -> Iterator[Write]:
        """Yield what writes ids and added columns."""
        with ParquetFormat().write(file, fields) as write:
            yield lambda batch: write(batch.select(["id", *fields.added]))

    def _vectors(self, path: Path) -> np.ndarray[Any, Any]:
        try:
            vectors: np.ndarray[Any, Any] = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise BrokenShardError(f"{path} cannot be read: {error}") from error
        if vectors.ndim != 2 or not vectors.shape[1] or vectors.dtype.kind not in "fiu":
            raise ShardError(f"{path} has shape {vectors.shape} of {vectors.dtype}; a row a vector")
        return vectors

    def _ids(self, path: Path) -> list[str]:
        beside = path.with_suffix(".ids.txt")
        try:
            return beside.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ShardError(f"the ids of {path} cannot be read, one a line: {error}") from error


class _RowGroups:
    """Collects batches of one schema into row groups."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        self._writer: parquet.ParquetWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._rows += len(batch)
        self._bytes += batch.nbytes
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting)
            if self._writer is None:
                self._writer = parquet.ParquetWriter(self._file, table.schema, **_SETTINGS)
            self._writer.write_table(table, row_group_size=max(1, len(table)))
            self._waiting, self._rows, self._bytes = [], 0, 0

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _rows_of_batch(metadata: parquet.FileMetaData) -> int:
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    bytes_per_row = max(1, size // max(1, metadata.num_rows))
    return int(min(max(_BATCH_BYTES // bytes_per_row, 1), _BATCH_ROWS))


def _take(lines: Iterator[bytes]) -> list[bytes]:
    chunk, size = [], 0
    for line in islice(lines, _BATCH_ROWS):
        chunk.append(line)
        size += len(line)
        if size >= _BATCH_BYTES:
            break
    return chunk


def _parse(lines: list[bytes], before: int, path: Path, fields: Fields) -> pa.RecordBatch:
    """Return a batch of what is read of lines, and the lines.

    Raises:
        BrokenShardError: a line is not a JSON object.
        ShardError: a line lacks a field, or has one of another type.
    """
    rows = []
    for number, line in enumerate(lines, before + 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BrokenShardError(f"{path}, row {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise BrokenShardError(f"{path}, row {number} is not a JSON object")
        fields.require(list(row), f"{path}, row {number}")
        rows.append(row)
    types = dict.fromkeys(fields.texts, pa.string()) | dict.fromkeys(fields.numbers, pa.float64())
    types |= dict.fromkeys(fields.vectors, pa.list_(pa.float32()))
    arrays = {name: _column(rows, name, kind, before, path) for name, kind in types.items()}
    kept = pa.array([line.rstrip(b"\r\n") for line in lines], pa.large_binary())
    return pa.RecordBatch.from_pydict({**arrays, _LINE: kept})


def _column(
    rows: list[dict[str, Any]], name: str, kind: pa.DataType, before: int, path: Path
) -> pa.Array:
    values = [_digits(row[name]) if pa.types.is_string(kind) else row[name] for row in rows]
    try:
        return pa.array(values, kind)
    except _NO_VALUE:
        for number, value in enumerate(values, before + 1):
            try:
                pa.array([value], kind)
            except _NO_VALUE as error:
                where = f"{path}, row {number}"
                raise ShardError(f"{where}: '{name}' cannot be used: {error}") from error
        raise


def _digits(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _with(line: bytes, added: Mapping[str, Any]) -> bytes:
    """Add fields to the end of a JSON object."""
    start = line.rstrip()[:-1].rstrip()
    return start + (b"" if start == b"{" else b", ") + json.dumps(added)[1:].encode()
