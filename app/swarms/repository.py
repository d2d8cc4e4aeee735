"""Reads and writes swarms, their groups, and the runs of a group."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.models import GroupRow, JobRow, RunRow, SwarmRow
from app.errors import NotFoundError
from app.jobs.schemas import JobState
from app.runs.repository import StoredRun
from app.runs.schemas import RunState

GroupAndJob = Row[GroupRow, JobRow]
_UNENDED = (RunState.QUEUED, RunState.LEASED)


def get(session: Session, principal: Principal, swarm_id: str) -> SwarmRow:
    """Return the swarm.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: the principal may not touch its study.
    """
    row = session.get(SwarmRow, swarm_id)
    if row is None:
        raise NotFoundError("swarm", swarm_id)
    principal.require_study(row.study_id)
    return row


def page(session: Session, study_id: str, limit: int, cursor: str | None) -> Sequence[SwarmRow]:
    """Return up to `limit + 1` swarms of the study after `cursor`, oldest first."""
    query = select(SwarmRow).where(SwarmRow.study_id == study_id)
    if cursor is not None:
        query = query.where(SwarmRow.id > cursor)
    return session.scalars(query.order_by(SwarmRow.id).limit(limit + 1)).all()


def get_group(session: Session, principal: Principal, group_id: str) -> tuple[GroupRow, SwarmRow]:
    """Return the group and its swarm.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: the principal may not touch its study.
    """
    group = session.get(GroupRow, group_id)
    if group is None:
        raise NotFoundError("group", group_id)
    return group, get(session, principal, group.swarm_id)


def groups(session: Session, swarm_id: str) -> Sequence[GroupAndJob]:
    """Return the swarm's groups with their jobs, in order."""
    query = select(GroupRow, JobRow).join(JobRow, GroupRow.id == JobRow.id)
    query = query.where(GroupRow.swarm_id == swarm_id).order_by(GroupRow.id)
    return session.execute(query.execution_options(populate_existing=True)).all()


def insert_runs(session: Session, rows: Sequence[StoredRun]) -> None:
    """Store the runs of a swarm."""
    session.execute(insert(RunRow), list(rows))


def lock_runs(session: Session, run_ids: Sequence[str]) -> list[StoredRun]:
    """Return and lock the runs with these ids, in order."""
    query = select(*RunRow.__table__.c).where(RunRow.id.in_(run_ids)).order_by(RunRow.id)
    return [dict(row) for row in session.execute(query.with_for_update()).mappings()]


def runs_of(session: Session, group_id: str) -> list[StoredRun]:
    """Return the runs of a group, in order."""
    query = select(*RunRow.__table__.c).where(RunRow.group_id == group_id).order_by(RunRow.id)
    return [dict(row) for row in session.execute(query).mappings()]


def runs_of_swarm(session: Session, swarm_id: str) -> list[StoredRun]:
    """Return the runs of a swarm, in order."""
    of_swarm = select(GroupRow.id).where(GroupRow.swarm_id == swarm_id)
    query = select(*RunRow.__table__.c).where(RunRow.group_id.in_(of_swarm)).order_by(RunRow.id)
    return [dict(row) for row in session.execute(query).mappings()]


def count_runs(session: Session, group_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """Return how many runs of each group are in each state."""
    query = (
        select(RunRow.group_id, RunRow.state, func.count())
        .where(RunRow.group_id.in_(group_ids))
        .group_by(RunRow.group_id, RunRow.state)
    )
    return {(group or "", state): count for group, state, count in session.execute(query)}


def lease_runs(
    session: Session, group_id: str, token: int, until: datetime, seconds: float
) -> None:
    """Give every run of the group that has not ended to the holder of `token`."""
    session.execute(
        update(RunRow)
        .where(RunRow.group_id == group_id, RunRow.state.in_(_UNENDED))
        .values(
            state=RunState.LEASED,
            lease_token=token,
            lease_seconds=seconds,
            lease_until=until,
            started_at=func.coalesce(RunRow.started_at, until - timedelta(seconds=seconds)),
        )
    )


def renew_runs(session: Session, group_id: str, until: datetime) -> None:
    """Move the expiry of the group's leased runs."""
    session.execute(
        update(RunRow)
        .where(RunRow.group_id == group_id, RunRow.state == RunState.LEASED)
        .values(lease_until=until)
    )


def end_runs(
    session: Session, group_ids: Sequence[str], state: RunState, reason: str, now: datetime
) -> None:
    """End every run of the groups that has not ended."""
    session.execute(
        update(RunRow)
        .where(RunRow.group_id.in_(group_ids), RunRow.state.in_(_UNENDED))
        .values(state=state, failure=reason, ended_at=now)
    )


def orphans(session: Session) -> Sequence[JobRow]:
    """Return the jobs of groups that have ended without a result for some of their runs."""
    unended = select(RunRow.group_id).where(
        RunRow.group_id.is_not(None), RunRow.state.in_(_UNENDED)
    )
    query = select(JobRow).where(
        JobRow.id.in_(unended), JobRow.state.in_((JobState.FAILED, JobState.CANCELLED))
    )
    return session.scalars(query).all()
