"""The ready queue: a worker computes suggestions ahead, an ask takes them.

An optimiser is one way of asking (fidelity, seed, options) in one study, with one job. Its job is
queued again with every result, and when half of the suggestions are taken, and replaces all that is
ready: suggestions that a result made stale are withdrawn when better ones are there.
An ask waits for suggestions that know every result there was when it came, for as long as it says,
and then takes what is ready. Nothing depends on a job having been queued: an ask looks for itself.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import Enum, auto
from typing import Any, Final

from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.celery_app import SUGGEST
from app.db.clock import database_now
from app.db.models import OptimiserRow, StudyRow
from app.db.session import Bell, Sessions, reading, writing
from app.errors import ConflictError
from app.identifiers import new_id
from app.jobs import service as jobs
from app.jobs.schemas import JobState
from app.jobs.service import Lease
from app.proposals import budget
from app.proposals.repository import unended
from app.runs import service as runs
from app.studies import service as studies
from app.suggestions import repository
from app.suggestions.asking import Proposal, Question, Thought
from app.suggestions.schemas import OptimisationRead, OptimisationsRead, Reason, Step, StepRead
from app.suggestions.situation import look

KIND: Final = "suggestions"
AHEAD = 4  # suggestions kept ready, or as many as were asked for at once
_WATCH = timedelta(hours=1)  # after an ask, for how long results are thought about as they come
_TRY_AGAIN = timedelta(seconds=60)  # after a failure that no result has followed


class Look(Enum):
    """What an ask sees: suggestions, a job that is about to bring them, or neither."""

    READY = auto()
    SOON = auto()
    NOBODY_AT_IT = auto()


def look_for(session: Session, study: StudyRow, asked: Question, count: int, revision: int) -> Look:
    """Return whether `count` suggestions that know the runs' `revision` are ready."""
    optimiser = repository.find(session, study.id, asked.sha256)
    if optimiser is None:
        return Look.NOBODY_AT_IT
    job = jobs.get(session, optimiser.job_id)
    if _is_current(optimiser, study, revision) and _has(session, optimiser, study, count):
        return Look.READY
    if not JobState(job.state).is_end:
        return Look.SOON
    has_just_failed = job.state == JobState.FAILED and (
        job.ended_at is not None and job.ended_at > database_now(session) - _TRY_AGAIN
    )
    return Look.READY if has_just_failed else Look.NOBODY_AT_IT


def prepare(session: Session, study: StudyRow, asked: Question, count: int) -> None:
    """See to it that suggestions are computed; the caller holds the study's lock."""
    optimiser = repository.find(session, study.id, asked.sha256) or _create(session, study, asked)
    optimiser.ahead = max(AHEAD, count)
    jobs.restart(session, jobs.lock(session, optimiser.job_id))
    runs.watch(session, study.id, database_now(session) + _WATCH)


def take(session: Session, study: StudyRow, asked: Question, count: int) -> Thought:
    """Take up to `count` suggestions; the caller holds the study's lock and stores their runs.

    Raises:
        ConflictError: nothing could be computed, and why.
    """
    optimiser = repository.find(session, study.id, asked.sha256) or _create(session, study, asked)
    job = jobs.lock(session, optimiser.job_id)  # before the suggestions, as a worker does
    if job.state == JobState.FAILED:
        raise ConflictError(f"nothing can be suggested: {(job.error or {}).get('detail', '')}")
    taken, reason = _affordable(session, optimiser, study, count)
    if taken and 2 * repository.count_ready(session, optimiser.id) < optimiser.ahead:
        jobs.restart(session, job)
    step = None if optimiser.step is None else Step(**optimiser.step)
    return Thought(taken, reason, step)


def _affordable(
    session: Session, optimiser: OptimiserRow, study: StudyRow, count: int
) -> tuple[list[Proposal], Reason | None]:
    """Return suggestions that the budget pays for, taken out of the queue."""
    left, taken = budget.left(session, study), list[Proposal]()
    if count and not _can_pay(study, left):
        return [], "budget"
    for one in repository.ready(session, optimiser.id):
        cost = budget.cost_of(study, one.fidelity)
        if len(taken) == count:
            break
        if left.affordable(cost) >= 1:
            left = budget.Budget(left.runs - 1, left.cost - cost)
            taken.append(Proposal(one.weights, one.fidelity, gain=one.gain))
            session.delete(one)
    session.flush()
    if len(taken) == count:
        return taken, None
    return taken, "none_ready" if _can_pay(study, left) else "budget"


