"""Reads and writes trainings, their logs and their ledgers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import select, update
from sqlalchemy.orm import Session, undefer

from app.auth.access import Principal
from app.db.training_models import AckRow, TrainingEventRow, TrainingRow, TrainingVersionRow
from app.errors import NotFoundError
from app.trainings.schemas import EntryRead, EventRead, Fate, WeightsRead
from mixwright.reweighting.canonical import canonical
from mixwright.reweighting.ledger import (
    Entry,
    Outcome,
    Standing,
    standing_document,
    standing_from,
)


def get(
    session: Session, principal: Principal, training_id: str, *, lock: bool = False
) -> TrainingRow:
    """Return the training.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: the principal may not touch its study.
    """
    query = select(TrainingRow).where(TrainingRow.id == training_id)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFoundError("training", training_id)
    principal.require_study(row.study_id or "")
    return row


def page(
    session: Session,
    limit: int,
    cursor: str | None,
    study_id: str | None,
    name: str | None,
) -> Sequence[TrainingRow]:
    """Return up to `limit + 1` trainings after `cursor`, oldest first."""
    query = select(TrainingRow).order_by(TrainingRow.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(TrainingRow.id > cursor)
    if study_id is not None:
        query = query.where(TrainingRow.study_id == study_id)
    if name is not None:
        query = query.where(TrainingRow.name == name)
    return session.scalars(query).all()


def versions(session: Session, training_ids: Sequence[str]) -> dict[str, int]:
    """Return the version in force of each of these trainings."""
    query = select(TrainingRow.id, TrainingRow.version).where(TrainingRow.id.in_(training_ids))
    return {row.id: row.version for row in session.execute(query)}


@dataclass(frozen=True, slots=True)
class StoredPast:
    """A training's past, as the core asks for it."""

    session: Session
    training_id: str

    def entry(self, version: int) -> Entry | None:
        """Return an entry of the ledger."""
        row = self.session.get(TrainingVersionRow, (self.training_id, version))
        if row is None:
            return None
        weights = np.array(list(row.weights.values()), dtype=np.float64)
        return Entry(row.version, row.effective_step, tuple(row.weights), weights, row.fate)

    def standing_at(self, step: int) -> Standing:
        """Return the last standing whose position is `step` or less."""
        query = select(TrainingEventRow.standing).where(
            TrainingEventRow.training_id == self.training_id, TrainingEventRow.position <= step
        )
        return _read(
            self.session.scalars(query.order_by(TrainingEventRow.number.desc()).limit(1)).one()
        )

    def observed(self, step: int) -> dict[str, Any] | None:
        """Return what was told of `step`, unless the training was resumed before it since."""
        row = self.observation(step)
        return None if row is None else row.content

    def observation(self, step: int) -> TrainingEventRow | None:
        """Return the event in which it was told."""
        row = self.session.scalar(
            select(TrainingEventRow)
            .where(TrainingEventRow.training_id == self.training_id, TrainingEventRow.step == step)
            .order_by(TrainingEventRow.number.desc())
            .limit(1)
        )
        if row is None or self._was_resumed_before(step, row.number):
            return None
        return row

    def _was_resumed_before(self, step: int, number: int) -> bool:
        query = select(TrainingEventRow.number).where(
            TrainingEventRow.training_id == self.training_id,
            TrainingEventRow.number > number,
            TrainingEventRow.kind == "resume",
            TrainingEventRow.position < step,
        )
        return self.session.scalar(query.limit(1)) is not None

    def last(self) -> TrainingEventRow:
        """Return the last event."""
        query = select(TrainingEventRow).where(TrainingEventRow.training_id == self.training_id)
        newest = query.order_by(TrainingEventRow.number.desc()).limit(1)
        return self.session.scalars(newest.options(undefer(TrainingEventRow.standing))).one()

    def standing(self) -> Standing:
        """Return where the training stands."""
        return _read(self.last().standing)


def standings(session: Session, training_id: str, of: Sequence[int]) -> dict[int, Standing]:
    """Return where the training stood after each of these events, by the event's number."""
    query = select(TrainingEventRow.number, TrainingEventRow.standing).where(
        TrainingEventRow.training_id == training_id, TrainingEventRow.number.in_(of)
    )
    return {row.number: _read(row.standing) for row in session.execute(query)}


