"""What a training worker asks and tells about a group of a swarm.

The group's job is the lease: its attempt is the token, also of the group's runs, which are
reported one by one like any other leased run. As long as a group comes further it may be taken up
again as often as its workers die.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.corpora import service as corpora
from app.db.models import GroupRow, SwarmRow
from app.errors import ConflictError, FieldError, problem
from app.jobs import service as jobs
from app.jobs.schemas import JobState, job_fields
from app.jobs.service import Lease, LeaseLostError
from app.proposals import leases
from app.proposals.schemas import Complete, Fail
from app.runs import service as runs
from app.runs.repository import StoredRun
from app.runs.schemas import RunState
from app.studies import service as studies
from app.swarms import repository
from app.swarms.orders import group_order
from app.swarms.planning import measured
from app.swarms.schemas import (
    Claim,
    ClaimRead,
    GroupComplete,
    GroupFail,
    GroupHeartbeat,
    GroupHeartbeatRead,
    GroupLease,
    GroupRead,
    GroupResult,
)
from app.swarms.service import ATTEMPTS, end_orphans
from app.wire import refuse

_UNENDED = (RunState.QUEUED, RunState.LEASED)


def read(session: Session, principal: Principal, group_id: str) -> GroupRead:
    """Return the group as it is answered.

    Raises:
        NotFoundError: there is none.
    """
    group, _ = repository.get_group(session, principal, group_id)
    job = jobs.get(session, group_id)
    return GroupRead(
        **job_fields(job),
        id=group.id,
        swarm_id=group.swarm_id,
        purpose=group.purpose,
        worker=group.worker,
        attempt=job.attempt,
        tokens_per_second=group.tokens_per_second,
    )


def claim(session: Session, principal: Principal, group_id: str, asked: Claim) -> ClaimRead | None:
    """Lease the group and its runs to a worker; None if there is nothing to train.

    Raises:
        NotFoundError: no such group.
        ForbiddenError: the worker's token is bound to another study.
    """
    group, swarm = repository.get_group(session, principal, group_id)
    lease = jobs.claim(session, group_id, asked.lease_seconds)
    if lease is None:
        end_orphans(session)  # it may have been the last attempt that ended it
        return None
    until = jobs.get(session, group_id).lease_until
    assert until is not None  # noqa: S101  - just claimed
    repository.lease_runs(session, group_id, lease.attempt, until, asked.lease_seconds)
    group.worker, group.lease_seconds = asked.worker, asked.lease_seconds
    group.tokens_per_second = None
    members, corpus = repository.runs_of(session, group_id), corpora.load(session, swarm.corpus_id)
    study = studies.load(session, swarm.study_id).definition
    known = set(measured(corpora.to_read(corpus)))
    return ClaimRead(
        lease=GroupLease(token=lease.attempt, expires_at=until),
        order=group_order(swarm, group, members, study, corpus.definition),
        purpose="sweep" if group.purpose == "sweep" else "runs",
        metrics=[metric["name"] for metric in study["metrics"] if metric["name"] in known],
        ended=[run["id"] for run in members if run["state"] not in _UNENDED],
    )


def heartbeat(
    session: Session, principal: Principal, group_id: str, beat: GroupHeartbeat
) -> GroupHeartbeatRead:
    """Hold on to a group for another while; store new points of its runs' loss curves.

    Raises:
        NotFoundError: no such group.
        InvalidRequestError: names points of runs or metrics that are not the group's.
        ConflictError: the group was cancelled or is another worker's: stop training it.
    """
    group, _ = repository.get_group(session, principal, group_id)
    progress = jobs.get(session, group_id).progress
    members = repository.runs_of(session, group_id) if beat.points else []
    refuse(_wrong_points(session, members, beat))
    lease = _lease(session, group, beat.lease_token)
    with _telling_of_loss():
        until = jobs.renew(session, lease, beat.progress)
    if beat.progress > progress:
        jobs.allow_more_attempts(session, lease, ATTEMPTS)
    repository.renew_runs(session, group_id, until)
    group.tokens_per_second = beat.tokens_per_second
    for point in beat.points:
        runs.add_point(session, point.run, point.tokens, point.metrics)
    return GroupHeartbeatRead(expires_at=until)


def complete(
    session: Session, principal: Principal, group_id: str, asked: GroupComplete
) -> GroupRead:
    """Keep the results of runs, and end the group; the same again changes nothing.

    A worker that has lost the group is not refused: its results count where there are none yet,
    and the answer's state tells it that the group is not its own.

    Raises:
        NotFoundError: no such group.
        ConflictError: some of its runs have not ended, or were reported otherwise before.
        InvalidRequestError: names every wrong field; a sweep that tells no learning rate.
    """
    group, swarm = repository.get_group(session, principal, group_id)
    members = {run["id"] for run in repository.runs_of(session, group_id)}
    refuse(_strangers(members, [result.run for result in asked.results], "results"))
    for result in asked.results:
        _keep(session, principal, asked.lease_token, result)
    if jobs.get(session, group_id).attempt != asked.lease_token or _has_ended(session, group_id):
        return read(session, principal, group_id)
    unended = [
        run["id"] for run in repository.runs_of(session, group_id) if run["state"] in _UNENDED
    ]
    if unended:
        raise ConflictError(f"{len(unended)} runs of the group have not ended: {unended[0]}")
    if group.purpose == "sweep":
        _set_rate(swarm, asked.learning_rate)
    with _telling_of_loss():
        jobs.succeed(session, _lease(session, group, asked.lease_token))
    return read(session, principal, group_id)


def _keep(session: Session, principal: Principal, token: int, result: GroupResult) -> None:
    if result.reason is not None:
        leases.fail(session, principal, result.run, Fail(lease_token=token, reason=result.reason))
        return
    assert result.metrics is not None  # noqa: S101  - checked by the schema
    answer = Complete(
        lease_token=token,
        metrics=result.metrics,
        realised_tokens=result.realised_tokens,
        metadata=result.metadata,
    )
    leases.complete(session, principal, result.run, answer)


def fail(session: Session, principal: Principal, group_id: str, asked: GroupFail) -> GroupRead:
    """Give a group up, and with it every run of it that has not ended.

    Raises:
        NotFoundError: no such group.
        ConflictError: it is not this worker's.
    """
    group, _ = repository.get_group(session, principal, group_id)
    if not _has_ended_with(session, group_id, "failed", asked.lease_token):
        lease = _lease(session, group, asked.lease_token)
        with _telling_of_loss():
            jobs.fail(session, lease, problem(422, asked.reason))
        session.flush()
        end_orphans(session)
    return read(session, principal, group_id)


@contextmanager
def _telling_of_loss() -> Iterator[None]:
    """Turn the loss of a lease into an answer."""
    try:
        yield
    except LeaseLostError as error:
        raise ConflictError(
            "the group was cancelled, has ended, or is another worker's by now; stop training"
        ) from error


def _lease(session: Session, group: GroupRow, token: int) -> Lease:
    job = jobs.get(session, group.id)
    return Lease(job.id, job.kind, token, group.lease_seconds or 0.0)


def _has_ended(session: Session, group_id: str) -> bool:
    return JobState(jobs.get(session, group_id).state).is_end


def _has_ended_with(session: Session, group_id: str, state: str, token: int) -> bool:
    job = jobs.get(session, group_id)
    return job.state == state and job.attempt == token


def _set_rate(swarm: SwarmRow, rate: float | None) -> None:
    if rate is None:
        detail = "a sweep ends with the learning rate that it chose"
        refuse([FieldError(pointer="/learning_rate", detail=detail)])
    swarm.learning_rate = rate


def _wrong_points(
    session: Session, members: list[StoredRun], beat: GroupHeartbeat
) -> list[FieldError]:
    if not beat.points:
        return []
    names = {run["id"] for run in members}
    errors = _strangers(names, [point.run for point in beat.points], "points")
    for index, point in enumerate(beat.points):
        errors += runs.wrong_metrics(
            session, members[0]["study_id"], point.metrics, "points", index, "metrics"
        )
    return errors


def _strangers(members: set[str], named: Sequence[str], where: str) -> list[FieldError]:
    return [
        FieldError(pointer=f"/{where}/{index}/run", detail=f"'{run}' is not of this group")
        for index, run in enumerate(named)
        if run not in members
    ]
