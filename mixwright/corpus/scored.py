"""The table of a domain's training documents in a scored token store: Parquet beside the shard.

A row is a document, in the order of its tokens in the shard: `id`, `domain`, `tokens` (with the end
of the document, so that their running sum is its place), and the score of every rater. Needs
`pyarrow`, of the extras `corpus` and `train`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixwright.arrays import FloatArray, IntArray
from mixwright.corpus.documents import Document
from mixwright.corpus.errors import CorpusError

COLUMNS = ("id", "domain", "tokens")
_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class ScoredShard:
    """The training documents of a domain, in the order of their tokens.

    Attributes:
        ids: n of them.
        tokens: shape `(n,)`, of every document.
        scores: shape `(n, r)`, raw.
    """

    ids: list[str]
    tokens: IntArray
    scores: FloatArray

    @property
    def starts(self) -> IntArray:
        """Where each document begins in the shard, `(n,)`."""
        starts: IntArray = np.cumsum(self.tokens) - self.tokens
        return starts


class ScoreWriter:
    """Writes a domain's table, 65,536 documents at a time."""

    def __init__(self, path: Path, domain: str, raters: Sequence[str]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        kinds = [pa.string(), pa.string(), pa.int64(), *[pa.float64()] * len(raters)]
        self._schema = pa.schema(list(zip((*COLUMNS, *raters), kinds, strict=True)))
        self._domain, self._rows = domain, list[tuple[str | int | float, ...]]()
        self._file = parquet.ParquetWriter(path, self._schema)

    def add(self, document: Document, tokens: int) -> None:
        """Add a document that has been tokenized."""
        self._rows.append((document.id, self._domain, tokens, *document.scores))
        if len(self._rows) >= _ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            columns = map(pa.array, zip(*self._rows, strict=True), self._schema.types)
            self._file.write_table(pa.table(list(columns), schema=self._schema))
            self._rows.clear()


def read_scored(path: Path, raters: Sequence[str]) -> ScoredShard:
    """Return a domain's table, with the scores of some of its raters.

    Raises:
        CorpusError: it cannot be read.
    """
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(path, columns=["id", "tokens", *raters])
    except (OSError, ArrowException) as error:
        raise CorpusError(f"{path} cannot be read: {error}") from error
    scores = [table.column(name).to_numpy() for name in raters]
    ids: list[str] = table.column("id").to_pylist()
    return ScoredShard(ids, table.column("tokens").to_numpy(), np.stack(scores, axis=1))
