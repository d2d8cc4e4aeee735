"""samples of scored documents and sampling functions

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sample_parts",
        sa.Column("study_id", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("stored_bytes", sa.Integer(), nullable=False),
        sa.Column("summary", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _of_a_study("sample_parts"),
        sa.PrimaryKeyConstraint("study_id", "sha256", name=op.f("pk_sample_parts")),
    )
    op.create_table(
        "sampling_functions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("study_id", sa.String(), nullable=False),
        sa.Column("recommendation_id", sa.String(), nullable=True),
        sa.Column("parameters", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("result", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("function", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        _of_a_study("sampling_functions"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sampling_functions")),
    )
    op.create_index(
        op.f("ix_sampling_functions_study_id_id"), "sampling_functions", ["study_id", "id"]
    )


def _of_a_study(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["study_id"],
        ["studies.id"],
        name=op.f(f"fk_{table}_study_id_studies"),
        ondelete="CASCADE",
    )


def downgrade() -> None:
    op.drop_table("sampling_functions")
    op.drop_table("sample_parts")
