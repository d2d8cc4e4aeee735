"""What a resource with a job answers about it."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from app.db.models import JobRow
from app.wire import AnswerModel


class JobState(StrEnum):
    """Where a job is: queued, then running, then one of the ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        """Whether the job will not change any more."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class JobRead(AnswerModel):
    """The state of long work; `error` is a problem (RFC 9457) when it failed."""

    state: JobState
    progress: float
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


def job_fields(job: JobRow) -> dict[str, Any]:
    """Return the fields of `JobRead`."""
    return {name: getattr(job, name) for name in JobRead.model_fields}
