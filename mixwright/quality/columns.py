"""Columns of documents as texts, numbers and vectors. Needs the extra `corpus`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import MixwrightError
from mixwright.quality.shards import ShardError


class DocumentError(MixwrightError):
    """A document that cannot be used.

    Attributes:
        row: its place in the batch, from 0.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


@contextmanager
def rows_after(row: int, path: Path) -> Iterator[None]:
    """Name the shard and the row of a document of a batch that cannot be used.

    Raises:
        ShardError: instead of `DocumentError`; rows are counted from 1.
    """
    try:
        yield
    except DocumentError as error:
        raise ShardError(f"{path}, row {row + error.row + 1}: {error}") from error


def texts_of(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Return a column of n documents as text; whole numbers become their digits.

    Raises:
        DocumentError: a document has none, or they are of another type. Fractions and truth
            values are: what they are as text differs between programs.
    """
    column = batch.column(name)
    try:
        texts = _plain(column, name).cast(pa.large_string())
    except pa.ArrowException as error:
        raise DocumentError(f"the column '{name}' has no text: {error}", 0) from error
    _require_all(texts, name)
    return texts


def numbers_of(batch: pa.RecordBatch, name: str) -> FloatArray:
    """Return a column of n documents as doubles, `(n,)`.

    Raises:
        DocumentError: a number is missing or not finite.
    """
    try:
        column = batch.column(name).cast(pa.float64())
    except pa.ArrowException as error:
        raise DocumentError(f"the column '{name}' has no numbers: {error}", 0) from error
    numbers: FloatArray = column.fill_null(np.nan).to_numpy(zero_copy_only=False)
    require(np.isfinite(numbers), numbers, name, "rate the document again, or drop it")
    return numbers


def vectors_of(batch: pa.RecordBatch, name: str, length: int | None = None) -> FloatArray:
    """Return a column of lists of numbers as vectors of n documents, `(n, d)`.

    Raises:
        DocumentError: one is missing, empty, not finite, or of another length than the first, or
            `length`.
    """
    column = batch.column(name)
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise DocumentError(f"'{name}' is {column.type}, not a list of numbers", 0)
    _require_all(column, name)
    lengths = pc.list_value_length(column).to_numpy()
    expected = length or (int(lengths[0]) if len(lengths) else 0)
    if (lengths != expected).any():
        row = int(np.argmax(lengths != expected))
        raise DocumentError(f"'{name}' has {lengths[row]} numbers, others have {expected}", row)
    if len(lengths) and not expected:
        raise DocumentError(f"'{name}' has no numbers", 0)
    flat = _numbers_in(column.flatten(), name)
    vectors: FloatArray = flat.reshape(len(batch), expected)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise DocumentError(f"'{name}' has a number that is not finite", int(np.argmin(finite)))
    return vectors


def require(good: BoolArray, numbers: FloatArray, name: str, remedy: str) -> None:
    """Check that all numbers `(n,)` are good.

    Raises:
        DocumentError: names the first that is not.
    """
    if not good.all():
        row = int(np.argmin(good))
        raise DocumentError(f"'{name}' is {numbers[row]}; {remedy}", row)


def _plain(column: pa.Array, name: str) -> pa.Array:
    """Return a column of text, bytes or whole numbers."""
    types = pa.types
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    is_bytes = types.is_binary(kind) or types.is_large_binary(kind)
    if not (is_text or is_bytes or types.is_integer(kind) or types.is_null(kind)):
        raise DocumentError(f"'{name}' is {column.type}; text or whole numbers are needed", 0)
    return column


def _require_all(column: pa.Array, name: str) -> None:
    if column.null_count:
        raise DocumentError(f"there is no '{name}'", column.is_null().index(True).as_py())


def _numbers_in(lists: pa.Array, name: str) -> FloatArray:
    try:
        numbers: FloatArray = lists.cast(pa.float64()).fill_null(np.nan).to_numpy(False)
    except pa.ArrowException as error:
        raise DocumentError(f"'{name}' is no list of numbers: {error}", 0) from error
    return numbers
