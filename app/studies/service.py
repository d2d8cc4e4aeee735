"""What the service does with studies."""

from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.db.models import RunCountRow, StudyRow
from app.errors import ConflictError, FieldError, ForbiddenError, pointer
from app.identifiers import new_id
from app.studies import repository
from app.studies.definition import complete
from app.studies.schemas import SpaceSchema, StudyCreate, StudyPatch, StudyRead
from app.studies.space_rules import complete_space
from app.wire import refuse, require_match


def create(session: Session, principal: Principal, asked: StudyCreate) -> StudyRead:
    """Store a new study.

    Raises:
        ConflictError: the name is taken.
        ForbiddenError: the token is bound to another study.
        InvalidRequestError: see `app.studies.definition.complete`.
    """
    if principal.study_id is not None:
        raise ForbiddenError("a token that is bound to a study cannot create another")
    row = StudyRow(
        id=new_id("study"),
        name=asked.name,
        definition=complete(asked),
        version=1,
        created_at=datetime.now(UTC),
    )
    session.add(row)
    _flush_name(session, asked.name)
    session.add(RunCountRow(study_id=row.id, succeeded=0))
    return repository.to_read(row)


def find(session: Session, principal: Principal, study: str, *, lock: bool = False) -> StudyRow:
    """Return the study with this id or name, for other features.

    Raises:
        NotFoundError, ForbiddenError: see `app.studies.repository.get`.
    """
    return repository.get(session, principal, study, lock=lock)


def read(session: Session, principal: Principal, study: str) -> StudyRead:
    """Return the study as it is answered, for other features.

    Raises:
        NotFoundError, ForbiddenError: see `app.studies.repository.get`.
    """
    return repository.to_read(repository.get(session, principal, study))


def load(session: Session, study_id: str) -> StudyRow:
    """Return the study with this id, for workers, who may touch every study."""
    return session.get_one(StudyRow, study_id)


def update(
    session: Session, principal: Principal, study: str, patch: StudyPatch, request: Request
) -> StudyRead:
    """Change a study; `If-Match` guards against lost updates.

    Raises:
        NotFoundError, PreconditionError, ConflictError, InvalidRequestError.
    """
    row = repository.get(session, principal, study, lock=True)
    require_match(request, repository.to_read(row))
    changes = patch.model_dump(mode="json", exclude_none=True)
    merged = StudyCreate.model_validate({**row.definition, "name": row.name, **changes})
    definition = complete(merged)
    refuse(
        [
            error
            for field in ("domains", "metrics", "fidelities")
            for error in _lost_names(field, row.definition[field], definition[field])
        ]
    )
    _refuse_other_space(session, row, definition)
    row.name, row.definition, row.version = merged.name, definition, row.version + 1
    _flush_name(session, merged.name)
    return repository.to_read(row)


def _refuse_other_space(session: Session, row: StudyRow, after: dict[str, Any]) -> None:
    stored = row.definition.get("space", {"kind": "mixture"})
    before = complete_space(SpaceSchema.model_validate(stored))  # there were fewer defaults once
    if after["space"] != before and repository.is_in_use(session, row.id):
        detail = f"the study has runs of the space {before}; create another study for another space"
        refuse([FieldError(pointer="/space", detail=detail)])


def _flush_name(session: Session, name: str) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise ConflictError(f"there is a study named '{name}' already") from error


def _lost_names(
    field: str, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> list[FieldError]:
    kept = [item["name"] for item in after][: len(before)]
    wanted = [item["name"] for item in before]
    if kept == wanted and (field != "domains" or len(after) == len(before)):
        return []
    rule = "stay as they are" if field == "domains" else "come first, in their order"
    return [FieldError(pointer=pointer(field), detail=f"the {field} {wanted} have to {rule}")]


def remove(session: Session, principal: Principal, study: str) -> None:
    """Delete a study with all its runs, fits and recommendations."""
    session.delete(repository.get(session, principal, study, lock=True))
