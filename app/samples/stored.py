"""A study's sample as it is stored: read a part at a time, in an order that is always the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.sampling_models import SamplePartRow
from app.errors import ConflictError
from app.samples.checking import Part
from app.samples.packing import pack, unpack
from mixwright.arrays import FloatArray
from mixwright.quality.implied import ScoredDocuments

_TOGETHER = 500_000  # documents, so that many small parts cost no more than few large ones


@dataclass(frozen=True, slots=True)
class StoredSample:
    """Documents of a study, in parts.

    Attributes:
        session: to read with.
        study_id: of the study.
        parts: SHA-256 of each, sorted: the order of uploads does not matter.
    """

    session: Session
    study_id: str
    parts: Sequence[str]

    def blocks(self) -> Iterator[ScoredDocuments]:
        """Yield the documents, 1.5 million at most at a time.

        Raises:
            ConflictError: the sample was deleted meanwhile.
        """
        waiting: list[ScoredDocuments] = []
        for sha256 in self.parts:
            waiting.append(self._load(sha256))
            if sum(len(one.tokens) for one in waiting) >= _TOGETHER:
                yield _joined(waiting)
                waiting = []
        if waiting:
            yield _joined(waiting)

    def some_scores(self, documents: int, most: int) -> FloatArray:
        """Return the scores of at most `most` documents, evenly chosen of so many."""
        step = max(1, -(-documents // most))
        return np.concatenate([block.scores[::step] for block in self.blocks()])[:most]

    def _load(self, sha256: str) -> ScoredDocuments:
        query = select(SamplePartRow.content).where(
            SamplePartRow.study_id == self.study_id, SamplePartRow.sha256 == sha256
        )
        content = self.session.scalar(query)
        if content is None:
            raise ConflictError("the sample was deleted while it was read; send it again")
        domain_index, tokens, *scores = unpack(content)
        return ScoredDocuments(domain_index, np.column_stack(scores), tokens)


def packed(part: Part) -> bytes:
    """Return a part as it is stored."""
    return pack([part.domain_index, part.tokens, *part.scores])


def _joined(blocks: Sequence[ScoredDocuments]) -> ScoredDocuments:
    return ScoredDocuments(
        np.concatenate([one.domain_index for one in blocks]),
        np.concatenate([one.scores for one in blocks]),
        np.concatenate([one.tokens for one in blocks]),
    )
