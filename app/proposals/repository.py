"""Reads and writes leases of runs, what their holders answered, and what has been spent."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from app.db.models import AttemptRow, RunRow
from app.runs.repository import StoredRun
from app.runs.schemas import Origin, RunState

_COLUMNS = RunRow.__table__.c
_SPENDING = (RunState.QUEUED, RunState.LEASED, RunState.SUCCEEDED, RunState.RETRACTED)


def expired(
    session: Session, study_id: str, fidelity: str | None, now: datetime, limit: int
) -> list[StoredRun]:
    """Return and lock up to `limit` proposals whose holder fell silent, oldest first."""
    query = select(*_COLUMNS).where(
        RunRow.study_id == study_id,
        RunRow.origin == Origin.PROPOSAL,
        RunRow.state == RunState.LEASED,
        RunRow.group_id.is_(None),  # a swarm that took it over trains it
        RunRow.lease_until < now,
    )
    if fidelity is not None:
        query = query.where(RunRow.fidelity == fidelity)
    query = query.order_by(RunRow.id).limit(limit).with_for_update(skip_locked=True)
    return [dict(row) for row in session.execute(query).mappings()]


def insert_runs(session: Session, rows: Sequence[StoredRun]) -> None:
    """Store runs that were asked for."""
    if rows:
        session.execute(insert(RunRow), list(rows))


def lease(session: Session, run: StoredRun, now: datetime, seconds: float) -> StoredRun:
    """Give the run to a new holder; return it as it is then."""
    changes = {
        "state": RunState.LEASED,
        "lease_token": run["lease_token"] + 1,
        "lease_seconds": seconds,
        "lease_until": now + timedelta(seconds=seconds),
        "started_at": run["started_at"] or now,
    }
    session.execute(update(RunRow).where(RunRow.id == run["id"]).values(**changes))
    return {**run, **changes}


def count_proposals(session: Session, study_id: str) -> int:
    """Return how many runs were ever proposed for the study."""
    query = select(func.count()).where(
        RunRow.study_id == study_id, RunRow.origin == Origin.PROPOSAL
    )
    return session.scalars(query).one()


def proposed(session: Session, study_id: str) -> list[tuple[str, dict[str, float]]]:
    """Return fidelity and weights of every run that was ever proposed for the study."""
    query = select(RunRow.fidelity, RunRow.weights).where(
        RunRow.study_id == study_id, RunRow.origin == Origin.PROPOSAL
    )
    return [(row.fidelity, row.weights) for row in session.execute(query)]


def unended(session: Session, study_id: str) -> list[tuple[str, dict[str, float]]]:
    """Return fidelity and weights of every run of the study that is under way."""
    query = select(RunRow.fidelity, RunRow.weights).where(
        RunRow.study_id == study_id, RunRow.state.in_((RunState.QUEUED, RunState.LEASED))
    )
    return [(row.fidelity, row.weights) for row in session.execute(query.order_by(RunRow.id))]


def spending(session: Session, study_id: str) -> list[tuple[str, int, int, float]]:
    """Return per fidelity: runs asked for and not failed, those that told a cost, its sum."""
    query = (
        select(
            RunRow.fidelity,
            func.count(),
            func.count(RunRow.cost),
            func.sum(RunRow.cost),
        )
        .where(
            RunRow.study_id == study_id,
            RunRow.origin != Origin.REPORTED,
            RunRow.state.in_(_SPENDING),
        )
        .group_by(RunRow.fidelity)
    )
    rows = session.execute(query)
    return [(name, runs, told, float(cost or 0.0)) for name, runs, told, cost in rows]


def attempts(session: Session, run_id: str) -> dict[int, AttemptRow]:
    """Return what the run's holders answered, by lease token."""
    query = select(AttemptRow).where(AttemptRow.run_id == run_id).order_by(AttemptRow.lease_token)
    return {row.lease_token: row for row in session.scalars(query)}


def insert_attempt(session: Session, **values: Any) -> None:  # noqa: ANN401  - columns
    """Store an answer."""
    session.execute(insert(AttemptRow).values(**values))
