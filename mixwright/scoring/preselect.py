"""PreSelect's scores of shards: predictive strength, and a classifier that stands in for it.

Source:
    Shum et al., arXiv:2503.00808 [S]: documents with the losses of some models are scored by how
    well these rank the models (`mixwright.quality.preselect`); a fastText classifier of the highest
    and the lowest (200,000 of 900,000 each) scores the rest.

Departures:
    * The classifier is `mixwright.scoring.classifier`'s [I].
    * Few models tie many documents; ties at either end are taken in the order of the shards [I].
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mixwright.arrays import BoolArray, FloatArray
from mixwright.errors import InvalidInputError
from mixwright.quality.columns import numbers_of, rows_after, texts_of
from mixwright.quality.preselect import predictive_strength
from mixwright.quality.shards import Fields, format_of

KIND, COLUMN, SHARE = "preselect/1", "preselect", 2 / 9


@dataclass(frozen=True, slots=True)
class StrengthScorer:
    """Predictive strength of documents with losses, higher is better, as a column.

    Attributes:
        abilities: of each model by the column of its losses (bits per character); higher is better.
        column: where the strength goes.
    """

    abilities: Mapping[str, float]
    column: str = COLUMN

    @property
    def fields(self) -> Fields:
        """What is read and added."""
        return Fields(numbers=tuple(self.abilities), added=(self.column,))

    @property
    def made_of(self) -> dict[str, Any]:
        """The models and their abilities."""
        return {"kind": KIND, "abilities": dict(self.abilities)}

    def score(self, batch: pa.RecordBatch) -> FloatArray:
        """Return predictive strengths, `(n, 1)`."""
        losses = np.stack([numbers_of(batch, name) for name in self.abilities], axis=1)
        abilities = np.array(list(self.abilities.values()), dtype=np.float64)
        if not len(losses):
            return np.empty((0, 1))
        return predictive_strength(losses, abilities)[:, None]


def extremes(
    scorer: StrengthScorer, paths: Sequence[Path], text_column: str, share: float = SHARE
) -> Iterator[tuple[str, bool]]:
    """Yield the texts of the highest and the lowest share of documents, and whether they are high.

    The shards are read twice, so that no texts are held.

    Raises:
        InvalidInputError: the share is not above 0 and at most a half, or ties span both ends.
        ShardError: a shard cannot be used.
    """
    if not 0 < share <= 0.5:
        raise InvalidInputError(f"the share is {share}; it is above 0 and at most 0.5", "share")
    strengths = np.concatenate([scores[:, 0] for _, scores in _scored(scorer, paths, text_column)])
    high, low = _ends(strengths, share)
    start = 0
    for batch, scores in _scored(scorer, paths, text_column):
        rows = slice(start, start + len(scores))
        texts = texts_of(batch, text_column).to_pylist()
        yield from (
            (text, bool(is_high))
            for text, is_high, is_low in zip(texts, high[rows], low[rows], strict=True)
            if is_high or is_low
        )
        start = rows.stop


def _ends(strengths: FloatArray, share: float) -> tuple[BoolArray, BoolArray]:
    """Return which documents are among the highest and which among the lowest."""
    count = int(share * len(strengths))
    order = np.argsort(strengths, kind="stable")
    if not count or strengths[order[count - 1]] == strengths[order[-count]]:
        raise InvalidInputError(
            f"the highest and the lowest {share:.3g} of {len(strengths)} documents are not told "
            "apart; take a smaller share, more documents or more models",
            "share",
        )
    low, high = np.zeros((2, len(strengths)), dtype=np.bool_)
    low[order[:count]], high[order[-count:]] = True, True
    return high, low


def _scored(
    scorer: StrengthScorer, paths: Sequence[Path], text_column: str
) -> Iterator[tuple[pa.RecordBatch, FloatArray]]:
    fields = Fields(texts=(text_column,), numbers=scorer.fields.numbers)
    for path in paths:
        row = 0
        for batch in format_of(path).read(path, fields):
            with rows_after(row, path):
                scores = scorer.score(batch)
            yield batch, scores
            row += len(batch)
