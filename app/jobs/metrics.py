"""Jobs as Prometheus sees them."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.clock import database_now
from app.db.models import JobRow
from app.jobs.schemas import JobState


class _Fixed(Collector):
    """Gives families that were measured before."""

    def __init__(self, *families: GaugeMetricFamily) -> None:
        self._families = families

    def collect(self) -> tuple[GaugeMetricFamily, ...]:
        return self._families


def metrics_text(session: Session) -> bytes:
    """Return the number of jobs by kind and state, and how long the oldest has been queued."""
    jobs = GaugeMetricFamily("mixwright_jobs", "Jobs", labels=("kind", "state"))
    counts = select(JobRow.kind, JobRow.state, func.count()).group_by(JobRow.kind, JobRow.state)
    for kind, state, count in session.execute(counts):
        jobs.add_metric([kind, state], count)
    oldest = session.scalar(
        select(func.min(JobRow.created_at)).where(JobRow.state == JobState.QUEUED)
    )
    waited = 0.0 if oldest is None else (database_now(session) - oldest).total_seconds()
    age = GaugeMetricFamily(
        "mixwright_oldest_queued_job_seconds", "Age of the oldest queued job", value=waited
    )
    registry = CollectorRegistry()
    registry.register(_Fixed(jobs, age))
    return generate_latest(registry)
