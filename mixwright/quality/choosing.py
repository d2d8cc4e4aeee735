"""Chooses documents, a batch at a time, as a sampling function tells.

Whether a document is chosen depends on its id, its domain, its scores and the seed alone. So the
choice is the same on any machine, in any order of shards, after any restart. Needs the extra
`corpus`; `mixwright_client.sampling` chooses the same without it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mixwright.arrays import FloatArray, IntArray
from mixwright.quality.columns import DocumentError, numbers_of, require, texts_of
from mixwright.quality.function import SamplingFunction, round_copies
from mixwright.quality.shards import Columns, Fields
from mixwright.quality.uniforms import uniforms_of

TALLIES = (
    "documents",
    "tokens",
    "expected_tokens",
    "variance",  # of the tokens, about those expected
    "copies",
    "realised_tokens",
)


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

    @property
    def made_of(self) -> dict[str, Any]:
        """All that a choice depends on besides the documents."""
        return {"function": self.digest, "seed": self.seed, "columns": asdict(self.columns)}

    @property
    def fields(self) -> Fields:
        """What is read of a document and added to it."""
        return self.columns.fields

    def change(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, FloatArray]:
        """Return what `choose` does."""
        return self.choose(batch)

    def told(self, sums: FloatArray) -> dict[str, Any]:
        """Return tallies `(k, 6)` by domain and name."""
        return {"domains": tallies_by_name(self.function.domains, sums)}

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
        ids: list[str] = texts_of(batch, self.columns.id).to_pylist()
        return ids

    def _domains(self, batch: pa.RecordBatch) -> IntArray:
        names = texts_of(batch, self.columns.domain)
        places = pc.index_in(names, value_set=pa.array(self.function.domains, names.type))
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
        return np.stack([numbers_of(batch, name) for name in names], axis=1)

    def _tokens(self, batch: pa.RecordBatch) -> FloatArray:
        tokens = numbers_of(batch, self.columns.tokens)
        require(tokens >= 0, tokens, self.columns.tokens, "counts of tokens are not negative")
        return tokens


def tallies_by_name(domains: Sequence[str], sums: FloatArray) -> dict[str, dict[str, float]]:
    """Return `TALLIES` of every domain, `(k, 6)`, by the names of both."""
    rows = zip(domains, sums.tolist(), strict=True)
    return {name: dict(zip(TALLIES, row, strict=True)) for name, row in rows}


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
