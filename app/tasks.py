"""What workers do. A message brings a job's id; everything else is in the database."""

import functools
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from celery import Celery
from sqlalchemy.exc import OperationalError

from app.celery_app import TASK, make_bell
from app.db.engine import make_engine, make_sessions
from app.db.session import Bell, Sessions, writing
from app.errors import ServiceError, problem, problem_of
from app.fits import service as fits
from app.jobs import service as jobs
from app.jobs.heartbeat import Heartbeat
from app.jobs.service import Lease, LeaseLostError
from app.recommendations import service as recommendations
from app.schedules import service as schedules
from app.settings import Settings
from app.suggestions import service as suggestions
from mixwright.errors import MixwrightError

Work = Callable[[Sessions, Bell, Lease, Callable[[float], None]], None]
"""Does a job and ends it: `(sessions, bell, lease, report progress)`."""

WORK: Final[Mapping[str, Work]] = {
    "fit": fits.work,
    "recommendation": recommendations.work,
    schedules.KIND: schedules.work,
    suggestions.KIND: suggestions.work,
}

log = structlog.get_logger()


def add_tasks(celery: Celery, settings: Settings) -> None:
    """Register the task on `celery`. Its database connection is made on first use."""
    ring = make_bell(celery)

    @functools.cache
    def sessions() -> Sessions:  # in the process that works: connections do not survive a fork
        return make_sessions(make_engine(settings.effective_database_url, settings.pool_size))

    @celery.task(name=TASK)  # type: ignore[untyped-decorator]  # Celery has no types
    def do(job_id: str) -> None:
        do_job(sessions(), ring, job_id, settings.lease_seconds)


def do_job(sessions: Sessions, ring: Bell, job_id: str, lease_seconds: float) -> None:
    """Claim the job, do it and end it; return at once if there is nothing to claim.

    What fails for a reason in the data or in the code fails for good, with its problem. What fails
    because the database is away, or because the process dies, is tried again when the lease lapses.
    """
    with writing(sessions, ring) as session:
        lease = jobs.claim(session, job_id, lease_seconds)
    if lease is None:
        log.info("nothing to claim", job=job_id)
        return
    log.info("job started", job=job_id, kind=lease.kind, attempt=lease.attempt)
    try:
        with Heartbeat(sessions, lease) as beat:
            _work_or_fail(sessions, ring, lease, beat.report)
    except LeaseLostError:
        log.warning("job lost to a cancellation or to another worker", job=job_id)
    except OperationalError as error:
        log.warning("the database went away, the job will be tried again", job=job_id, error=error)
    else:
        log.info("job ended", job=job_id)


def _work_or_fail(
    sessions: Sessions, ring: Bell, lease: Lease, report: Callable[[float], None]
) -> None:
    try:
        WORK[lease.kind](sessions, ring, lease, report)
    except (LeaseLostError, OperationalError):
        raise
    except (ServiceError, MixwrightError) as error:
        error_problem = problem_of(error)
    except Exception as error:  # the edge of the process: whatever it is, the job has to end
        log.exception("unexpected error", job=lease.job_id)
        error_problem = problem(
            500, f"an unexpected {type(error).__name__}; the worker's log has the details"
        )
    else:
        return
    with writing(sessions, ring) as session:
        jobs.fail(session, lease, error_problem)
