"""A training's past as its page shows it: what happened, and every version that came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

import mixwright
from app.auth.access import Principal
from app.db.training_models import AckRow, TrainingEventRow, TrainingVersionRow
from app.trainings import repository, service
from app.trainings.schemas import Fate, TrainingRead
from mixwright.reweighting.ledger import Standing

MOST_READ: Final = 10_000
"""Of events and of versions; where there are more, one of every so many is read."""
NEWEST: Final = 100
"""How many versions are read in any case, and with what the algorithm wanted."""


@dataclass(frozen=True, slots=True)
class Version:
    """An entry of the ledger; `event` is the number of the one that made it."""

    version: int
    effective_step: int
    weights: dict[str, float]
    fate: str
    event: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Happening:
    """A line of the log; `applied` and `reason` are what was answered."""

    number: int
    kind: str
    step: int | None
    position: int
    content: dict[str, Any]
    created_at: datetime
    applied: bool | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class History:
    """What the page of a training is made of.

    Attributes:
        training: as it is now.
        versions: of the ledger, in order, one of every so many where there are very many.
        happenings: of the log, in order, likewise; all that are no observations.
        standings: after the events that made the newest versions, by the event's number.
        applied: the step at which a trainer last said it used a version, by version.
        last_version: the highest number in the ledger.
        events: how many lines the log has.
        tag: changes with everything that the page shows.
    """

    training: TrainingRead
    versions: Sequence[Version]
    happenings: Sequence[Happening]
    standings: Mapping[int, Standing]
    applied: Mapping[int, int]
    last_version: int
    events: int
    tag: str

    @property
    def every(self) -> int:
        """Of how many observations one was read."""
        return _one_of(self.events)


def tag_of(session: Session, principal: Principal, training_id: str) -> str:
    """Return what changes with everything that the page of a training shows.

    Raises:
        NotFoundError, ForbiddenError: see `app.trainings.repository.get`.
    """
    row = repository.get(session, principal, training_id)
    acks = session.scalar(select(func.count()).where(AckRow.training_id == training_id))
    return f'"{mixwright.__version__}-{row.events}-{row.refused}-{acks}"'


def read(session: Session, principal: Principal, training_id: str) -> History:
    """Return a training's past; raises as `tag_of` does."""
    tag = tag_of(session, principal, training_id)  # before the rest: nothing new goes unnoticed
    row = repository.get(session, principal, training_id)
    last = session.scalar(
        select(func.max(TrainingVersionRow.version)).where(
            TrainingVersionRow.training_id == training_id
        )
    )
    versions = _versions(session, training_id, last or 0, row.version)
    newest = [one.event for one in versions[-NEWEST:]]
    return History(
        training=service.read(session, principal, training_id),
        versions=versions,
        happenings=_happenings(session, row),
        standings=repository.standings(session, training_id, newest),
        applied=repository.applied(session, training_id, [one.version for one in versions]),
        last_version=last or 0,
        events=row.events,
        tag=tag,
    )


def _one_of(count: int) -> int:
    return -(-count // MOST_READ) or 1


def _versions(session: Session, training_id: str, last: int, served: int) -> list[Version]:
    row = TrainingVersionRow
    query = select(
        row.version, row.effective_step, row.weights, row.fate, row.event, row.created_at
    ).where(
        row.training_id == training_id,
        or_(
            row.version % _one_of(last) == 0,
            row.version > last - NEWEST,
            row.fate == Fate.PROPOSED,
            row.version == served,
        ),
    )
    return [Version(*found) for found in session.execute(query.order_by(row.version))]


def _happenings(session: Session, training: repository.Columns) -> list[Happening]:
    row = TrainingEventRow
    query = select(
        row.number,
        row.kind,
        row.step,
        row.position,
        row.content,
        row.created_at,
        row.answer["applied"].as_boolean(),
        row.answer["reason"].as_string(),
    ).where(
        row.training_id == training.id,
        or_(
            row.kind != "observe",
            row.number % _one_of(training.events) == 0,
            row.number > training.events - NEWEST,
        ),
    )
    return [Happening(*found) for found in session.execute(query.order_by(row.number))]
