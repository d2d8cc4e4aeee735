"""Chooses documents, a batch at a time, as a sampling function tells.

Whether a document is chosen depends on its id, its domain, its scores and the seed alone. So the
choice is the same on any machine, in any order of shards, after any restart. Needs the extra
`corpus`.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixwright.arrays import FloatArray, IntArray
from mixwright.errors import MixwrightError
from mixwright.quality.function import SamplingFunction, round_copies
from mixwright.quality.shards import Columns
from mixwright.quality.uniforms import uniforms_of

TALLIES = (
    "documents",
    "tokens",
    "expected_tokens",
    "variance",  # of the tokens, about those expected
    "copies",
    "realised_tokens",
)


class DocumentError(MixwrightError):
    """A document that cannot be sampled.

    Attributes:
        row: its place in the batch, from 0.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampling function, and all else that a choice depends on.

    Attributes:
        function: of k domains and r raters.
        columns: where documents have their facts.
        seed: of the uniform numbers, 0 to 2^64 - 1.
        digest: the SHA-256 of the function.
    """

    function: SamplingFunction
    columns: Columns
    seed: int = 0
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        text = self.function.to_json().encode()
        object.__setattr__(self, "digest", hashlib.sha256(text).hexdigest())

    def choose(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, FloatArray]:
        """Return the chosen documents of a batch, and its `TALLIES` by domain, `(k, 6)`.

        Raises:
            DocumentError: a document without id, of an unknown domain, or without finite scores
                or a count of tokens.
        """
        domains, tokens = self._domains(batch), self._tokens(batch)
        expected = self.function.expected_copies(domains, self._scores(batch))
        copies = round_copies(expected, uniforms_of(self._ids(batch), self.seed))
        parts = _tallies(tokens, expected, copies)
        k = len(self.function.domains)
        tallies = [np.bincount(domains, weights=part, minlength=k) for part in parts]
        return self._taken(batch, copies), np.stack(tallies, axis=1)

    def _taken(self, batch: pa.RecordBatch, copies: IntArray) -> pa.RecordBatch:
        if self.columns.copies is None:
            return batch.take(pa.array(np.repeat(np.arange(len(copies)), copies)))
        numbers = pa.array(copies, pa.int64()).cast(pa.int8())  # three at most
        return batch.append_column(self.columns.copies, numbers).filter(pa.array(copies > 0))

    def _ids(self, batch: pa.RecordBatch) -> list[str]:
        ids: list[str] = _text(batch, self.columns.id).to_pylist()
        return ids

    def _domains(self, batch: pa.RecordBatch) -> IntArray:
        names = _text(batch, self.columns.domain)
        places = pc.index_in(names, value_set=pa.array(self.function.domains))
        if places.null_count:
            row = places.is_null().index(True).as_py()
            raise DocumentError(
                f"the sampling function knows no domain '{names[row]}'; it knows "
                f"{', '.join(self.function.domains)}",
                row,
            )
        return places.to_numpy().astype(np.int64)  # type: ignore[no-any-return]

    def _scores(self, batch: pa.RecordBatch) -> FloatArray:
        names = [self.columns.raters[rater] for rater in self.function.rater_names]
        return np.stack([_numbers(batch, name) for name in names], axis=1)

    def _tokens(self, batch: pa.RecordBatch) -> FloatArray:
        tokens = _numbers(batch, self.columns.tokens)
        _require(tokens >= 0, tokens, self.columns.tokens, "counts of tokens are not negative")
        return tokens


def choose_from_batches(
    sampler: Sampler, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield the chosen documents of every batch: what Spark's `mapInArrow` takes.

    Raises:
        DocumentError: see `Sampler.choose`.
    """
    for batch in batches:
        yield sampler.choose(batch)[0]


def choose_from_frames(sampler: Sampler, frames: Iterable[Any]) -> Iterator[Any]:
    """Yield the chosen documents of every pandas frame: what Spark's `mapInPandas` takes.

    Raises:
        DocumentError: see `Sampler.choose`.
    """
    batches = (pa.RecordBatch.from_pandas(frame, preserve_index=False) for frame in frames)
    for batch in choose_from_batches(sampler, batches):
        yield batch.to_pandas()


def _tallies(tokens: FloatArray, expected: FloatArray, copies: IntArray) -> tuple[Any, ...]:
    """Return what documents add to `TALLIES`, in their order."""
    fraction = expected - np.floor(expected)
    return (
        np.ones(len(tokens)),
        tokens,
        tokens * expected,
        tokens**2 * fraction * (1 - fraction),
        copies,
        tokens * copies,
    )


def _text(batch: pa.RecordBatch, name: str) -> pa.Array:
    column = batch.column(name).cast(pa.string())
    if column.null_count:
        raise DocumentError(f"there is no '{name}'", column.is_null().index(True).as_py())
    return column


def _numbers(batch: pa.RecordBatch, name: str) -> FloatArray:
    try:
        column = batch.column(name).cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DocumentError(f"the column '{name}' has no numbers: {error}", 0) from error
    numbers: FloatArray = column.fill_null(np.nan).to_numpy(zero_copy_only=False)
    _require(np.isfinite(numbers), numbers, name, "rate the document again, or drop it")
    return numbers


def _require(good: Any, numbers: FloatArray, name: str, remedy: str) -> None:  # noqa: ANN401
    if not good.all():
        row = int(np.argmin(good))
        raise DocumentError(f"'{name}' is {numbers[row]}; {remedy}", row)
