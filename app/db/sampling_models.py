"""The tables of quality-aware sampling: samples of scored documents, and sampling functions."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from app.db.models import Base


class SamplePartRow(Base):
    """A part of a study's sample of scored documents, known by its content.

    `summary` has its counts and moments; `content` the documents themselves, packed
    (`app.samples.packing`).
    """

    __tablename__ = "sample_parts"

    study_id: Mapped[str] = mapped_column(
        ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True
    )
    sha256: Mapped[str] = mapped_column(primary_key=True)
    documents: Mapped[int] = mapped_column(Integer)
    stored_bytes: Mapped[int] = mapped_column(Integer)
    summary: Mapped[dict[str, Any]]
    content: Mapped[bytes] = mapped_column(deferred=True)
    created_at: Mapped[datetime]


class SampleNamesRow(Base):
    """By what the documents of a part are known again: hashes of those that have ids, packed.

    It is a table of its own because it is read at every upload, without the documents.
    """

    __tablename__ = "sample_names"
    __table_args__ = (
        ForeignKeyConstraint(
            ["study_id", "sha256"],
            ["sample_parts.study_id", "sample_parts.sha256"],
            ondelete="CASCADE",
        ),
    )

    study_id: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(primary_key=True)
    names: Mapped[bytes]


class SamplingFunctionRow(Base):
    """A sampling function and what it implies. Immutable; it outlives the sample it was made of.

    `function` is its JSON, compressed; `sha256` that of the JSON.
    """

    __tablename__ = "sampling_functions"
    __table_args__ = (Index(None, "study_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    recommendation_id: Mapped[str | None]
    parameters: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any]]
    sha256: Mapped[str]
    function: Mapped[bytes] = mapped_column(deferred=True)
    created_at: Mapped[datetime]
