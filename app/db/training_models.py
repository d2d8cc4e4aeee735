"""The tables of trainings: their log, their ledger, and what trainers acknowledged."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models import Base


class TrainingRow(Base):
    """A training whose weights are kept here: what was agreed, and the entry that is served.

    Whoever writes locks this row. `events` counts those that are stored, `refused` the observations
    that were not.
    """

    __tablename__ = "trainings"
    __table_args__ = (Index(None, "study_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str | None] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    name: Mapped[str]
    algorithm: Mapped[str]
    options: Mapped[dict[str, Any]]
    domains: Mapped[list[str]]
    lead_steps: Mapped[int] = mapped_column(BigInteger)
    policy: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(Integer)
    effective_step: Mapped[int] = mapped_column(BigInteger)
    weights: Mapped[dict[str, Any]]
    events: Mapped[int] = mapped_column(Integer)
    refused: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]


class TrainingEventRow(Base):
    """What happened in a training, what was answered, and where the training stood after it.

    Rows are only ever added. `step` is that of an observation; `position` the training's after it;
    `standing` is canonical JSON and `standing_sha256` its digest, so that folding the log anew can
    be checked.
    """

    __tablename__ = "training_events"
    __table_args__ = (
        Index("ix_training_events_step", "training_id", "step", "number"),
        Index("ix_training_events_position", "training_id", "position", "number"),
    )

    training_id: Mapped[str] = mapped_column(
        ForeignKey("trainings.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str]
    step: Mapped[int | None] = mapped_column(BigInteger)
    position: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[dict[str, Any]]
    answer: Mapped[dict[str, Any]]
    standing: Mapped[bytes] = mapped_column(deferred=True)
    standing_sha256: Mapped[str]
    created_at: Mapped[datetime]


class TrainingVersionRow(Base):
    """An entry of a training's ledger; only its fate changes, and with approval its step."""

    __tablename__ = "training_versions"

    training_id: Mapped[str] = mapped_column(
        ForeignKey("trainings.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    effective_step: Mapped[int] = mapped_column(BigInteger)
    weights: Mapped[dict[str, Any]]
    fate: Mapped[str]
    event: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]


class AckRow(Base):
    """From which step on a trainer really used a version."""

    __tablename__ = "acks"

    training_id: Mapped[str] = mapped_column(
        ForeignKey("trainings.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    applied_step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    created_at: Mapped[datetime]
