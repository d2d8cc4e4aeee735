"""HTTP endpoints of schedules."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from app.auth.access import CurrentPrincipal, Scope, requires
from app.db.session import ReadSession, WriteSession, reading
from app.idempotency import Answering
from app.jobs.schemas import JobState
from app.jobs.waiting import until_ended
from app.schedules import repetition, repository, service
from app.schedules.schemas import MomentRead, RepetitionRead, ScheduleCreate, ScheduleRead
from app.studies import service as studies
from app.wire import Cursor, Limit, Page, Wait, conditional

router = APIRouter(prefix="/v1", tags=["schedules"])
READER = [requires(Scope.READ)]


@router.post(
    "/studies/{study}/schedules",
    status_code=201,
    response_model=ScheduleRead,
    responses={202: {"model": ScheduleRead, "description": "a worker plans it, as it needs fits"}},
    dependencies=[requires(Scope.WRITE)],
)
def create_schedule(
    study: str,
    schedule: ScheduleCreate,
    principal: CurrentPrincipal,
    session: WriteSession,
    answer: Answering,
) -> Response:
    """Plan stages over a token budget."""
    created = service.create(session, principal, study, schedule)
    status = 201 if created.state == JobState.SUCCEEDED else 202
    return answer(created, status, {"Location": f"/v1/schedules/{created.id}"})


@router.get("/studies/{study}/schedules", dependencies=READER)
def list_schedules(
    study: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[ScheduleRead]:
    """List schedules, oldest first."""
    rows = repository.page(session, studies.find(session, principal, study).id, limit, cursor)
    after = rows[limit - 1][0].id if len(rows) > limit else None
    return Page(items=[repository.to_read(row) for row in rows[:limit]], next_cursor=after)


@router.get("/schedules/{schedule}", response_model=ScheduleRead, dependencies=READER)
async def get_schedule(
    schedule: str, principal: CurrentPrincipal, request: Request, wait: Wait = 0.0
) -> Response:
    """Get a schedule; with `wait`, hold until it is planned."""

    def read() -> ScheduleRead:
        with reading(request.app.state.sessions) as session:
            return service.read(session, principal, schedule)

    return conditional(request, await until_ended(request, read, wait))


@router.get("/schedules/{schedule}/at", dependencies=READER)
def get_moment(
    schedule: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    token: Annotated[float, Query(ge=0, lt=1e18, allow_inf_nan=False)],
) -> MomentRead:
    """Get data, batch size and learning rate at a token, with its step."""
    return service.at(session, principal, schedule, token)


@router.get("/schedules/{schedule}/repetition", dependencies=READER)
def get_repetition(
    schedule: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    parameters: Annotated[float, Query(ge=1, lt=1e18, allow_inf_nan=False)],
) -> RepetitionRead:
    """Tell what the schedule's repeated tokens cost a model of so many parameters."""
    return repetition.cost(session, principal, schedule, parameters)


@router.get("/schedules/{schedule}/report", response_class=HTMLResponse, dependencies=READER)
def get_report(schedule: str, principal: CurrentPrincipal, session: ReadSession) -> HTMLResponse:
    """Get one self-contained page that draws the schedule."""
    planned, plan = service.load(session, principal, schedule)
    study = studies.read(session, principal, planned.study_id)
    from app.report.schedule_page import render_schedule  # loads what nothing else here needs

    return HTMLResponse(
        render_schedule(study.model_dump(mode="json"), planned.model_dump(mode="json"), plan)
    )