def _can_pay(study: StudyRow, left: budget.Budget) -> bool:
    """Return whether a run at any fidelity still fits."""
    names = [one["name"] for one in study.definition["fidelities"]]
    return any(left.affordable(budget.cost_of(study, name)) >= 1 for name in names)


def _create(session: Session, study: StudyRow, asked: Question) -> OptimiserRow:
    """Store an optimiser and its job; the caller holds the study's lock."""
    job = jobs.create(session, study.id, KIND, SUGGEST)
    optimiser = OptimiserRow(
        id=new_id("opt"),
        study_id=study.id,
        job_id=job.id,
        request=asked.document,
        request_sha256=asked.sha256,
        ahead=AHEAD,
        created_at=job.created_at,
    )
    session.add(optimiser)
    session.flush()
    return optimiser


def _is_current(optimiser: OptimiserRow, study: StudyRow, revision: int) -> bool:
    has_seen = optimiser.revision is not None and optimiser.revision >= revision
    return has_seen and optimiser.version == study.version


def _has(session: Session, optimiser: OptimiserRow, study: StudyRow, count: int) -> bool:
    """Return whether waiting would bring no more suggestions."""
    if count <= repository.count_ready(session, optimiser.id):
        return True
    return not _can_pay(study, budget.left(session, study))


def work(sessions: Sessions, ring: Bell, lease: Lease, report: Callable[[float], None]) -> None:
    """Compute suggestions in a worker, and replace those that are ready.

    Raises:
        MixwrightError: nothing can be learned from the runs.
        LeaseLostError: the job is not this worker's any more; nothing was stored.
    """
    from app.suggestions.thinking import think  # loads the core's solvers

    with reading(sessions) as session:
        optimiser = repository.of_job(session, lease.job_id)
        question = Question.of_document(optimiser.request)
        study = studies.load(session, optimiser.study_id)
        situation = look(session, study, with_curves=question.options.curves)
        ahead, asked_of = optimiser.ahead, optimiser.id
    thought = think(situation, question, ahead)
    rows = [
        {
            "optimiser_id": asked_of,
            "rank": rank,
            "fidelity": one.fidelity,
            "weights": one.weights,
            "gain": one.gain,
        }
        for rank, one in enumerate(thought.proposals)
    ]
    step = None if thought.step is None else thought.step.model_dump(mode="json")
    with writing(sessions, ring) as session:
        jobs.succeed(session, lease)
        _store(session, lease, rows, step, situation.revision, situation.version)


def _store(
    session: Session,
    lease: Lease,
    rows: Sequence[dict[str, Any]],
    step: dict[str, Any] | None,
    revision: int,
    version: int,
) -> None:
    """Replace what is ready; if the study has moved on meanwhile, have it done again."""
    optimiser, now = repository.of_job(session, lease.job_id), database_now(session)
    under_way = unended(session, optimiser.study_id)  # some may have been taken meanwhile
    new = [row for row in rows if (row["fidelity"], row["weights"]) not in under_way]
    repository.replace(session, optimiser.id, new)
    optimiser.revision, optimiser.version = revision, version
    optimiser.step = step
    if step is not None:
        repository.keep_step(session, optimiser.id, revision, step, now)
    if runs.revision(session, optimiser.study_id) != revision:
        jobs.restart(session, jobs.lock(session, lease.job_id))


def history(session: Session, principal: Principal, study: str) -> OptimisationsRead:
    """Return what was thought in a study, by way of asking.

    Raises:
        NotFoundError: no such study.
    """
    row = studies.find(session, principal, study)
    return OptimisationsRead(
        items=[
            OptimisationRead(
                **optimiser.request,
                steps=[
                    StepRead(**step.step, created_at=step.created_at)
                    for step in repository.steps(session, optimiser.id)
                ],
            )
            for optimiser in repository.of_study(session, row.id)
        ]
    )
