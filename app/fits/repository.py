"""Reads and writes fits: the only module that knows `FitRow`'s columns."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import Row, select
from sqlalchemy.orm import Session, defer, undefer

from app.auth.access import Principal
from app.db.models import FitRow, JobRow
from app.errors import NotFoundError
from app.fits.schemas import FitRead, FitSummary
from app.jobs.schemas import JobState, job_fields

FitAndJob: TypeAlias = Row[FitRow, JobRow]

_FITS = select(FitRow, JobRow).join(JobRow, FitRow.job_id == JobRow.id)


def find(session: Session, fit_id: str) -> FitAndJob | None:
    """Return the fit and its job, or None."""
    return session.execute(_FITS.where(FitRow.id == fit_id)).first()


def get(session: Session, principal: Principal, fit_id: str) -> FitAndJob:
    """Return the fit and its job.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: the principal may not touch its study.
    """
    row = find(session, fit_id)
    if row is None:
        raise NotFoundError("fit", fit_id)
    principal.require_study(row[0].study_id)
    return row


def of_job(session: Session, job_id: str) -> FitRow:
    """Return the fit that the job is to do."""
    return session.scalars(select(FitRow).where(FitRow.job_id == job_id)).one()


def page(session: Session, study_id: str, limit: int, cursor: str | None) -> Sequence[FitAndJob]:
    """Return up to `limit + 1` fits after `cursor`, oldest first, without their reports."""
    query = _FITS.where(FitRow.study_id == study_id).options(defer(FitRow.report))
    if cursor is not None:
        query = query.where(FitRow.id > cursor)
    return session.execute(query.order_by(FitRow.id).limit(limit + 1)).all()


def latest_succeeded(
    session: Session, study_id: str, study_version: int, request: dict[str, Any]
) -> FitAndJob | None:
    """Return the study's latest successful fit of this very request and study version."""
    query = (
        _FITS.where(FitRow.study_id == study_id, JobRow.state == JobState.SUCCEEDED)
        .where(FitRow.study_version == study_version)
        .options(defer(FitRow.report))
        .order_by(FitRow.id.desc())
        .limit(20)
    )
    rows = session.execute(query)
    return next((row for row in rows if row[0].request == request), None)


def model_bytes(session: Session, fit_id: str) -> bytes:
    """Return the fitted model as it is stored."""
    query = select(FitRow).where(FitRow.id == fit_id).options(undefer(FitRow.model))
    model = session.scalars(query.execution_options(populate_existing=True)).one().model
    assert model is not None  # noqa: S101  - it is stored together with the success of its job
    return model


_SHOWN = ("chosen", "runs_used", "runs_available", "metrics", "objective", "transfer", "warnings")


def to_summary(row: FitAndJob) -> FitSummary:
    """Return the fit as it is listed."""
    return FitSummary(**_fields(row))


def to_read(row: FitAndJob) -> FitRead:
    """Return the fit as it is answered."""
    report = row[0].report or {}
    shown = {name: report[name] for name in _SHOWN if name in report}
    return FitRead(**_fields(row), fitted_fidelity=report.get("fidelity"), **shown)


def _fields(row: FitAndJob) -> dict[str, Any]:
    fit, job = row
    return {
        **job_fields(job),
        **fit.request,
        "id": fit.id,
        "study_id": fit.study_id,
        "runs_digest": fit.runs_digest,
        "study_version": fit.study_version,
    }
