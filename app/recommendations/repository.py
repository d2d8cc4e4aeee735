"""Reads and writes recommendations: the only module that knows `RecommendationRow`'s columns."""

from collections.abc import Sequence
from typing import TypeAlias

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.models import JobRow, RecommendationRow
from app.errors import NotFoundError
from app.jobs.schemas import JobState, job_fields
from app.recommendations.schemas import RecommendationRead

RecommendationAndJob: TypeAlias = Row[RecommendationRow, JobRow]

_ECHOED = ("method", "candidates", "top_k", "kl_to_prior", "selected_tokens", "seed")
_RECOMMENDATIONS = select(RecommendationRow, JobRow).join(
    JobRow, RecommendationRow.job_id == JobRow.id
)


def get(session: Session, principal: Principal, identity: str) -> RecommendationAndJob:
    """Return the recommendation and its job.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: the principal may not touch its study.
    """
    row = session.execute(_RECOMMENDATIONS.where(RecommendationRow.id == identity)).first()
    if row is None:
        raise NotFoundError("recommendation", identity)
    principal.require_study(row[0].study_id)
    return row


def of_job(session: Session, job_id: str) -> RecommendationRow:
    """Return the recommendation that the job is to make."""
    query = select(RecommendationRow).where(RecommendationRow.job_id == job_id)
    return session.scalars(query).one()


def page(
    session: Session, study_id: str, limit: int, cursor: str | None
) -> Sequence[RecommendationAndJob]:
    """Return up to `limit + 1` recommendations after `cursor`, oldest first."""
    query = _RECOMMENDATIONS.where(RecommendationRow.study_id == study_id)
    if cursor is not None:
        query = query.where(RecommendationRow.id > cursor)
    return session.execute(query.order_by(RecommendationRow.id).limit(limit + 1)).all()


def latest(session: Session, study_id: str) -> RecommendationAndJob | None:
    """Return the study's latest recommendation that succeeded, or None."""
    query = _RECOMMENDATIONS.where(
        RecommendationRow.study_id == study_id, JobRow.state == JobState.SUCCEEDED
    )
    return session.execute(query.order_by(RecommendationRow.id.desc()).limit(1)).first()


def to_read(row: RecommendationAndJob, runs_available: int) -> RecommendationRead:
    """Return the recommendation as it is answered."""
    recommendation, job = row
    fields = {
        **job_fields(job),
        **{name: recommendation.request.get(name) for name in _ECHOED},
        **(recommendation.result or {}),
        "id": recommendation.id,
        "study_id": recommendation.study_id,
        "fit": recommendation.fit_id,
        "runs_available": runs_available,
        "digest": recommendation.digest,
    }
    return RecommendationRead(**fields)
