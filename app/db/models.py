"""Every table on one page, but for those of trainings (`app.db.training_models`).

Documents (a study's definition, weights, metrics, reports) are JSON columns: nothing is queried
inside them, and a run is one row.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time; SQLite, which forgets time zones, gives it back in UTC as well."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can drop them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  - read once by SQLAlchemy
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        datetime: UtcDateTime(),
        str: String(),
        float: Float(),
        bytes: LargeBinary(),
    }


class StudyRow(Base):
    """A mixture problem; `definition` is what `POST /v1/studies` normalised to."""

    __tablename__ = "studies"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    definition: Mapped[dict[str, Any]]
    version: Mapped[int] = mapped_column(Integer, default=1)
    created_at: Mapped[datetime]


class RunCountRow(Base):
    """How many of a study's runs count: known without counting them.

    `revision` rises with every result and every retraction. Until `watched_until` each of them has
    suggestions computed anew.

    Apart from the study, so that a stored run rewrites a few bytes. It is the last thing a
    transaction touches, so that two of them wait for each other's commit only.
    """

    __tablename__ = "run_counts"

    study_id: Mapped[str] = mapped_column(
        ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True
    )
    succeeded: Mapped[int] = mapped_column(Integer)
    revision: Mapped[int] = mapped_column(Integer, server_default="0")
    watched_until: Mapped[datetime | None]


_PROPOSED = text("origin <> 'reported'")


class RunRow(Base):
    """One training run: one row, whatever the number of domains and metrics.

    A run that was asked for (`origin`) is leased before it ends: `lease_token` rises with every
    holder. `group_id` is the group of a swarm that trains it.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("study_id", "external_id"),
        Index(None, "study_id", "id"),
        Index(
            "ix_runs_proposed",
            "study_id",
            "state",
            "lease_until",
            sqlite_where=_PROPOSED,
            postgresql_where=_PROPOSED,
        ),
        Index(
            "ix_runs_group",
            "group_id",
            sqlite_where=text("group_id IS NOT NULL"),
            postgresql_where=text("group_id IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    external_id: Mapped[str | None]
    state: Mapped[str]
    fidelity: Mapped[str]
    weights: Mapped[dict[str, Any]]
    raw_weights: Mapped[dict[str, Any] | None]
    metrics: Mapped[dict[str, Any]]
    cost: Mapped[float | None]
    run_metadata: Mapped[dict[str, Any]]
    content_sha256: Mapped[str]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    retraction: Mapped[dict[str, Any] | None]
    origin: Mapped[str] = mapped_column(server_default="reported")
    group_id: Mapped[str | None]
    lease_token: Mapped[int] = mapped_column(Integer, server_default="0")
    lease_seconds: Mapped[float | None]
    lease_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    late: Mapped[bool] = mapped_column(server_default=false())
    failure: Mapped[str | None]
    realised_tokens: Mapped[dict[str, Any] | None]


class AttemptRow(Base):
    """What a holder of a run's lease answered; at most one of them is the run's result."""

    __tablename__ = "attempts"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    lease_token: Mapped[int] = mapped_column(Integer, primary_key=True)
    answer: Mapped[dict[str, Any]]
    answer_sha256: Mapped[str]
    is_result: Mapped[bool]
    answered_at: Mapped[datetime]


class CorpusRow(Base):
    """A registered token store; workers read it at `uri` and check it against `digest`."""

    __tablename__ = "corpora"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    definition: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class SwarmRow(Base):
    """A swarm of proxy runs: what was asked, with every default filled in.

    Its state is that of its groups. `learning_rate` is set once it is known.
    """

    __tablename__ = "swarms"
    __table_args__ = (Index(None, "study_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    corpus_id: Mapped[str] = mapped_column(ForeignKey("corpora.id"))
    request: Mapped[dict[str, Any]]
    learning_rate: Mapped[float | None]
    created_at: Mapped[datetime]


class GroupRow(Base):
    """Runs of a swarm that are trained together; its job holds state, lease and progress."""

    __tablename__ = "groups"

    id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    swarm_id: Mapped[str] = mapped_column(ForeignKey("swarms.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[str]
    worker: Mapped[str | None]
    lease_seconds: Mapped[float | None]
    tokens_per_second: Mapped[float | None]


class PointRow(Base):
    """One point of a run's loss curve."""

    __tablename__ = "points"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    tokens: Mapped[float] = mapped_column(primary_key=True)
    metrics: Mapped[dict[str, Any]]


class JobRow(Base):
    """Work to be done by a worker. This row is the truth; a message only says "look here".

    `after_id` names a job that has to succeed first. `lease_until` and `attempt` belong to the
    worker that holds the job; a job whose lease lapsed is anyone's.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "state", "lease_until"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    queue: Mapped[str]
    state: Mapped[str]
    progress: Mapped[float] = mapped_column(default=0.0)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    max_attempts: Mapped[int] = mapped_column(Integer)
    after_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), index=True
    )
    lease_until: Mapped[datetime | None]
    rung_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class OptimiserRow(Base):
    """One way of asking for suggestions in a study, and what its job found.

    `step` and the suggestions, of which `ahead` are kept ready, are of the study's `version` and
    its runs' `revision`.
    """

    __tablename__ = "optimisers"
    __table_args__ = (UniqueConstraint("study_id", "request_sha256"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), unique=True)
    request: Mapped[dict[str, Any]]
    request_sha256: Mapped[str]
    ahead: Mapped[int] = mapped_column(Integer)
    version: Mapped[int | None] = mapped_column(Integer)
    revision: Mapped[int | None] = mapped_column(Integer)
    step: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]


class SuggestionRow(Base):
    """A run that is ready to be asked for; `rank` 0 comes first."""

    __tablename__ = "suggestions"

    optimiser_id: Mapped[str] = mapped_column(
        ForeignKey("optimisers.id", ondelete="CASCADE"), primary_key=True
    )
    rank: Mapped[int] = mapped_column(Integer, primary_key=True)
    fidelity: Mapped[str]
    weights: Mapped[dict[str, Any]]
    gain: Mapped[float | None]


class OptimiserStepRow(Base):
    """What an optimiser thought at a revision of the study's runs: the history."""

    __tablename__ = "optimiser_steps"

    optimiser_id: Mapped[str] = mapped_column(
        ForeignKey("optimisers.id", ondelete="CASCADE"), primary_key=True
    )
    revision: Mapped[int] = mapped_column(Integer, primary_key=True)
    step: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class FitRow(Base):
    """A fitted surrogate: what was asked, and, once its job succeeded, report and model."""

    __tablename__ = "fits"
    __table_args__ = (Index(None, "study_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), unique=True)
    request: Mapped[dict[str, Any]]
    runs_digest: Mapped[str | None]
    study_version: Mapped[int | None] = mapped_column(Integer)
    report: Mapped[dict[str, Any] | None]
    model: Mapped[bytes | None] = mapped_column(deferred=True)
    created_at: Mapped[datetime]


class RecommendationRow(Base):
    """A recommended mixture. Immutable once its job succeeded."""

    __tablename__ = "recommendations"
    __table_args__ = (Index(None, "study_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    fit_id: Mapped[str] = mapped_column(ForeignKey("fits.id", ondelete="CASCADE"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), unique=True)
    request: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    digest: Mapped[str | None]
    created_at: Mapped[datetime]


class ScheduleRow(Base):
    """A planned schedule. Immutable once it has a result; only one that needs fits has a job."""

    __tablename__ = "schedules"
    __table_args__ = (Index(None, "study_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    job_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), unique=True
    )
    request: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    digest: Mapped[str | None]
    created_at: Mapped[datetime]


class TokenRow(Base):
    """A bearer token; only the SHA-256 of its secret is kept."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    secret_sha256: Mapped[str]
    scopes: Mapped[list[str]]
    study_id: Mapped[str | None] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class IdempotencyRow(Base):
    """The first answer to a request that carried an `Idempotency-Key`."""

    __tablename__ = "idempotency_keys"

    principal: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    status: Mapped[int] = mapped_column(Integer)
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(index=True)
