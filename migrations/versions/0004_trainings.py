"""trainings whose weights follow what their trainers tell

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trainings",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("study_id", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("algorithm", sa.String(), nullable=False),
        sa.Column("options", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("domains", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("lead_steps", sa.BigInteger(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("effective_step", sa.BigInteger(), nullable=False),
        sa.Column("weights", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["studies.id"],
            name=op.f("fk_trainings_study_id_studies"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trainings")),
    )
    op.create_index(op.f("ix_trainings_study_id_id"), "trainings", ["study_id", "id"])
    _create_part(
        "training_events",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("standing", sa.LargeBinary(), nullable=False),
        sa.Column("standing_sha256", sa.String(), nullable=False),
        key=("number",),
    )
    for place in ("step", "position"):
        op.create_index(
            f"ix_training_events_{place}", "training_events", ["training_id", place, "number"]
        )
    _create_part(
        "training_versions",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("effective_step", sa.BigInteger(), nullable=False),
        sa.Column("weights", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("fate", sa.String(), nullable=False),
        sa.Column("event", sa.Integer(), nullable=False),
        key=("version",),
    )
    _create_part(
        "acks",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("applied_step", sa.BigInteger(), nullable=False),
        key=("version", "applied_step"),
    )


def _create_part(table: str, *columns: sa.Column, key: tuple[str, ...]) -> None:
    """Create a table whose rows belong to a training."""
    op.create_table(
        table,
        sa.Column("training_id", sa.String(), nullable=False),
        *columns,
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["training_id"],
            ["trainings.id"],
            name=op.f(f"fk_{table}_training_id_trainings"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("training_id", *key, name=op.f(f"pk_{table}")),
    )


def downgrade() -> None:
    for table in ("acks", "training_versions", "training_events", "trainings"):
        op.drop_table(table)
