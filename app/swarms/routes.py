"""HTTP endpoints of swarms, and of the groups that workers train."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from app.auth.access import CurrentPrincipal, Scope, requires
from app.db.session import ReadSession, WriteSession, reading
from app.idempotency import Answering
from app.jobs.waiting import until_ended
from app.studies import service as studies
from app.swarms import comparing, groups, repository, scheduled, service
from app.swarms import reading as swarm_reading
from app.swarms.schedule_schemas import ComparisonRead
from app.swarms.schemas import (
    Claim,
    ClaimRead,
    GroupComplete,
    GroupFail,
    GroupHeartbeat,
    GroupHeartbeatRead,
    GroupRead,
    SwarmCreate,
    SwarmRead,
)
from app.wire import Cursor, Limit, Page, Wait, conditional, paginate

router = APIRouter(prefix="/v1", tags=["swarms"])
WORKER = [requires(Scope.TRAIN)]


@router.post(
    "/studies/{study}/swarms",
    status_code=202,
    response_model=SwarmRead,
    dependencies=[requires(Scope.WRITE)],
)
def create_swarm(
    study: str,
    swarm: SwarmCreate,
    principal: CurrentPrincipal,
    session: WriteSession,
    answer: Answering,
) -> Response:
    """Ask for a swarm of proxy runs; training workers do it."""
    created = service.create(session, principal, study, swarm)
    return answer(created, 202, {"Location": f"/v1/swarms/{created.id}"})


@router.get("/studies/{study}/swarms", dependencies=[requires(Scope.READ)])
def list_swarms(
    study: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[SwarmRead]:
    """List swarms, oldest first."""
    study_id = studies.find(session, principal, study).id
    rows, after = paginate(repository.page(session, study_id, limit, cursor), limit)
    return Page(items=[swarm_reading.to_read(session, row) for row in rows], next_cursor=after)


@router.get("/swarms/{swarm}", response_model=SwarmRead, dependencies=[requires(Scope.READ)])
async def get_swarm(
    swarm: str, principal: CurrentPrincipal, request: Request, wait: Wait = 0.0
) -> Response:
    """Get a swarm and how far it has come; with `wait`, hold until it has ended."""

    def read() -> SwarmRead:
        with reading(request.app.state.sessions) as session:
            return service.read(session, principal, swarm)

    return conditional(request, await until_ended(request, read, wait))


@router.get("/swarms/{swarm}/comparison", dependencies=[requires(Scope.READ)])
def compare_schedules(
    swarm: str, principal: CurrentPrincipal, session: ReadSession
) -> ComparisonRead:
    """Compare the schedules of a swarm with the first of them, so far as runs have ended."""
    return comparing.compare(session, principal, swarm)


@router.get(
    "/swarms/{swarm}/report",
    response_class=HTMLResponse,
    dependencies=[requires(Scope.READ)],
)
def get_report(swarm: str, principal: CurrentPrincipal, session: ReadSession) -> HTMLResponse:
    """Get one self-contained page on how the schedules of a swarm compare."""
    comparison = comparing.compare(session, principal, swarm)
    row = repository.get(session, principal, swarm)
    study = studies.read(session, principal, row.study_id)
    from app.report.comparison_page import render_comparison  # loads what nothing else here needs

    return HTMLResponse(
        render_comparison(
            study.model_dump(mode="json"),
            comparison.model_dump(mode="json"),
            scheduled.schedules_of(row),
        )
    )


@router.post("/swarms/{swarm}/cancel", dependencies=[requires(Scope.WRITE)])
def cancel_swarm(swarm: str, principal: CurrentPrincipal, session: WriteSession) -> SwarmRead:
    """Cancel a swarm; workers stop within a step. Runs that have ended keep their results."""
    return service.cancel(session, principal, swarm)


@router.get("/groups/{group}", dependencies=[requires(Scope.READ)])
def get_group(group: str, principal: CurrentPrincipal, session: ReadSession) -> GroupRead:
    """Get a group of a swarm."""
    return groups.read(session, principal, group)


@router.post(
    "/groups/{group}/claim",
    response_model=ClaimRead,
    responses={204: {"description": "nothing to train: it is held, has ended, or waits"}},
    dependencies=WORKER,
)
def claim_group(
    group: str, claim: Claim, principal: CurrentPrincipal, session: WriteSession
) -> ClaimRead | Response:
    """Lease a group and its runs to a worker."""
    return groups.claim(session, principal, group, claim) or Response(status_code=204)


@router.post("/groups/{group}/heartbeat", dependencies=WORKER)
def beat_group(
    group: str, heartbeat: GroupHeartbeat, principal: CurrentPrincipal, session: WriteSession
) -> GroupHeartbeatRead:
    """Hold on to a group, with progress and new points of loss curves; 409 says to stop."""
    return groups.heartbeat(session, principal, group, heartbeat)


@router.post("/groups/{group}/complete", dependencies=WORKER)
def complete_group(
    group: str, complete: GroupComplete, principal: CurrentPrincipal, session: WriteSession
) -> GroupRead:
    """End a group whose runs have all been reported."""
    return groups.complete(session, principal, group, complete)


@router.post("/groups/{group}/fail", dependencies=WORKER)
def fail_group(
    group: str, fail: GroupFail, principal: CurrentPrincipal, session: WriteSession
) -> GroupRead:
    """Give a group up, with every run of it that has not ended."""
    return groups.fail(session, principal, group, fail)
