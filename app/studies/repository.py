"""Reads and writes studies: the only module that knows `StudyRow`'s columns."""

from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.models import OptimiserRow, RunRow, StudyRow
from app.errors import NotFoundError
from app.studies.schemas import StudyRead


def get(session: Session, principal: Principal, study: str, *, lock: bool = False) -> StudyRow:
    """Return the study with this id or name.

    Raises:
        NotFoundError: there is none.
        ForbiddenError: the principal may not touch it.
    """
    query = select(StudyRow).where(or_(StudyRow.id == study, StudyRow.name == study))
    # Runs may still be stored meanwhile: their foreign key needs the study's key alone.
    row = session.scalar(query.with_for_update(key_share=True) if lock else query)
    if row is None:
        raise NotFoundError("study", study)
    principal.require_study(row.id)
    return row


def is_in_use(session: Session, study_id: str) -> bool:
    """Return whether the study has runs, or was ever asked for suggestions of runs."""
    runs = select(RunRow.id).where(RunRow.study_id == study_id).limit(1)
    asked = select(OptimiserRow.id).where(OptimiserRow.study_id == study_id).limit(1)
    return session.scalar(runs) is not None or session.scalar(asked) is not None


def page(
    session: Session, principal: Principal, limit: int, cursor: str | None
) -> Sequence[StudyRow]:
    """Return up to `limit + 1` studies after `cursor`, oldest first."""
    query = select(StudyRow).order_by(StudyRow.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(StudyRow.id > cursor)
    if principal.study_id is not None:
        query = query.where(StudyRow.id == principal.study_id)
    return session.scalars(query).all()


def to_read(row: StudyRow) -> StudyRead:
    """Return the study as it is answered."""
    return StudyRead(
        id=row.id,
        name=row.name,
        version=row.version,
        created_at=row.created_at,
        **row.definition,
    )
