"""What the service does with schedules: plan them, at once or in a worker, and read them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy.orm import Session

import mixwright
from app.auth.access import Principal
from app.db.models import ScheduleRow, StudyRow
from app.db.session import Bell, Sessions, reading, writing
from app.errors import ConflictError, FieldError, NotFoundError
from app.identifiers import new_id
from app.jobs import service as jobs
from app.jobs.schemas import JobState
from app.jobs.service import Lease
from app.recommendations import service as recommendations
from app.recommendations.service import content_digest
from app.runs.validation import normalise, wrong_mixture
from app.schedules import planning, repository, trajectories
from app.schedules.schemas import MomentRead, ScheduleCreate, ScheduleRead
from app.studies import service as studies
from app.studies.definition import to_core
from app.studies.spaces import kind_of
from app.wire import refuse
from mixwright.errors import InvalidInputError
from mixwright.schedules import Planner, Schedule, build_planner
from mixwright.schedules.regmix_d import RegmixD
from mixwright.schedules.static import Static
from mixwright.schedules.steps import spans_of
from mixwright.spaces import MIXTURE

KIND: Final = "schedule"
QUEUE: Final = "fit"


@dataclass(frozen=True, slots=True)
class _Start:
    """The mixture to begin with, and where it is from."""

    weights: dict[str, float]
    origin: str
    recommendation: str | None = None


def create(
    session: Session, principal: Principal, study: str, asked: ScheduleCreate
) -> ScheduleRead:
    """Plan a schedule; one that needs fits is planned by a worker.

    Raises:
        NotFoundError: no such study.
        ConflictError: the recommendation has not succeeded, or the study is not of mixtures.
        InvalidRequestError, InvalidInputError: names what is wrong.
    """
    row = studies.find(session, principal, study)
    _require_mixtures(row)
    planner = build_planner(asked.planner, asked.options)
    refuse([*_wrong_fields(row, asked, planner)])
    start = _start(session, principal, row, asked, planner)
    if isinstance(planner, RegmixD):
        return _ask(session, principal, row, asked, planner)
    around = _around(session, principal, row, asked)
    budget = asked.budget.model_dump()
    if asked.within is not None:
        budget["tokens"] -= asked.within.begin
    try:
        problem = planning.problem_of(row.definition, budget, start.weights, asked.documents)
    except InvalidInputError as error:
        raise planning.refusal(error, asked.planner) from error
    result = planning.planned(planner, problem, row.definition, asked.planner, around)
    result["provenance"] = _provenance(row, start, asked)
    return _store(session, principal, row, asked, result)


def _require_mixtures(study: StudyRow) -> None:
    kind = kind_of(study.definition)
    if kind != MIXTURE.kind:
        raise ConflictError(
            f"the study '{study.name}' searches a space of the kind '{kind}', and a schedule plans "
            "mixtures of domains; create a study of mixtures, or give its sampling function's "
            "implied mixture there as weights"
        )


def _wrong_fields(study: StudyRow, asked: ScheduleCreate, planner: Planner) -> Iterator[FieldError]:
    domains = [domain["name"] for domain in study.definition["domains"]]
    if asked.weights is not None:
        yield from wrong_mixture(asked.weights, domains, "study", "weights")
        if asked.recommendation is not None:
            detail = "give weights or a recommendation, not both"
            yield FieldError(pointer="/weights", detail=detail)
    if asked.documents is not None:
        yield from planning.wrong_documents(asked.documents, domains)
    if isinstance(planner, RegmixD):
        detail = f"'{asked.planner}' plans a whole training by fits; leave it out"
        yield from _sent(asked, ("weights", "recommendation", "documents", "within"), detail)
    if _is_unimax(planner):
        detail = "UniMax's shares follow from the tokens of the domains; leave it out"
        yield from _sent(asked, ("weights", "recommendation"), detail)


def _sent(asked: ScheduleCreate, names: tuple[str, ...], detail: str) -> Iterator[FieldError]:
    for name in names:
        if getattr(asked, name) is not None:
            yield FieldError(pointer=f"/{name}", detail=detail)


def _is_unimax(planner: Planner) -> bool:
    return isinstance(planner, Static) and planner.shares == "unimax"


def _start(
    session: Session,
    principal: Principal,
    study: StudyRow,
    asked: ScheduleCreate,
    planner: Planner,
) -> _Start:
    prior = {one["name"]: one["prior"] for one in study.definition["domains"]}
    if _is_unimax(planner):
        return _Start(prior, "unimax")
    if asked.weights is not None:
        return _Start(_normalised(study, asked.weights), "given")
    if asked.recommendation is not None:
        return _recommended(session, principal, study, asked.recommendation)
    try:
        latest = recommendations.read_latest(session, principal, study.id)
    except NotFoundError:
        return _Start(prior, "prior")
    return _recommended(session, principal, study, latest.id)


def _around(
    session: Session, principal: Principal, study: StudyRow, asked: ScheduleCreate
) -> Schedule | None:
    """Return the schedule of the whole training, if the data of its end is to be planned."""
    if asked.within is None:
        return None
    try:
        found, schedule = load(session, principal, asked.within.schedule)
    except NotFoundError:
        found = None
    if found is None or found.study_id != study.id:
        detail = f"'{asked.within.schedule}' is not a schedule of this study"
        refuse([FieldError(pointer="/within/schedule", detail=detail)])
    assert found is not None  # noqa: S101  - refused
    if asked.budget != found.budget:
        detail = "the budget has to be that of the schedule around it"
        refuse([FieldError(pointer="/budget", detail=detail)])
    if asked.within.begin >= found.budget.tokens:
        detail = f"the training ends at token {found.budget.tokens:g}"
        refuse([FieldError(pointer="/within/begin", detail=detail)])
    return schedule


def _normalised(study: StudyRow, weights: dict[str, float]) -> dict[str, float]:
    return normalise(weights, [domain["name"] for domain in study.definition["domains"]])[0]


def _recommended(session: Session, principal: Principal, study: StudyRow, identity: str) -> _Start:
    try:
        found = recommendations.read(session, principal, identity)
    except NotFoundError:
        found = None
    if found is None or found.study_id != study.id:
        detail = f"'{identity}' is not a recommendation of this study"
        refuse([FieldError(pointer="/recommendation", detail=detail)])
    assert found is not None  # noqa: S101  - refused
    recommendations.require_succeeded(found)
    weights = {name: max(0.0, weight) for name, weight in (found.weights or {}).items()}
    names = [domain["name"] for domain in study.definition["domains"]]
    if set(weights) != set(names):
        raise ConflictError(
            f"the study's domains have changed since the recommendation '{identity}'; recommend "
            "again, or give weights"
        )
    return _Start(_normalised(study, weights), "recommendation", identity)


def _provenance(study: StudyRow, start: _Start, asked: ScheduleCreate) -> dict[str, Any]:
    documents = asked.documents
    return {
        "weights": start.origin,
        "recommendation": start.recommendation,
        "documents": None if documents is None else planning.about_documents(documents),
        "study_version": study.version,
        "seed": asked.seed,
        "version": mixwright.__version__,
    }


def _store(
    session: Session,
    principal: Principal,
    study: StudyRow,
    asked: ScheduleCreate,
    result: dict[str, Any] | None,
    job_id: str | None = None,
) -> ScheduleRead:
    row = ScheduleRow(
        id=new_id("sch"),
        study_id=study.id,
        job_id=job_id,
        request=asked.model_dump(mode="json", exclude={"documents"}),
        result=result,
        digest=None if result is None else content_digest(result),
        created_at=datetime.now(UTC),
    )
    session.add(row)
    session.flush()
    return read(session, principal, row.id)


def _ask(
    session: Session,
    principal: Principal,
    study: StudyRow,
    asked: ScheduleCreate,
    planner: RegmixD,
) -> ScheduleRead:
    """Ask a worker for a schedule that needs fits."""
    given = trajectories.read(session, study.id, to_core(study.definition), asked.seed)
    try:
        problem = planning.problem_of(study.definition, asked.budget.model_dump(), {})
        refuse([*trajectories.wrong_ends(planner, given, problem.budget)])
    except InvalidInputError as error:
        raise planning.refusal(error, asked.planner) from error
    job = jobs.create(session, study.id, KIND, QUEUE)
    return _store(session, principal, study, asked, None, job.id)


def work(sessions: Sessions, ring: Bell, lease: Lease, report: Callable[[float], None]) -> None:
    """Plan a schedule in a worker and store it with its job's success.

    Raises:
        MixwrightError, InvalidRequestError: no schedule can be planned.
        LeaseLostError: the job is not this worker's any more; nothing was stored.
    """
    with reading(sessions) as session:
        row = repository.of_job(session, lease.job_id)
        asked = ScheduleCreate.model_validate(row.request)
        stored = studies.load(session, row.study_id)
        given = trajectories.read(
            session, stored.id, to_core(stored.definition), asked.seed, report
        )
    from mixwright.fitting import runs_digest  # loads scipy.stats, which the API does not need

    start = _Start({one["name"]: one["prior"] for one in stored.definition["domains"]}, "fits")
    problem = planning.problem_of(
        stored.definition, asked.budget.model_dump(), start.weights, None, given
    )
    planner = build_planner(asked.planner, asked.options)
    result = planning.planned(planner, problem, stored.definition, asked.planner)
    digest = runs_digest(given.study, given.runs)
    result["provenance"] = {**_provenance(stored, start, asked), "runs_digest": digest}
    with writing(sessions, ring) as session:
        jobs.succeed(session, lease)
        row = repository.of_job(session, lease.job_id)
        row.result, row.digest = result, content_digest(result)


def read(session: Session, principal: Principal, identity: str) -> ScheduleRead:
    """Return the schedule as it is answered.

    Raises:
        NotFoundError, ForbiddenError: see `app.schedules.repository.get`.
    """
    return repository.to_read(repository.get(session, principal, identity))


def load(session: Session, principal: Principal, identity: str) -> tuple[ScheduleRead, Schedule]:
    """Return a schedule that has been planned, as it is answered and as the core's.

    Raises:
        NotFoundError, ForbiddenError: see `app.schedules.repository.get`.
        ConflictError: it is not planned yet, or could not be; says why.
    """
    found = read(session, principal, identity)
    if found.state in (JobState.FAILED, JobState.CANCELLED):
        reason = (found.error or {}).get("detail", "it was cancelled")
        raise ConflictError(f"the schedule '{found.id}' could not be planned: {reason}")
    if found.state != JobState.SUCCEEDED:
        raise ConflictError(f"the schedule '{found.id}' is {found.state}; wait until it is planned")
    return found, repository.to_core(found)


def at(session: Session, principal: Principal, identity: str, token: float) -> MomentRead:
    """Return what is trained on at a token; raises as `load` does.

    Raises:
        InvalidInputError: the token is not of this training.
    """
    _, schedule = load(session, principal, identity)
    stage = schedule.stage_at(token)
    spans = [one for one in spans_of(schedule) if one.start_token <= token < one.end_token]
    if not spans:
        batch = schedule.budget.rounded(stage.batch.at(token))
        step, rate = None, stage.rate.at(token)
    else:
        # A step belongs to the stage that it begins in, though it may reach into the next.
        (span,), stage = spans, schedule.stages[spans[0].stage]
        batch = span.batch_tokens
        ordinal = int(token - span.start_token) // batch
        step = span.first_step + ordinal
        rate = stage.rate.of_step(span.start_token + ordinal * batch, batch)
    return MomentRead(
        token=token,
        step=step,
        stage=stage.name,
        index=schedule.stages.index(stage),
        weights=None if stage.weights is None else dict(stage.weights),
        selection=None if stage.selection is None else dict(stage.selection),
        batch_tokens=batch,
        learning_rate=rate,
    )
