"""HTTP endpoints of runs."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.auth.access import CurrentPrincipal, Scope, requires
from app.db.session import ReadSession, WriteSession, reading
from app.idempotency import Answering
from app.runs import repository, service
from app.runs.schemas import (
    BatchRead,
    PointSchema,
    PointsCreate,
    PointsRead,
    Retract,
    RunBatch,
    RunCreate,
    RunRead,
    RunState,
)
from app.runs.table import csv_lines
from app.studies import service as studies
from app.studies.spaces import Points
from app.wire import Cursor, Limit, Page, conditional

router = APIRouter(prefix="/v1", tags=["runs"])


@router.post(
    "/studies/{study}/runs",
    status_code=201,
    response_model=RunRead,
    responses={200: {"model": RunRead, "description": "stored before with the same content"}},
    dependencies=[requires(Scope.WRITE)],
)
def create_run(
    study: str,
    run: RunCreate,
    principal: CurrentPrincipal,
    session: WriteSession,
    answer: Answering,
) -> Response:
    """Store a run that has ended."""
    row, is_new = service.record(session, principal, study, run)
    read = service.read(session, row)
    return answer(read, 201 if is_new else 200, {"Location": f"/v1/runs/{read.id}"})


@router.post(
    "/studies/{study}/runs:batch",
    status_code=201,
    response_model=BatchRead,
    dependencies=[requires(Scope.WRITE)],
)
def create_runs(
    study: str,
    batch: RunBatch,
    principal: CurrentPrincipal,
    session: WriteSession,
    answer: Answering,
) -> Response:
    """Store up to 10,000 runs, all or none."""
    return answer(service.record_batch(session, principal, study, batch.runs), 201)


@router.get(
    "/studies/{study}/runs",
    response_model=Page[RunRead],
    dependencies=[requires(Scope.READ)],
)
def list_runs(
    study: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    state: RunState | None = None,
    fidelity: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List runs, oldest first."""
    row = studies.find(session, principal, study)
    rows = repository.page(session, row.id, limit, cursor, state, fidelity)
    after = rows[limit - 1]["id"] if len(rows) > limit else None
    points = Points(row.definition)
    items = [RunRead(**repository.to_read(run, points)) for run in rows[:limit]]
    page = Page[RunRead](items=items, next_cursor=after)
    return Response(page.model_dump_json(), media_type="application/json")


@router.get(
    "/studies/{study}/runs.csv",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}}, "description": "all runs of the study"}},
    dependencies=[requires(Scope.READ)],
)
def export_runs(
    study: str, principal: CurrentPrincipal, session: ReadSession, request: Request
) -> StreamingResponse:
    """Get all runs as CSV."""
    row = studies.find(session, principal, study)
    study_id, definition, sessions = row.id, row.definition, request.app.state.sessions

    def lines() -> Iterator[str]:
        with reading(sessions) as own_session:  # the request's has ended when this runs
            yield from csv_lines(definition, repository.stream(own_session, study_id))

    return StreamingResponse(
        lines(),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{study_id}-runs.csv"'},
    )


@router.get("/runs/{run}", response_model=RunRead, dependencies=[requires(Scope.READ)])
def get_run(
    run: str, principal: CurrentPrincipal, session: ReadSession, request: Request
) -> Response:
    """Get a run."""
    row = repository.get(session, principal, run)
    return conditional(request, service.read(session, row))


@router.get("/runs/{run}/points", dependencies=[requires(Scope.READ)])
def list_points(run: str, principal: CurrentPrincipal, session: ReadSession) -> PointsRead:
    """Get the points of a run's loss curve."""
    repository.get(session, principal, run)
    return _curve(repository.points(session, run))


@router.post("/runs/{run}/points", dependencies=[requires(Scope.WRITE, Scope.TRAIN)])
def add_points(
    run: str, points: PointsCreate, principal: CurrentPrincipal, session: WriteSession
) -> PointsRead:
    """Add points to a run's loss curve."""
    return _curve(service.add_points(session, principal, run, points))


@router.post("/runs/{run}/retract", dependencies=[requires(Scope.WRITE)])
def retract_run(
    run: str, retract: Retract, principal: CurrentPrincipal, session: WriteSession
) -> RunRead:
    """Take a run out of all later fits, and say why."""
    return service.read(session, service.retract(session, principal, run, retract.reason))


def _curve(points: dict[float, dict[str, float]]) -> PointsRead:
    return PointsRead(
        points=[PointSchema(tokens=tokens, metrics=metrics) for tokens, metrics in points.items()]
    )
