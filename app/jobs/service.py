"""The state machine of jobs.

```text
create -> queued -> claim -> running -> succeed -> succeeded
             |                  |  |------ fail -> failed
             |                  |---- lease lapses: anyone may claim it again, up to MAX_ATTEMPTS
             |-- cancel --------|-------------> cancelled
```

The row is the truth. A bell tells a worker to look; a lost one is rung again by the sweeper, and
one too many finds nothing to claim. The attempt number is the fence: a worker that was given up
for dead and comes back cannot write over the result of the one that took its job. Leases are
measured by the database's clock, so the clocks of workers do not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session, aliased

from app.db.clock import database_now
from app.db.models import JobRow
from app.db.session import ring_after_commit
from app.errors import ConflictError, problem
from app.identifiers import new_id
from app.jobs.schemas import JobState

MAX_ATTEMPTS = 3
RINGS_PER_SWEEP = 20  # bounds the bells that pile up in front of a busy worker


class LeaseLostError(Exception):
    """The job was cancelled, deleted or given to another worker: what was done is void."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's hold on a job.

    Attributes:
        job_id: the job.
        kind: what is to be done.
        attempt: the fencing number; rises with every claim.
        seconds: how long the worker may be silent.
    """

    job_id: str
    kind: str
    attempt: int
    seconds: float


def create(
    session: Session,
    study_id: str,
    kind: str,
    queue: str,
    after_id: str | None = None,
    max_attempts: int = MAX_ATTEMPTS,
) -> JobRow:
    """Store a job, to be rung for after the commit, or once the job `after_id` has succeeded."""
    after = None if after_id is None else _lock(session, after_id)
    job = JobRow(
        id=new_id("job"),
        study_id=study_id,
        kind=kind,
        queue=queue,
        state=JobState.QUEUED,
        max_attempts=max_attempts,
        after_id=after_id,
        created_at=database_now(session),
    )
    session.add(job)
    session.flush()
    if after is None or after.state == JobState.SUCCEEDED:
        _ring(session, job)
    elif after.state in (JobState.FAILED, JobState.CANCELLED):
        _end(session, job, JobState.FAILED, _problem_of_after(after))
    return job


def get(session: Session, job_id: str) -> JobRow:
    """Return the job."""
    return session.get_one(JobRow, job_id)


def claim(session: Session, job_id: str, lease_seconds: float) -> Lease | None:
    """Take the job, or return None if there is nothing to do.

    A job is free when it is queued and what it comes after has succeeded, or when it is running
    and its lease lapsed. One that has used up its attempts fails here.
    """
    job, now = _lock(session, job_id), database_now(session)
    if job is None or not _is_free(session, job, now):
        return None
    if job.attempt >= job.max_attempts:
        _end(session, job, JobState.FAILED, _problem_of_attempts(job))
        return None
    job.state, job.attempt = JobState.RUNNING, job.attempt + 1
    job.lease_until = now + timedelta(seconds=lease_seconds)
    job.started_at = job.started_at or now
    return Lease(job.id, job.kind, job.attempt, lease_seconds)


def do_again(session: Session, study_id: str, kind: str) -> None:
    """Queue the study's jobs of a kind that have ended once more; those that have not, go on."""
    query = select(JobRow).where(
        JobRow.study_id == study_id,
        JobRow.kind == kind,
        JobRow.state.in_((JobState.SUCCEEDED, JobState.FAILED)),
    )
    for job in session.scalars(query.order_by(JobRow.id)).all():
        restart(session, lock(session, job.id))


def lock(session: Session, job_id: str) -> JobRow:
    """Return the job as it is now, and keep others from changing it."""
    return session.get_one(JobRow, job_id, with_for_update=True, populate_existing=True)


def restart(session: Session, job: JobRow) -> None:
    """Queue a job that has ended, which the caller has locked, once more; others go on."""
    if not JobState(job.state).is_end:
        return
    job.state, job.error, job.progress = JobState.QUEUED, None, 0.0
    job.started_at = job.ended_at = job.lease_until = None
    job.max_attempts = job.attempt + MAX_ATTEMPTS
    _ring(session, job)


def renew(session: Session, lease: Lease, progress: float) -> datetime:
    """Hold on to the job for another while, and note the share of the work that is done.

    Returns:
        when the lease runs out now.

    Raises:
        LeaseLostError: there is nothing left to hold on to.
    """
    job = _hold(session, lease)
    until = database_now(session) + timedelta(seconds=lease.seconds)
    job.lease_until = until
    job.progress = max(job.progress, min(1.0, progress))
    return until


def allow_more_attempts(session: Session, lease: Lease, attempts: int) -> None:
    """Allow `attempts` after this one: for work that goes on where the last attempt ended.

    Raises:
        LeaseLostError: the job is not this worker's.
    """
    _hold(session, lease).max_attempts = lease.attempt + attempts


