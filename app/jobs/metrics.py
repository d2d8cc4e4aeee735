"""Jobs, and what trainings refused, as Prometheus sees them."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.clock import database_now
from app.db.models import JobRow
from app.db.training_models import TrainingRow
from app.jobs.schemas import JobState


class _Fixed(Collector):
    """Gives families that were measured before."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> tuple[Metric, ...]:
        return self._families


def metrics_text(session: Session) -> bytes:
    """Return jobs by kind and state, how long the oldest is queued, and refused observations."""
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
    registry.register(_Fixed(jobs, age, _refused(session)))
    return generate_latest(registry)


def _refused(session: Session) -> CounterMetricFamily:
    """Return how many observations were answered 422, by the algorithm of their trainings."""
    refused = CounterMetricFamily(
        "mixwright_refused_observations",
        "Observations of trainings that were refused",
        labels=("algorithm",),
    )
    counts = select(TrainingRow.algorithm, func.sum(TrainingRow.refused))
    for algorithm, count in session.execute(counts.group_by(TrainingRow.algorithm)):
        refused.add_metric([algorithm], count)
    return refused
