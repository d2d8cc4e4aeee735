"""Writes scores as columns of shards, by the protocol of sampling. Needs the extra `corpus`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from mixwright.arrays import FloatArray
from mixwright.quality.columns import DocumentError
from mixwright.quality.engines import Engine, Record, in_processes
from mixwright.quality.rewriting import rewrite_shards
from mixwright.quality.shards import Fields

_SUMS = ("documents", "sum", "sum_of_squares")


class Scorer(Protocol):
    """A function from a document to numbers, one for each column that it adds."""

    @property
    def fields(self) -> Fields:
        """What is read, and the columns that are added."""

    @property
    def made_of(self) -> Record:
        """All that a score depends on besides the document, as JSON has it."""

    def score(self, batch: pa.RecordBatch) -> FloatArray:
        """Return the scores of n documents in the order of the columns, `(n, columns)`.

        Raises:
            DocumentError: a document cannot be scored.
        """


@dataclass(frozen=True, slots=True)
class Scored:
    """What became of shards.

    Attributes:
        columns: documents, mean and standard deviation of every column that was added.
        written: how many shards were written.
        found: how many were complete before.
        broken: why shards were left out.
    """

    columns: dict[str, dict[str, float]]
    written: int
    found: int
    broken: list[str]


@dataclass(frozen=True, slots=True)
class Scoring:
    """The work of a scorer on shards."""

    scorer: Scorer

    @property
    def fields(self) -> Fields:
        """What is read and added."""
        return self.scorer.fields

    @property
    def made_of(self) -> Record:
        """The scorer, and the columns."""
        fields = self.scorer.fields
        columns = {"reads": list(fields.read), "adds": list(fields.added)}
        return {"scorer": self.scorer.made_of, "columns": columns}

    def change(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, FloatArray]:
        """Return a batch with its scores, and `(3, columns)`: documents, sums and sums of squares.

        Raises:
            DocumentError: a score is not finite, or the scorer raises it.
        """
        scores = self.scorer.score(batch)
        bad = ~np.isfinite(scores)
        if bad.any():
            row, column = map(int, np.argwhere(bad)[0])
            name = self.fields.added[column]
            raise DocumentError(f"its '{name}' would be {scores[row, column]}; drop it", row)
        for name, column in zip(self.fields.added, scores.T, strict=True):
            batch = batch.append_column(name, pa.array(column))
        return batch, np.stack(
            [np.full(scores.shape[1], len(scores)), scores.sum(0), (scores**2).sum(0)]
        )

    def told(self, sums: FloatArray) -> Record:
        """Return the sums by column."""
        rows = zip(self.fields.added, sums.T.tolist(), strict=True)
        return {"scores": {name: dict(zip(_SUMS, row, strict=True)) for name, row in rows}}


def score_shards(
    scorer: Scorer,
    paths: Sequence[Path],
    out: Path,
    *,
    workers: int | None = None,
    skip_broken: bool = False,
    progress: Callable[[int], None] = lambda _size: None,
    engine: Engine = in_processes,
) -> Scored:
    """Write every shard with its scores to a shard of the same name in `out`.

    Args and errors are those of `mixwright.quality.rewriting.rewrite_shards`.
    """
    done = rewrite_shards(
        Scoring(scorer),
        paths,
        out,
        workers=workers,
        skip_broken=skip_broken,
        progress=progress,
        engine=engine,
    )
    columns = {name: _moments(done.records, name) for name in scorer.fields.added}
    return Scored(columns, done.written, done.found, done.broken)


def _moments(records: Sequence[Record], name: str) -> dict[str, float]:
    totals: list[Any] = [[record["scores"][name][part] for part in _SUMS] for record in records]
    count, total, squares = np.sum(totals, axis=0) if totals else np.zeros(3)
    mean = total / count if count else 0.0
    variance = squares / count - mean**2 if count else 0.0
    return {
        "documents": float(count),
        "mean": float(mean),
        "standard_deviation": float(np.sqrt(max(variance, 0.0))),
    }
