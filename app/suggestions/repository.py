"""Reads and writes optimisers, the suggestions that are ready, and what was thought."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from app.db.models import OptimiserRow, OptimiserStepRow, SuggestionRow


def find(session: Session, study_id: str, request_sha256: str) -> OptimiserRow | None:
    """Return the optimiser of a study that answers a request, or None."""
    query = select(OptimiserRow).where(
        OptimiserRow.study_id == study_id, OptimiserRow.request_sha256 == request_sha256
    )
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def of_job(session: Session, job_id: str) -> OptimiserRow:
    """Return the optimiser that a job belongs to."""
    query = select(OptimiserRow).where(OptimiserRow.job_id == job_id)
    return session.scalars(query.execution_options(populate_existing=True)).one()


def of_study(session: Session, study_id: str) -> Sequence[OptimiserRow]:
    """Return the optimisers of a study, oldest first."""
    query = select(OptimiserRow).where(OptimiserRow.study_id == study_id)
    return session.scalars(query.order_by(OptimiserRow.id)).all()


def count_ready(session: Session, optimiser_id: str) -> int:
    """Return how many suggestions are ready."""
    query = select(func.count()).where(SuggestionRow.optimiser_id == optimiser_id)
    return session.scalars(query).one()


def ready(session: Session, optimiser_id: str) -> Sequence[SuggestionRow]:
    """Return and lock the suggestions that are ready, the first first."""
    query = select(SuggestionRow).where(SuggestionRow.optimiser_id == optimiser_id)
    return session.scalars(query.order_by(SuggestionRow.rank).with_for_update()).all()


def replace(session: Session, optimiser_id: str, rows: Sequence[dict[str, Any]]) -> None:
    """Withdraw every suggestion that is ready, and store others."""
    session.execute(delete(SuggestionRow).where(SuggestionRow.optimiser_id == optimiser_id))
    if rows:
        session.execute(insert(SuggestionRow), list(rows))


def keep_step(
    session: Session, optimiser_id: str, revision: int, step: dict[str, Any], now: datetime
) -> None:
    """Store what was thought at a revision; what was thought at it before is replaced."""
    key = {"optimiser_id": optimiser_id, "revision": revision}
    session.merge(OptimiserStepRow(**key, step=step, created_at=now))


def steps(session: Session, optimiser_id: str) -> Sequence[OptimiserStepRow]:
    """Return what was thought, oldest first."""
    query = select(OptimiserStepRow).where(OptimiserStepRow.optimiser_id == optimiser_id)
    return session.scalars(query.order_by(OptimiserStepRow.revision)).all()
