"""HTTP endpoints of studies."""

from fastapi import APIRouter, Request, Response

from app.auth.access import CurrentPrincipal, Scope, requires
from app.db.session import ReadSession, WriteSession
from app.idempotency import Answering
from app.studies import repository, service
from app.studies.schemas import StudyCreate, StudyPatch, StudyRead
from app.wire import Cursor, Limit, Page, conditional, paginate

router = APIRouter(prefix="/v1/studies", tags=["studies"])


@router.post("", status_code=201, response_model=StudyRead, dependencies=[requires(Scope.WRITE)])
def create_study(
    study: StudyCreate, principal: CurrentPrincipal, session: WriteSession, answer: Answering
) -> Response:
    """Create a study."""
    created = service.create(session, principal, study)
    return answer(created, 201, {"Location": f"/v1/studies/{created.id}"})


@router.get("", dependencies=[requires(Scope.READ)])
def list_studies(
    principal: CurrentPrincipal, session: ReadSession, limit: Limit = 100, cursor: Cursor = None
) -> Page[StudyRead]:
    """List studies, oldest first."""
    rows, after = paginate(repository.page(session, principal, limit, cursor), limit)
    return Page(items=[repository.to_read(row) for row in rows], next_cursor=after)


@router.get("/{study}", response_model=StudyRead, dependencies=[requires(Scope.READ)])
def get_study(
    study: str, principal: CurrentPrincipal, session: ReadSession, request: Request
) -> Response:
    """Get a study by id or name."""
    return conditional(request, repository.to_read(repository.get(session, principal, study)))


@router.patch("/{study}", dependencies=[requires(Scope.WRITE)])
def update_study(
    study: str,
    patch: StudyPatch,
    principal: CurrentPrincipal,
    session: WriteSession,
    request: Request,
) -> StudyRead:
    """Change a study."""
    return service.update(session, principal, study, patch, request)


@router.delete("/{study}", status_code=204, dependencies=[requires(Scope.WRITE)])
def delete_study(study: str, principal: CurrentPrincipal, session: WriteSession) -> None:
    """Delete a study with everything that belongs to it."""
    service.remove(session, principal, study)
