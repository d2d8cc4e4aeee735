"""HTTP endpoints of trainings."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from app.auth.access import CurrentPrincipal, Scope, requires
from app.db.session import ReadSession, WriteSession, reading
from app.errors import problem_response
from app.idempotency import Answering
from app.studies import service as studies
from app.trainings import history, repository, service
from app.trainings.announcements import Announcements, until_newer
from app.trainings.schemas import (
    AckCreate,
    AckRead,
    DomainsCreate,
    EntryRead,
    EventRead,
    ObservationCreate,
    OutcomeRead,
    ResumeCreate,
    RollbackCreate,
    TrainingCreate,
    TrainingPatch,
    TrainingRead,
    TrainingSummary,
    WeightsRead,
)
from app.wire import Cursor, Limit, Page, conditional, is_known, not_modified, paginate

router = APIRouter(prefix="/v1/trainings", tags=["online reweighting"])
READER = [requires(Scope.READ)]
TRAINER = [requires(Scope.TRAIN, Scope.WRITE)]
PERSON = [requires(Scope.WRITE)]

After = Annotated[int | None, Query(ge=0, lt=2**31, description="a version that is known")]
Wait = Annotated[float, Query(ge=0, le=60, description="seconds to wait for a newer version")]


@router.post("", status_code=201, response_model=TrainingRead, dependencies=TRAINER)
def create_training(
    training: TrainingCreate, principal: CurrentPrincipal, session: WriteSession, answer: Answering
) -> Response:
    """Register a training; `requires` says what its trainer has to send."""
    created = service.create(session, principal, training)
    return answer(created, 201, {"Location": f"/v1/trainings/{created.id}"})


@router.get("", dependencies=READER)
def list_trainings(
    principal: CurrentPrincipal,
    session: ReadSession,
    study: Annotated[str | None, Query(max_length=200)] = None,
    name: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[TrainingSummary]:
    """List trainings, oldest first."""
    study_id = principal.study_id
    if study is not None:
        study_id = studies.find(session, principal, study).id
    rows, after = paginate(repository.page(session, limit, cursor, study_id, name), limit)
    return Page(items=[repository.to_summary(row) for row in rows], next_cursor=after)


@router.get("/{training}", response_model=TrainingRead, dependencies=READER)
def get_training(
    training: str, principal: CurrentPrincipal, session: ReadSession, request: Request
) -> Response:
    """Get a training, the weights in force, and what its trainer has to send."""
    return conditional(request, service.read(session, principal, training))


@router.patch("/{training}", dependencies=PERSON)
def replace_schedule(
    training: str, patch: TrainingPatch, principal: CurrentPrincipal, session: WriteSession
) -> OutcomeRead:
    """Have a training follow another schedule, which may differ in stages to come."""
    return service.follow(session, principal, training, patch)


@router.post("/{training}/observations", response_model=OutcomeRead, dependencies=TRAINER)
def observe(
    training: str,
    observation: ObservationCreate,
    principal: CurrentPrincipal,
    session: WriteSession,
) -> Response:
    """Tell what was measured at a step, and get the weights. Safe to repeat."""
    found = service.observe(session, principal, training, observation)
    if isinstance(found, service.Refused):  # answered, not raised: the count is to be stored
        problem = found.problem
        return problem_response(problem.status, str(problem), problem.errors)
    return Response(found.model_dump_json(), media_type="application/json")  # it was checked


@router.get("/{training}/weights", response_model=WeightsRead, dependencies=READER)
async def get_weights(
    training: str,
    principal: CurrentPrincipal,
    request: Request,
    after: After = None,
    wait: Wait = 0.0,
) -> Response:
    """Get the weights in force; with `after` and `wait`, hold until there is a newer version."""
    announcements: Announcements = request.app.state.announcements
    in_force = None if wait else announcements.polled(training)
    if in_force is not None and is_known(request, in_force.etag):
        principal.require_study(in_force.study_id or "")
        return not_modified(in_force.etag)
    sessions = request.app.state.sessions
    read = partial(service.weights, sessions, principal, training, announcements.known)
    known, seconds = (-1, 0.0) if after is None else (after, wait)
    return conditional(request, await until_newer(request, training, read, known, seconds))


@router.get("/{training}/report", response_class=HTMLResponse, dependencies=READER)
def get_report(training: str, principal: CurrentPrincipal, request: Request) -> Response:
    """Get a page with weights and losses over steps; in a browser it keeps up with the training."""
    with reading(request.app.state.sessions) as session:
        tag = history.tag_of(session, principal, training)
        if is_known(request, tag):
            return not_modified(tag)
        past = history.read(session, principal, training)
    from app.report.training_page import render_training  # loads what nothing else here needs

    return HTMLResponse(render_training(past), headers={"ETag": past.tag})


@router.get("/{training}/ledger", dependencies=READER)
def get_ledger(
    training: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[EntryRead]:
    """Get every version there was: published, proposed or void."""
    training_id = repository.get(session, principal, training).id
    found = repository.ledger(session, training_id, limit, _after(cursor))
    more = _cursor(found[limit - 1].version) if len(found) > limit else None
    return Page(items=found[:limit], next_cursor=more)


@router.get("/{training}/events", dependencies=READER)
def get_events(
    training: str,
    principal: CurrentPrincipal,
    session: ReadSession,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[EventRead]:
    """Get the log: what was told and decided, and what was answered."""
    training_id = repository.get(session, principal, training).id
    found = repository.events(session, training_id, limit, _after(cursor))
    more = _cursor(found[limit - 1].number) if len(found) > limit else None
    return Page(items=found[:limit], next_cursor=more)


def _cursor(number: int) -> str:
    return f"after_{number:x}"


def _after(cursor: str | None) -> int:
    return -1 if cursor is None else min(int(cursor.split("_")[1], 16), 2**31 - 1)


@router.post("/{training}/acks", dependencies=TRAINER)
def acknowledge(
    training: str, ack: AckCreate, principal: CurrentPrincipal, session: WriteSession
) -> AckRead:
    """Tell from which step on a version was really used. Safe to repeat."""
    return service.acknowledge(session, principal, training, ack)


@router.post("/{training}/resume", dependencies=TRAINER)
def resume(
    training: str, resume: ResumeCreate, principal: CurrentPrincipal, session: WriteSession
) -> OutcomeRead:
    """Go on from a checkpoint: the state is what it was at its step, later versions are void."""
    return service.resume(session, principal, training, resume)


@router.post("/{training}/rollback", dependencies=PERSON)
def roll_back(
    training: str, rollback: RollbackCreate, principal: CurrentPrincipal, session: WriteSession
) -> OutcomeRead:
    """Publish the weights of an old version as a new one."""
    return service.roll_back(session, principal, training, rollback.version)


@router.post("/{training}/versions/{version}/approve", dependencies=PERSON)
def approve(
    training: str,
    version: Annotated[int, Path(ge=0, lt=2**31)],
    principal: CurrentPrincipal,
    session: WriteSession,
) -> OutcomeRead:
    """Serve a proposed version."""
    return service.approve(session, principal, training, version)


@router.post("/{training}/domains", dependencies=PERSON)
def change_domains(
    training: str, domains: DomainsCreate, principal: CurrentPrincipal, session: WriteSession
) -> OutcomeRead:
    """Go on with other domains, by an explicit map from the old ones."""
    return service.change_domains(session, principal, training, domains)