def succeed(session: Session, lease: Lease) -> None:
    """End the job, in the transaction that stores its result, and ring for those that waited.

    A lease that lapsed, but that nobody has taken yet, still counts: the work is done.

    Raises:
        LeaseLostError: the result must not be stored.
    """
    _end(session, _hold(session, lease), JobState.SUCCEEDED)


def fail(session: Session, lease: Lease, error: dict[str, Any]) -> None:
    """End the job with a problem; the jobs that come after it fail too.

    Raises:
        LeaseLostError: the failure is not this worker's to tell.
    """
    _end(session, _hold(session, lease), JobState.FAILED, error)


def cancel(session: Session, job_id: str) -> None:
    """End a job that is queued or running; cancelling it again changes nothing.

    Raises:
        ConflictError: it has succeeded or failed.
    """
    job = session.get_one(JobRow, job_id, with_for_update=True, populate_existing=True)
    if job.state in (JobState.SUCCEEDED, JobState.FAILED):
        raise ConflictError(f"it has {job.state} and cannot be cancelled")
    if job.state != JobState.CANCELLED:
        _end(session, job, JobState.CANCELLED)


def sweep(session: Session, after_seconds: float) -> int:
    """Ring again for free jobs that were last rung for more than `after_seconds` ago.

    Fails those that have used up their attempts. Harmless in several processes at once.

    Returns:
        the number of jobs found.
    """
    jobs = _forgotten(session, after_seconds)
    for job in jobs:
        if job.attempt >= job.max_attempts:
            _end(session, job, JobState.FAILED, _problem_of_attempts(job))
        else:
            _ring(session, job)
    return len(jobs)


def _forgotten(session: Session, after_seconds: float) -> Sequence[JobRow]:
    now, after = database_now(session), aliased(JobRow)
    may_start = or_(JobRow.after_id.is_(None), after.state == JobState.SUCCEEDED)
    query = (
        select(JobRow)
        .outerjoin(after, JobRow.after_id == after.id)
        .where(
            or_(
                and_(JobRow.state == JobState.QUEUED, may_start),
                and_(JobRow.state == JobState.RUNNING, JobRow.lease_until < now),
            ),
            or_(
                JobRow.rung_at.is_(None),
                JobRow.rung_at < now - timedelta(seconds=after_seconds),
            ),
        )
        .order_by(JobRow.rung_at.nulls_first())
        .limit(RINGS_PER_SWEEP)
        .with_for_update(of=JobRow, skip_locked=True)
    )
    return session.scalars(query).all()


def _lock(session: Session, job_id: str) -> JobRow | None:
    return session.get(JobRow, job_id, with_for_update=True, populate_existing=True)


def _hold(session: Session, lease: Lease) -> JobRow:
    job = _lock(session, lease.job_id)
    if job is None or job.state != JobState.RUNNING or job.attempt != lease.attempt:
        raise LeaseLostError(lease.job_id)
    return job


def _is_free(session: Session, job: JobRow, now: datetime) -> bool:
    if job.state == JobState.QUEUED:
        after = None if job.after_id is None else session.get_one(JobRow, job.after_id)
        return after is None or after.state == JobState.SUCCEEDED
    return job.state == JobState.RUNNING and (job.lease_until is None or job.lease_until < now)


def _ring(session: Session, job: JobRow) -> None:
    job.rung_at = database_now(session)
    ring_after_commit(session, job.id, job.queue)


def _end(
    session: Session, job: JobRow, state: JobState, error: dict[str, Any] | None = None
) -> None:
    job.state, job.error, job.lease_until = state, error, None
    job.ended_at = database_now(session)
    if state == JobState.SUCCEEDED:
        job.progress = 1.0
    session.flush()
    for waiting in _waiting_for(session, job):
        if state == JobState.SUCCEEDED:
            _ring(session, waiting)
        else:
            _end(session, waiting, JobState.FAILED, _problem_of_after(job))


def _waiting_for(session: Session, job: JobRow) -> Sequence[JobRow]:
    query = select(JobRow).where(JobRow.after_id == job.id, JobRow.state == JobState.QUEUED)
    return session.scalars(query.order_by(JobRow.id).with_for_update()).all()


def _problem_of_attempts(job: JobRow) -> dict[str, Any]:
    return problem(
        500,
        f"the worker died {job.attempt} times while doing this (attempt {job.attempt} of "
        f"{job.max_attempts}); it may need more memory: see the worker's log, then ask again",
    )


def _problem_of_after(after: JobRow) -> dict[str, Any]:
    if after.state == JobState.CANCELLED:
        return problem(409, f"the {after.kind} it was to use was cancelled")
    reason = (after.error or {}).get("detail", "")
    return problem(409, f"the {after.kind} it was to use failed: {reason}")
