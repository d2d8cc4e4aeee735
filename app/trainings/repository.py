"""Reads and writes trainings, their logs and their ledgers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import numpy as np
from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.session import Sessions, first_row
from app.db.training_models import AckRow, TrainingEventRow, TrainingRow, TrainingVersionRow
from app.errors import NotFoundError
from app.trainings.schemas import (
    EntryRead,
    EventRead,
    Fate,
    Policy,
    TrainingSummary,
    WeightsRead,
)
from mixwright.reweighting.canonical import canonical
from mixwright.reweighting.ledger import (
    Entry,
    Outcome,
    Standing,
    standing_document,
    standing_from,
)

# What an observation asks goes past the ORM, which costs five times what the database does.
Columns: TypeAlias = Row[Any]
"""A row of a table, as it was read."""

_TRAININGS: Final = TrainingRow.metadata.tables[TrainingRow.__tablename__]
_EVENTS: Final = TrainingRow.metadata.tables[TrainingEventRow.__tablename__]
_VERSIONS: Final = TrainingRow.metadata.tables[TrainingVersionRow.__tablename__]

_TRAINING: Final = select(_TRAININGS).where(_TRAININGS.c.id == bindparam("id"))
_LOCKED: Final = _TRAINING.with_for_update()
_VERSION: Final = select(_VERSIONS).where(
    _VERSIONS.c.training_id == bindparam("id"), _VERSIONS.c.version == bindparam("number")
)
_BEGUN: Final = (
    select(_VERSIONS)
    .where(
        _VERSIONS.c.training_id == bindparam("id"),
        _VERSIONS.c.fate == Fate.PUBLISHED,
        _VERSIONS.c.effective_step <= bindparam("step"),
    )
    .order_by(_VERSIONS.c.version)
)
_LAST_EVENT: Final = (
    select(_EVENTS)
    .where(_EVENTS.c.training_id == bindparam("id"))
    .order_by(_EVENTS.c.number.desc())
    .limit(1)
)
_OBSERVATION: Final = _LAST_EVENT.where(_EVENTS.c.step == bindparam("step"))
_LATER_RESUMPTION: Final = _LAST_EVENT.where(
    _EVENTS.c.number > bindparam("after"),
    _EVENTS.c.kind == "resume",
    _EVENTS.c.position < bindparam("step"),
)
_STANDING: Final = _LAST_EVENT.where(_EVENTS.c.position <= bindparam("step"))
_CHANGE: Final = (
    update(_TRAININGS)
    .where(_TRAININGS.c.id == bindparam("changed"))
    .values({name: bindparam(name) for name in ("events", "domains", "version")})
    .values({name: bindparam(name) for name in ("effective_step", "weights")})
)


def get(session: Session, principal: Principal, training_id: str, *, lock: bool = False) -> Columns:
    """Return the training.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: the principal may not touch its study.
    """
    query = _LOCKED if lock else _TRAINING
    row = session.connection().execute(query, {"id": training_id}).first()
    return _permitted(row, principal, training_id)


def glance(sessions: Sessions, principal: Principal, training_id: str) -> Columns:
    """Return the training outside any transaction; raises as `get` does."""
    row = first_row(sessions, _TRAINING, {"id": training_id})
    return _permitted(row, principal, training_id)


def _permitted(row: Columns | None, principal: Principal, training_id: str) -> Columns:
    if row is None:
        raise NotFoundError("training", training_id)
    principal.require_study(row.study_id or "")
    return row


def add(session: Session, **columns: object) -> Columns:
    """Write a new training, to which nothing has happened, and return its row."""
    nothing = {"events": 0, "refused": 0, "version": 0, "effective_step": 0}
    connection = session.connection()
    connection.execute(insert(_TRAININGS), {**columns, **nothing, "domains": [], "weights": {}})
    return connection.execute(_TRAINING, {"id": columns["id"]}).one()


def refuse_one(session: Session, training_id: str) -> None:
    """Count an observation that was refused."""
    counted = update(_TRAININGS).where(_TRAININGS.c.id == training_id)
    session.connection().execute(counted.values(refused=_TRAININGS.c.refused + 1))


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
        row = self._first(_VERSION, number=version)
        return None if row is None else _to_entry(row)

    def begun(self, step: int) -> list[Entry]:
        """Return the published entries that take effect at `step` or before, by version."""
        parameters = {"id": self.training_id, "step": step}
        rows = self.session.connection().execute(_BEGUN, parameters)
        return [_to_entry(row) for row in rows]

    def standing_at(self, step: int) -> Standing:
        """Return the last standing whose position is `step` or less."""
        row = self._first(_STANDING, step=step)
        assert row is not None, "it began at step 0"  # noqa: S101
        return _read(row.standing)

    def observed(self, step: int) -> dict[str, Any] | None:
        """Return what was told of `step`, unless the training was resumed before it since."""
        row = self.observation(step)
        return None if row is None else row.content

    def observation(self, step: int) -> Columns | None:
        """Return the event in which it was told."""
        row = self._first(_OBSERVATION, step=step)
        if row is None or self._first(_LATER_RESUMPTION, step=step, after=row.number):
            return None
        return row

    def last(self) -> Columns:
        """Return the last event."""
        row = self._first(_LAST_EVENT)
        assert row is not None, "it began"  # noqa: S101
        return row

    def standing(self) -> Standing:
        """Return where the training stands."""
        return _read(self.last().standing)

    def _first(self, query: Select[Any], **values: int) -> Columns | None:
        parameters = {"id": self.training_id, **values}
        return self.session.connection().execute(query, parameters).first()


def _to_entry(row: Columns) -> Entry:
    weights = np.array(list(row.weights.values()), dtype=np.float64)
    return Entry(row.version, row.effective_step, tuple(row.weights), weights, row.fate)


def standings(session: Session, training_id: str, of: Sequence[int]) -> dict[int, Standing]:
    """Return where the training stood after each of these events, by the event's number."""
    query = select(TrainingEventRow.number, TrainingEventRow.standing).where(
        TrainingEventRow.training_id == training_id, TrainingEventRow.number.in_(of)
    )
    return {row.number: _read(row.standing) for row in session.execute(query)}


