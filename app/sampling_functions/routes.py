"""HTTP endpoints of sampling functions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from app.auth.access import CurrentPrincipal, Scope, requires
from app.db.session import ReadSession, WriteSession, reading
from app.idempotency import Answering, ReplayedEarly
from app.sampling_functions import service
from app.sampling_functions.making import Made, make
from app.sampling_functions.schemas import (
    EvaluationCreate,
    EvaluationRead,
    SamplingFunctionCreate,
    SamplingFunctionItem,
    SamplingFunctionRead,
)
from app.wire import Cursor, Limit, Page, conditional, is_known, not_modified, paginate

router = APIRouter(prefix="/v1", tags=["sampling functions"])


async def _made(
    study: str,
    function: SamplingFunctionCreate,
    request: Request,
    principal: CurrentPrincipal,
    _early: Annotated[None, ReplayedEarly],
) -> Made:
    """Make the function before a transaction begins that others might wait for."""

    def work() -> Made:
        with reading(request.app.state.sessions) as session:
            return make(session, principal, study, function)

    return await run_in_threadpool(work)


@router.post(
    "/studies/{study}/sampling-functions",
    status_code=201,
    response_model=SamplingFunctionRead,
    dependencies=[requires(Scope.WRITE)],
)
def create_sampling_function(
    made: Annotated[Made, Depends(_made)], session: WriteSession, answer: Answering
) -> Response:
    """Make a sampling function of parameters, or of a recommendation, and the study's sample.

    The answer says what the function is expected to select. Parameters outside of what is searched
    are allowed, with a warning.
    """
    stored = service.store(session, made)
    return answer(stored, 201, {"Location": f"/v1/sampling-functions/{stored.id}"})


@router.get("/studies/{study}/sampling-functions", dependencies=[requires(Scope.READ)])
def list_sampling_functions(
    study: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[SamplingFunctionItem]:
    """List a study's sampling functions, oldest first, without the functions themselves."""
    rows, after = paginate(service.page(session, principal, study, limit, cursor), limit)
    return Page(items=[service.to_item(row) for row in rows], next_cursor=after)


@router.get(
    "/sampling-functions/{function}",
    response_model=SamplingFunctionRead,
    dependencies=[requires(Scope.READ)],
)
def get_sampling_function(
    function: str, principal: CurrentPrincipal, session: ReadSession, request: Request
) -> Response:
    """Get a sampling function with what it implies."""
    return conditional(request, service.to_read(service.find(session, principal, function)))


@router.get(
    "/sampling-functions/{function}/function.json",
    response_class=Response,
    responses={
        200: {
            "description": "the function alone",
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    },
    dependencies=[requires(Scope.READ)],
)
def get_function_file(
    function: str, principal: CurrentPrincipal, session: ReadSession, request: Request
) -> Response:
    """Get the very file that `mixwright sample apply --function` reads; its ETag is its digest."""
    row = service.find(session, principal, function)
    etag = f'"{row.sha256}"'
    if is_known(request, etag):
        return not_modified(etag)
    disposition = 'attachment; filename="function.json"'
    return Response(
        service.text_of(row),
        media_type="application/json",
        headers={"ETag": etag, "Content-Disposition": disposition},
    )


@router.post("/sampling-functions/{function}/evaluate", dependencies=[requires(Scope.READ)])
def evaluate_sampling_function(
    function: str, evaluation: EvaluationCreate, principal: CurrentPrincipal, session: ReadSession
) -> EvaluationRead:
    """Say what becomes of scored documents: ranks, expected copies, and copies by their ids."""
    return service.evaluate(service.find(session, principal, function), evaluation)
