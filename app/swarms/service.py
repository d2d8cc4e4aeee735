"""What the service does with swarms: design, queue, follow, cancel."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.corpora import service as corpora
from app.db.clock import database_now
from app.db.models import GroupRow, StudyRow, SwarmRow
from app.errors import ConflictError, FieldError, pointer
from app.identifiers import new_id
from app.jobs import service as jobs
from app.jobs.schemas import JobState
from app.proposals import budget
from app.proposals import service as proposals
from app.runs import service as runs
from app.runs.repository import StoredRun
from app.runs.schemas import Origin, RunState
from app.studies import service as studies
from app.studies.spaces import kind_of
from app.swarms import planning, repository, scheduled
from app.swarms.reading import to_read
from app.swarms.schemas import SwarmCreate, SwarmRead
from app.wire import refuse

QUEUE = "train"
GROUP, SWEEP = "swarm_group", "swarm_sweep"
ATTEMPTS = 8  # that may die one after the other before a group has come any further


def create(session: Session, principal: Principal, study: str, asked: SwarmCreate) -> SwarmRead:
    """Design a swarm, store its runs and queue its groups.

    Raises:
        NotFoundError: no such study or corpus.
        InvalidRequestError, InvalidInputError: name every wrong field.
        ConflictError: the study's budget does not allow so many runs.
    """
    row = studies.find(session, principal, study, lock=True)
    corpus = corpora.to_read(corpora.find(session, asked.trainer.corpus))
    refuse(planning.wrong_fields(row, corpus, asked))
    refuse(_wrong_points(row, asked))
    request = planning.complete(row, corpus, asked)
    points = _points(row, asked)
    if asked.design.schedules is not None:
        found = scheduled.designed(session, principal, row, corpus, asked, request)
        request["design"]["schedules"] = found
    if asked.design.runs is None:
        count = len(asked.design.schedules or points)
        _require_budget(session, row, asked.fidelity, count * asked.trainer.replicates)
    swarm = SwarmRow(
        id=new_id("swarm"),
        study_id=row.id,
        corpus_id=corpus.id,
        request=request,
        learning_rate=_known_rate(request),
        created_at=database_now(session),
    )
    session.add(swarm)
    session.flush()
    if asked.design.runs is not None:
        _adopt(session, swarm, asked)
    elif asked.design.schedules is not None:
        _queue(session, swarm, scheduled.rows_of(row, swarm, asked))
    else:
        _queue(session, swarm, [_runs(row, swarm, asked, points)])
    return to_read(session, swarm)


def read(session: Session, principal: Principal, swarm_id: str) -> SwarmRead:
    """Return the swarm as it is answered.

    Raises:
        NotFoundError: there is none.
    """
    return to_read(session, repository.get(session, principal, swarm_id))


def cancel(session: Session, principal: Principal, swarm_id: str) -> SwarmRead:
    """End every group that has not ended; doing so again changes nothing.

    Raises:
        NotFoundError: no such swarm.
        ConflictError: it has succeeded or failed.
    """
    swarm = repository.get(session, principal, swarm_id)
    state = to_read(session, swarm).state
    if state in (JobState.SUCCEEDED, JobState.FAILED):
        raise ConflictError(f"the swarm has {state} and cannot be cancelled")
    for _, job in repository.groups(session, swarm_id):
        if not JobState(job.state).is_end:
            jobs.cancel(session, job.id)
    end_orphans(session)
    return to_read(session, swarm)


def end_orphans(session: Session) -> None:
    """End the runs of groups that were cancelled or given up."""
    now = database_now(session)
    for job in repository.orphans(session):
        if job.state == JobState.CANCELLED:
            repository.end_runs(session, [job.id], RunState.CANCELLED, "cancelled", now)
        else:
            reason = str((job.error or {}).get("detail", "its group failed"))
            repository.end_runs(session, [job.id], RunState.FAILED, reason, now)


def _points(study: StudyRow, asked: SwarmCreate) -> list[dict[str, float]]:
    if asked.design.given is not None:
        return runs.points_from(study.definition, asked.design.given)
    if asked.design.runs is not None or asked.design.schedules is not None:
        return []
    assert asked.count is not None  # noqa: S101  - checked by the schema
    return proposals.design(study, asked.design.kind, asked.count, asked.design.seed)


def _wrong_points(study: StudyRow, asked: SwarmCreate) -> list[FieldError]:
    wanted = "mixtures" if kind_of(study.definition) == "mixture" else "parameters"
    given = "mixtures" if asked.design.mixtures else "parameters"
    if asked.design.given is None:
        return []
    if given != wanted:
        detail = f"the study's space is '{kind_of(study.definition)}': give `{wanted}`"
        return [FieldError(pointer=pointer("design", given), detail=detail)]
    return runs.wrong_documents(study.definition, asked.design.given, "design", given)


def _require_budget(session: Session, study: StudyRow, fidelity: str, wanted: int) -> None:
    left = budget.left(session, study).affordable(budget.cost_of(study, fidelity))
    if wanted > left:
        raise ConflictError(
            f"the swarm needs {wanted} runs and the study's budget has room for {max(0, int(left))}"
            "; ask for fewer, or PATCH the study's budget"
        )


def _known_rate(request: dict[str, Any]) -> float | None:
    rate = request["trainer"]["optimizer"]["learning_rate"]
    return None if rate == "sweep" else float(rate)


def _runs(
    study: StudyRow, swarm: SwarmRow, asked: SwarmCreate, points: Sequence[dict[str, float]]
) -> list[StoredRun]:
    return [
        {
            **runs.new_row(study.id, asked.fidelity, weights),
            "origin": Origin.SWARM,
            "run_metadata": {
                "swarm": swarm.id,
                "mixture": index,
                "replicate": replicate,
                "seed": asked.trainer.seed + replicate,
            },
        }
        for replicate in range(asked.trainer.replicates)
        for index, weights in enumerate(points)
    ]


def _queue(session: Session, swarm: SwarmRow, rows: Sequence[Sequence[StoredRun]]) -> None:
    grouped = [
        {**run, "group_id": group}
        for group, some in _in_groups(session, swarm, rows)
        for run in some
    ]
    repository.insert_runs(session, grouped)


def _adopt(session: Session, swarm: SwarmRow, asked: SwarmCreate) -> None:
    """Take proposals over from whoever asked for them; their group holds the lease from now on."""
    found = repository.lock_runs(session, asked.design.runs or [])
    refuse(_wrong_proposals(swarm, asked, {run["id"]: run for run in found}))
    for group, some in _in_groups(session, swarm, [found]):
        for run in some:
            metadata = {"swarm": swarm.id, "replicate": 0, "seed": asked.trainer.seed}
            runs.change(
                session,
                run["id"],
                state=RunState.QUEUED,
                group_id=group,
                run_metadata={**run["run_metadata"], **metadata},
            )


def _wrong_proposals(
    swarm: SwarmRow, asked: SwarmCreate, found: dict[str, StoredRun]
) -> list[FieldError]:
    errors = []
    for index, name in enumerate(asked.design.runs or []):
        run = found.get(name)
        if run is None or run["study_id"] != swarm.study_id:
            detail = f"there is no run '{name}' in the study"
        elif run["state"] != RunState.LEASED or run["group_id"] is not None:
            detail = f"'{name}' is no leased proposal, it is {run['state']}"
        elif run["fidelity"] != asked.fidelity:
            detail = f"'{name}' is to be trained at '{run['fidelity']}', the swarm's is another"
        else:
            continue
        errors.append(FieldError(pointer=pointer("design", "runs", index), detail=detail))
    return errors


def _in_groups(
    session: Session, swarm: SwarmRow, rows: Sequence[Sequence[StoredRun]]
) -> list[tuple[str, list[StoredRun]]]:
    """Return the swarm's new groups with the runs that each will train, after a sweep if asked.

    `rows` has those together that one group may train.
    """
    after = None if swarm.learning_rate is not None else _new_group(session, swarm, SWEEP, None)
    width, groups = swarm.request["trainer"]["width"], []
    for alike in rows:
        rest = iter(alike)
        while some := list(islice(rest, width)):
            groups.append((_new_group(session, swarm, GROUP, after), some))
    return groups


def _new_group(session: Session, swarm: SwarmRow, kind: str, after: str | None) -> str:
    job = jobs.create(session, swarm.study_id, kind, QUEUE, after, ATTEMPTS)
    purpose = "sweep" if kind == SWEEP else "runs"
    session.add(GroupRow(id=job.id, swarm_id=swarm.id, purpose=purpose))
    return job.id
