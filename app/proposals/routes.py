"""HTTP endpoints of ask and tell."""

from fastapi import APIRouter, Response

from app.auth.access import CurrentPrincipal, Scope, requires
from app.db.session import ReadSession, WriteSession
from app.idempotency import Answering
from app.proposals import leases, service
from app.proposals.preparing import Prepared
from app.proposals.schemas import (
    Ask,
    AttemptsRead,
    Complete,
    Fail,
    Heartbeat,
    HeartbeatRead,
    ProposalsRead,
)
from app.runs import service as runs
from app.runs.schemas import RunRead

router = APIRouter(prefix="/v1", tags=["ask and tell"])
HOLDER = [requires(Scope.TRAIN, Scope.WRITE)]


@router.post(
    "/studies/{study}/proposals",
    status_code=201,
    response_model=ProposalsRead,
    dependencies=HOLDER,
)
def ask(
    study: str,
    ask: Ask,
    _: Prepared,
    principal: CurrentPrincipal,
    session: WriteSession,
    answer: Answering,
) -> Response:
    """Lease runs to train; `shortfall` says why fewer came than were asked for."""
    return answer(service.ask(session, principal, study, ask), 201)


@router.post("/runs/{run}/heartbeat", dependencies=HOLDER)
def heartbeat(
    run: str, heartbeat: Heartbeat, principal: CurrentPrincipal, session: WriteSession
) -> HeartbeatRead:
    """Hold on to a leased run; 409 says to stop training it."""
    return leases.heartbeat(session, principal, run, heartbeat)


@router.post("/runs/{run}/complete", dependencies=HOLDER)
def complete(
    run: str, complete: Complete, principal: CurrentPrincipal, session: WriteSession
) -> RunRead:
    """Report what a leased run showed. Safe to repeat; never too late."""
    return runs.read(session, leases.complete(session, principal, run, complete))


@router.post("/runs/{run}/fail", dependencies=HOLDER)
def fail(run: str, fail: Fail, principal: CurrentPrincipal, session: WriteSession) -> RunRead:
    """Report that a leased run will have no result."""
    return runs.read(session, leases.fail(session, principal, run, fail))


@router.get("/runs/{run}/attempts", dependencies=[requires(Scope.READ)])
def list_attempts(run: str, principal: CurrentPrincipal, session: ReadSession) -> AttemptsRead:
    """Get what the holders of a run answered, with those that came when it had its result."""
    return leases.attempts(session, principal, run)
