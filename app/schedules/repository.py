"""Reads and writes schedules: the only module that knows `ScheduleRow`'s columns."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.models import JobRow, ScheduleRow
from app.errors import NotFoundError
from app.jobs.schemas import JobState, job_fields
from app.schedules.schemas import ScheduleRead
from mixwright.schedules import Budget, Schedule, Stage

ScheduleAndJob: TypeAlias = Row[ScheduleRow, JobRow | None]

_ECHOED = ("planner", "options", "seed", "budget")
_SCHEDULES = select(ScheduleRow, JobRow).outerjoin(JobRow, ScheduleRow.job_id == JobRow.id)


def find(session: Session, identity: str) -> ScheduleAndJob | None:
    """Return the schedule and its job, or None."""
    return session.execute(_SCHEDULES.where(ScheduleRow.id == identity)).first()


def get(session: Session, principal: Principal, identity: str) -> ScheduleAndJob:
    """Return the schedule and its job.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: the principal may not touch its study.
    """
    row = find(session, identity)
    if row is None:
        raise NotFoundError("schedule", identity)
    principal.require_study(row[0].study_id)
    return row


def of_job(session: Session, job_id: str) -> ScheduleRow:
    """Return the schedule that the job is to plan."""
    return session.scalars(select(ScheduleRow).where(ScheduleRow.job_id == job_id)).one()


def page(
    session: Session, study_id: str, limit: int, cursor: str | None
) -> Sequence[ScheduleAndJob]:
    """Return up to `limit + 1` schedules after `cursor`, oldest first."""
    query = _SCHEDULES.where(ScheduleRow.study_id == study_id)
    if cursor is not None:
        query = query.where(ScheduleRow.id > cursor)
    return session.execute(query.order_by(ScheduleRow.id).limit(limit + 1)).all()


def to_read(row: ScheduleAndJob) -> ScheduleRead:
    """Return the schedule as it is answered."""
    schedule, job = row
    return ScheduleRead(
        **(_at_once(schedule) if job is None else job_fields(job)),
        **{name: schedule.request[name] for name in _ECHOED},
        **(schedule.result or {}),
        id=schedule.id,
        study_id=schedule.study_id,
        digest=schedule.digest,
    )


def _at_once(schedule: ScheduleRow) -> dict[str, Any]:
    """Return the state of what was planned while the request waited."""
    moments = dict.fromkeys(("created_at", "started_at", "ended_at"), schedule.created_at)
    return {"state": JobState.SUCCEEDED, "progress": 1.0, "error": None, **moments}


def to_core(planned: ScheduleRead) -> Schedule:
    """Return a schedule that has been planned as the numeric core's."""
    return Schedule(
        Budget(**planned.budget.model_dump()),
        tuple(Stage.from_json(stage) for stage in planned.stages or ()),
        tuple(planned.warnings or ()),
        planned.evidence or {},
    )