def _read(standing: bytes) -> Standing:
    return standing_from(json.loads(standing))


def store(
    session: Session,
    row: Columns,
    outcome: Outcome,
    event: tuple[str, dict[str, Any]],
    answer: dict[str, Any],
) -> None:
    """Write what came of an event, as `(kind, content)`, and what is answered."""
    connection, (kind, content) = session.connection(), event
    now, standing = datetime.now(UTC), outcome.standing
    written = canonical(standing_document(standing))
    connection.execute(
        insert(_EVENTS),
        {
            "training_id": row.id,
            "number": row.events,
            "kind": kind,
            "step": content["step"] if kind == "observe" else None,
            "position": standing.position,
            "content": content,
            "answer": answer,
            "standing": written,
            "standing_sha256": hashlib.sha256(written).hexdigest(),
            "created_at": now,
        },
    )
    if outcome.void_above is not None:
        _void(connection, row.id, outcome.void_above)
    if outcome.entry is not None:
        _enter(connection, row, outcome.entry, now, is_known=kind == "approve")
    for entry in outcome.planned:
        _enter(connection, row, entry, now, is_known=False)
    served = standing.served
    changed = {
        "changed": row.id,
        "events": row.events + 1,
        "domains": list(standing.domains),
        "version": served.version,
        "effective_step": served.effective_step,
        "weights": served.named(),
    }
    connection.execute(_CHANGE, changed)


def _void(connection: Connection, training_id: str, above: int) -> None:
    connection.execute(
        update(_VERSIONS)
        .where(_VERSIONS.c.training_id == training_id, _VERSIONS.c.version > above)
        .values(fate=Fate.VOID)
    )


def _enter(
    connection: Connection, row: Columns, entry: Entry, now: datetime, *, is_known: bool
) -> None:
    """Write an entry of the ledger: a new one, or an old one's fate and step."""
    changing = {"fate": entry.fate, "effective_step": entry.effective_step}
    if is_known:
        known = _VERSIONS.c.training_id == row.id, _VERSIONS.c.version == entry.version
        connection.execute(update(_VERSIONS).where(*known).values(changing))
        return
    new = {"training_id": row.id, "version": entry.version, "weights": entry.named()}
    values = {**new, **changing, "event": row.events, "created_at": now}
    connection.execute(insert(_VERSIONS), values)


def weights(row: Columns | TrainingRow) -> WeightsRead:
    """Return the weights in force."""
    return WeightsRead(version=row.version, effective_step=row.effective_step, weights=row.weights)


def to_summary(row: TrainingRow) -> TrainingSummary:
    """Return a training as a line of a list."""
    return TrainingSummary(
        **weights(row).model_dump(),
        id=row.id,
        name=row.name,
        study_id=row.study_id,
        algorithm=row.algorithm,
        policy=Policy(row.policy),
        created_at=row.created_at,
    )


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