def _read(standing: bytes) -> Standing:
    return standing_from(json.loads(standing))


def store(
    session: Session, row: TrainingRow, outcome: Outcome, event: tuple[str, dict[str, Any]]
) -> TrainingEventRow:
    """Write what came of an event, as `(kind, content)`; the answer is for the caller to set."""
    kind, content = event
    now, standing = datetime.now(UTC), outcome.standing
    written = canonical(standing_document(standing))
    stored = TrainingEventRow(
        training_id=row.id,
        number=row.events,
        kind=kind,
        step=content["step"] if kind == "observe" else None,
        position=standing.position,
        content=content,
        answer={},
        standing=written,
        standing_sha256=hashlib.sha256(written).hexdigest(),
        created_at=now,
    )
    if outcome.void_above is not None:
        _void(session, row.id, outcome.void_above)
    if outcome.entry is not None:
        _enter(session, row, outcome.entry, now)
    row.events += 1
    row.domains = list(standing.domains)
    row.version, row.effective_step = standing.served.version, standing.served.effective_step
    row.weights = standing.served.named()
    session.add(stored)
    return stored


def _void(session: Session, training_id: str, above: int) -> None:
    session.execute(
        update(TrainingVersionRow)
        .where(TrainingVersionRow.training_id == training_id, TrainingVersionRow.version > above)
        .values(fate=Fate.VOID)
    )


def _enter(session: Session, row: TrainingRow, entry: Entry, now: datetime) -> None:
    """Write an entry of the ledger: a new one, or an old one's fate and step."""
    known = session.get(TrainingVersionRow, (row.id, entry.version))
    if known is not None:
        known.fate, known.effective_step = entry.fate, entry.effective_step
        return
    session.add(
        TrainingVersionRow(
            training_id=row.id,
            version=entry.version,
            effective_step=entry.effective_step,
            weights=entry.named(),
            fate=entry.fate,
            event=row.events,
            created_at=now,
        )
    )


def weights(row: TrainingRow) -> WeightsRead:
    """Return the weights in force."""
    return WeightsRead(version=row.version, effective_step=row.effective_step, weights=row.weights)


def ledger(session: Session, training_id: str, limit: int, after: int) -> list[EntryRead]:
    """Return up to `limit + 1` entries of versions above `after`."""
    rows = session.scalars(
        select(TrainingVersionRow)
        .where(TrainingVersionRow.training_id == training_id, TrainingVersionRow.version > after)
        .order_by(TrainingVersionRow.version)
        .limit(limit + 1)
    ).all()
    used = applied(session, training_id, [row.version for row in rows])
    return [
        EntryRead(
            version=row.version,
            effective_step=row.effective_step,
            weights=row.weights,
            state=Fate(row.fate),
            applied_step=used.get(row.version),
            created_at=row.created_at,
        )
        for row in rows
    ]


def applied(session: Session, training_id: str, of: Sequence[int]) -> dict[int, int]:
    """Return, for each of these versions that was acknowledged, the step it was last said of."""
    query = select(AckRow.version, AckRow.applied_step).where(
        AckRow.training_id == training_id, AckRow.version.in_(of)
    )
    rows = session.execute(query.order_by(AckRow.created_at, AckRow.applied_step))
    return {row.version: row.applied_step for row in rows}


def acknowledge(session: Session, training_id: str, version: int, applied_step: int) -> None:
    """Note an acknowledgement; the same one again changes nothing."""
    if session.get(AckRow, (training_id, version, applied_step)) is None:
        session.add(
            AckRow(
                training_id=training_id,
                version=version,
                applied_step=applied_step,
                created_at=datetime.now(UTC),
            )
        )


def events(session: Session, training_id: str, limit: int, after: int) -> list[EventRead]:
    """Return up to `limit + 1` events whose numbers are above `after`."""
    rows = session.scalars(
        select(TrainingEventRow)
        .where(TrainingEventRow.training_id == training_id, TrainingEventRow.number > after)
        .order_by(TrainingEventRow.number)
        .limit(limit + 1)
    )
    return [
        EventRead(
            number=row.number,
            kind=row.kind,
            content=row.content,
            answer=row.answer,
            digest=row.standing_sha256,
            created_at=row.created_at,
        )
        for row in rows
    ]
