"""A swarm as it is answered: its state and progress are those of its groups."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from app.db.models import GroupRow, JobRow, SwarmRow
from app.jobs.schemas import JobState
from app.runs.schemas import RunState
from app.swarms import repository
from app.swarms.schemas import SwarmRead


def to_read(session: Session, swarm: SwarmRow) -> SwarmRead:
    """Return the swarm as it is answered."""
    found = repository.groups(session, swarm.id)
    groups, jobs = [group for group, _ in found], [job for _, job in found]
    counts = repository.count_runs(session, [group.id for group in groups])
    in_state = {
        state: sum(number for (_, one), number in counts.items() if one == state)
        for state in RunState
    }
    total = sum(in_state.values())
    done = in_state[RunState.SUCCEEDED] + in_state[RunState.RETRACTED]
    state, sizes = _state(jobs, done), _sizes(groups, counts)
    trained = sum(job.progress * size for job, size in zip(jobs, sizes, strict=True))
    speed = _speed(groups, jobs)
    tokens = swarm.request["trainer"]["tokens"]
    left = (total - trained) * tokens / speed if speed and not state.is_end else None
    return SwarmRead(
        id=swarm.id,
        study_id=swarm.study_id,
        fidelity=swarm.request["fidelity"],
        corpus_id=swarm.corpus_id,
        state=state,
        progress=1.0 if state == JobState.SUCCEEDED else trained / total,
        error=next((job.error for job in jobs if job.error), None),
        created_at=swarm.created_at,
        started_at=min((job.started_at for job in jobs if job.started_at), default=None),
        ended_at=_ended_at(state, jobs),
        runs_total=total,
        runs_done=done,
        runs_failed=in_state[RunState.FAILED],
        runs_cancelled=in_state[RunState.CANCELLED],
        runs_left=in_state[RunState.QUEUED] + in_state[RunState.LEASED],
        tokens_per_second=speed,
        seconds_left=left,
        workers=sorted({g.worker for g, job in found if g.worker and job.state == "running"}),
        design=swarm.request["design"],
        trainer=_trainer(swarm),
        warnings=swarm.request["warnings"],
    )


def _trainer(swarm: SwarmRow) -> dict[str, object]:
    trainer = swarm.request["trainer"]
    rate = swarm.learning_rate or trainer["optimizer"]["learning_rate"]
    return {**trainer, "optimizer": {**trainer["optimizer"], "learning_rate": rate}}


def _state(jobs: Sequence[JobRow], done: int) -> JobState:
    states = {JobState(job.state) for job in jobs}
    if states == {JobState.QUEUED}:
        return JobState.QUEUED
    if states & {JobState.QUEUED, JobState.RUNNING}:
        return JobState.RUNNING
    if JobState.CANCELLED in states:
        return JobState.CANCELLED
    return JobState.SUCCEEDED if done else JobState.FAILED


def _sizes(groups: Sequence[GroupRow], counts: dict[tuple[str, str], int]) -> list[int]:
    return [
        sum(number for (group_id, _), number in counts.items() if group_id == group.id)
        for group in groups
    ]


def _speed(groups: Sequence[GroupRow], jobs: Sequence[JobRow]) -> float:
    at_work = zip(groups, jobs, strict=True)
    return sum(g.tokens_per_second or 0.0 for g, job in at_work if job.state == JobState.RUNNING)


def _ended_at(state: JobState, jobs: Sequence[JobRow]) -> datetime | None:
    ends = [job.ended_at for job in jobs if job.ended_at]
    return max(ends) if state.is_end and ends else None
