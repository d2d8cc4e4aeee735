"""What the service does with samples: stores parts, and says what is in all of them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import numpy as np
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.models import StudyRow
from app.db.sampling_models import SamplePartRow
from app.errors import ConflictError
from app.samples import names
from app.samples.checking import Part
from app.samples.schemas import CountRead, PartRead, RaterRead, SampleRead
from app.samples.space import RatedSpace, rated_space
from app.samples.stored import StoredSample, packed
from app.studies import service as studies
from mixwright.quality.raters import Moments, Rater, suspicious_directions

_BY = ("tokens", "documents")  # what moments are weighted by
_MOST_COMPARED = 100_000  # documents


def store(session: Session, principal: Principal, study: str, part: Part) -> tuple[PartRead, bool]:
    """Add what is new of a part to the study's sample; return it, and whether anything is.

    Raises:
        NotFoundError: no such study.
        ConflictError: the study has no raters.
    """
    row = studies.find(session, principal, study, lock=True)  # one part of a sample at a time
    known = session.get(SamplePartRow, (row.id, part.sha256))
    if known is not None:
        return _to_read(row, part, 0, known), False
    new = part.only(names.is_new(session, row.id, part.names))
    count = len(new.tokens)
    stored = _store(session, row, new) if count else None
    return _to_read(row, part, count, stored), bool(count)


def _store(session: Session, study: StudyRow, part: Part) -> SamplePartRow:
    content = packed(part)
    known_by = names.row_of(study.id, part.sha256, part.names)
    stored = SamplePartRow(
        study_id=study.id,
        sha256=part.sha256,
        documents=len(part.tokens),
        stored_bytes=len(content) + (len(known_by.names) if known_by else 0),
        summary=_summarise(rated_space(study.definition), part),
        content=content,
        created_at=datetime.now(UTC),
    )
    session.add(stored)
    session.flush()
    if known_by is not None:
        session.add(known_by)
        session.flush()
    return stored


def remove(session: Session, principal: Principal, study: str) -> None:
    """Delete a study's sample; functions made of it stay.

    Raises:
        NotFoundError: no such study.
    """
    study_id = studies.find(session, principal, study).id
    session.execute(delete(SamplePartRow).where(SamplePartRow.study_id == study_id))


def read(session: Session, principal: Principal, study: str) -> SampleRead:
    """Return what is in a study's sample. Ten million documents take a second of a core.

    Raises:
        NotFoundError: no such study.
        ConflictError: the study has no raters, or others than when the sample was sent.
    """
    row = studies.find(session, principal, study)
    sample = load(session, row, rated_space(row.definition))
    return SampleRead(
        study_id=row.id,
        documents=sample.documents,
        tokens=sum(one.tokens for one in sample.counts.values()),
        parts=len(sample.content.parts),
        stored_bytes=sample.stored_bytes,
        domains=dict(sample.counts),
        raters={name: sample.told(name) for name in sample.moments},
        warnings=list(sample.warnings()),
        digest=sample.digest,
    )


@dataclass(frozen=True, slots=True)
class SampleOfStudy:
    """A study's sample: its documents, and what is known of them without reading them.

    Attributes:
        space: of the study.
        content: the documents.
        counts: by domain.
        moments: by rater, weighted as its space weighs documents; empty if there are none.
        stored_bytes: of all parts.
    """

    space: RatedSpace
    content: StoredSample
    counts: Mapping[str, CountRead]
    moments: Mapping[str, Moments]
    stored_bytes: int

    @property
    def documents(self) -> int:
        """How many there are."""
        return sum(one.documents for one in self.counts.values())

    @property
    def digest(self) -> str:
        """SHA-256 of the parts' digests."""
        return hashlib.sha256("".join(self.content.parts).encode()).hexdigest()

    def raters(self) -> tuple[Rater, ...]:
        """Return the raters with their normalisation.

        Raises:
            ConflictError: a rater's scores are all the same, or a domain has no documents.
        """
        self._require_every_domain()
        constant = self._constant()
        if constant:
            raise ConflictError(
                f"{', '.join(map(repr, constant))} gives all documents of the sample the same "
                "score, so it cannot tell them apart; leave that rater out of the study's space, "
                "or delete the sample and rate it again"
            )
        return self.space.rating.fit(self.content, self._of_raters())

    def told(self, rater: str) -> RaterRead:
        """Return what is known of a rater's scores."""
        moments, rating = self.moments[rater], self.space.rating
        return RaterRead(
            higher_is_better=rater not in rating.lower_is_better,
            normalisation=rating.recorded,
            mean=moments.mean,
            spread=moments.spread,
            lowest=moments.lowest,
            highest=moments.highest,
        )

    def warnings(self) -> Iterator[str]:
        """Yield what keeps a function from being made of it, and what looks wrong."""
        for name, count in self.counts.items():
            if not count.tokens:
                yield f"the sample has no document with tokens of domain '{name}' yet"
        constant = self._constant()
        for name in constant:
            yield f"rater '{name}' gives all documents the same score"
        if self.documents and not constant:
            yield from self.suspicious()

    def suspicious(self) -> tuple[str, ...]:
        """Return a sentence for each rater whose declared direction looks wrong."""
        raters = self.space.rating.z_scores(self._of_raters())  # their order is all that counts
        scores = self.content.some_scores(self.documents, _MOST_COMPARED)
        return suspicious_directions(raters, scores)

    def _of_raters(self) -> list[Moments]:
        return [self.moments[name] for name in self.space.raters]

    def _constant(self) -> list[str]:
        return [name for name, moments in self.moments.items() if moments.is_constant]

    def _require_every_domain(self) -> None:
        missing = [name for name, count in self.counts.items() if not count.tokens]
        if missing:
            raise ConflictError(
                f"the study's sample has no document with tokens of {', '.join(map(repr, missing))}"
                f"; send some with POST /v1/studies/{self.content.study_id}/samples"
            )


