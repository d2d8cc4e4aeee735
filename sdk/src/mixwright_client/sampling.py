"""Chooses documents in data frames and record batches, as executors of Spark hold them.

```python
choose = Chooser(SamplingFunction.from_json(text), seed=0)
documents.mapInPandas(choose.frames, documents.schema)
documents.mapInArrow(choose.batches, documents.schema)
```

A document's copies depend on its id, domain and scores and the seed alone: the choice is that of
`mixwright sample apply`. Importing this imports NumPy only; PyArrow or pandas come with the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mixwright_client.sampling_function import (
    Floats,
    Places,
    SamplingError,
    SamplingFunction,
    round_copies,
    uniforms_of,
)

__all__ = ["Chooser", "SamplingError", "SamplingFunction"]


@dataclass(frozen=True)
class Chooser:
    """A sampling function, and where documents have their facts.

    Attributes:
        function: of k domains and r raters.
        seed: of the choice, 0 to 2^64 - 1.
        id_column: of a document's id, text or whole numbers.
        domain_column: of its domain's name.
        score_columns: by rater, where a rater's column is not named like it.
        copies_column: of numbers of copies (8-bit integers), which is added; None repeats rows.

    Raises:
        SamplingError: `score_columns` names no rater of the function.
    """

    function: SamplingFunction
    seed: int = 0
    id_column: str = "id"
    domain_column: str = "domain"
    score_columns: Mapping[str, str] = field(default_factory=dict)
    copies_column: str | None = None

    def __post_init__(self) -> None:
        raters = [one["name"] for one in self.function.raters]
        unknown = sorted(set(self.score_columns) - set(raters))
        if unknown:
            raise SamplingError(f"there is no rater {unknown[0]}; there are {', '.join(raters)}")

    def frames(self, frames: Iterable[Any]) -> Iterator[Any]:
        """Yield the chosen rows of pandas frames; for `mapInPandas`.

        Raises:
            SamplingError: a column is not there, or a document without id, of an unknown domain, or
                without finite scores.
        """
        for frame in frames:
            copies = self._copies(_Columns(list(frame.columns), lambda name, f=frame: f[name]))
            kept = frame.iloc[self._rows(copies)]
            if self.copies_column is not None:
                kept = kept.assign(**{self.copies_column: copies[copies > 0].astype(np.int8)})
            yield kept

    def batches(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the chosen rows of Arrow's record batches; for `mapInArrow`.

        Raises:
            SamplingError: see `frames`.
        """
        import pyarrow as pa

        for batch in batches:
            columns = _Columns(batch.schema.names, lambda name, b=batch: _plain(b.column(name)))
            copies = self._copies(columns)
            kept = pa.Table.from_batches([batch]).take(pa.array(self._rows(copies)))
            if self.copies_column is not None:
                numbers = pa.array(copies[copies > 0].astype(np.int8))
                kept = kept.append_column(self.copies_column, numbers)
            yield from kept.combine_chunks().to_batches()

    def _rows(self, copies: Places) -> Places:
        if self.copies_column is not None:
            return np.flatnonzero(copies)
        return np.repeat(np.arange(len(copies)), copies)

    def _copies(self, columns: _Columns) -> Places:
        if self.copies_column in columns.names:
            raise SamplingError(f"there is a column {self.copies_column} already; name another")
        ids = columns.get(self.id_column).tolist()
        domains = self._places(columns.get(self.domain_column).tolist(), ids)
        names = [self.score_columns.get(one["name"], one["name"]) for one in self.function.raters]
        scores = [_finite(columns.get(name), name, ids) for name in names]
        expected = self.function.expected_copies(domains, np.stack(scores, axis=1))
        return round_copies(expected, uniforms_of(ids, self.seed))

    def _places(self, domains: Sequence[object], ids: Sequence[object]) -> Places:
        known: dict[object, int] = {name: i for i, name in enumerate(self.function.domains)}
        places = np.array([known.get(name, -1) for name in domains], dtype=np.int64)
        if (places < 0).any():
            row = int(np.argmax(places < 0))
            raise SamplingError(
                f"document {ids[row]!r} is of the domain {domains[row]!r}, which the sampling "
                f"function does not know; it knows {', '.join(self.function.domains)}"
            )
        return places


@dataclass(frozen=True)
class _Columns:
    names: Sequence[str]
    of: Any  # from a name to a column that NumPy understands

    def get(self, name: str) -> np.ndarray[Any, Any]:
        if name not in self.names:
            raise SamplingError(f"there is no column {name}; there are {', '.join(self.names)}")
        return np.asarray(self.of(name))


def _plain(column: Any) -> Any:  # noqa: ANN401  - of Arrow, be it encoded as a dictionary
    return column.to_pylist() if hasattr(column, "dictionary") else column


def _finite(scores: np.ndarray[Any, Any], name: str, ids: Sequence[object]) -> Floats:
    try:
        numbers = scores.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise SamplingError(f"the column '{name}' has no numbers: {error}") from error
    if not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        raise SamplingError(
            f"'{name}' of document {ids[row]!r} is {numbers[row]}; rate it again, or drop it"
        )
    return numbers