def load(session: Session, row: StudyRow, space: RatedSpace) -> SampleOfStudy:
    """Return a study's sample, without its documents.

    Raises:
        ConflictError: the study's raters have changed since some of it was sent.
    """
    wanted = (SamplePartRow.sha256, SamplePartRow.summary, SamplePartRow.stored_bytes)
    query = select(*wanted).where(SamplePartRow.study_id == row.id)
    parts = session.execute(query.order_by(SamplePartRow.sha256)).all()
    summaries = [part.summary for part in parts]
    if any(tuple(summary["raters"]) != space.raters for summary in summaries):
        raise ConflictError(
            "the study's raters have changed since its sample was sent; delete the sample and send "
            "it again"
        )
    return SampleOfStudy(
        space=space,
        content=StoredSample(session, row.id, [part.sha256 for part in parts]),
        counts={name: _count(summaries, place) for place, name in enumerate(space.domains)},
        moments={
            name: _moments(summaries, name, space.rating.weighing)
            for name in space.raters
            if summaries
        },
        stored_bytes=sum(part.stored_bytes for part in parts),
    )


def _count(summaries: Sequence[Mapping[str, Any]], place: int) -> CountRead:
    counts = [summary["domains"][place] for summary in summaries]
    return CountRead(
        documents=sum(one["documents"] for one in counts),
        tokens=sum(one["tokens"] for one in counts),
    )


def _moments(summaries: Sequence[Mapping[str, Any]], rater: str, by: str) -> Moments:
    parts = [Moments(**summary["raters"][rater][by]) for summary in summaries]
    return reduce(Moments.merge, parts)


def _summarise(space: RatedSpace, part: Part) -> dict[str, Any]:
    """Return counts of the study's domains, in their order, and moments of its raters."""
    weights = (part.tokens, np.ones(len(part.tokens)))
    return {
        "domains": _counts(space, part),
        "raters": {
            rater: {
                by: asdict(Moments.of(one, weight)) for by, weight in zip(_BY, weights, strict=True)
            }
            for rater, one in zip(space.raters, part.scores, strict=True)
        },
    }


def _counts(space: RatedSpace, part: Part) -> list[dict[str, int]]:
    count = len(space.domains)
    documents = np.bincount(part.domain_index, minlength=count)
    tokens = np.bincount(part.domain_index, part.tokens, minlength=count)
    return [
        {"documents": int(some), "tokens": int(many)}
        for some, many in zip(documents, tokens, strict=True)
    ]


def _to_read(study: StudyRow, sent: Part, new: int, stored: SamplePartRow | None) -> PartRead:
    space = rated_space(study.definition)
    counts = zip(space.domains, _counts(space, sent), strict=True)
    return PartRead(
        sha256=sent.sha256,
        documents=len(sent.tokens),
        repeated=len(sent.tokens) - new,
        stored_bytes=stored.stored_bytes if stored else 0,
        domains={name: CountRead(**count) for name, count in counts},
        created_at=stored.created_at if stored else None,
    )
