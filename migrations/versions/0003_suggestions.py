"""suggestions that are computed ahead

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "run_counts", sa.Column("revision", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column(
        "run_counts", sa.Column("watched_until", sa.DateTime(timezone=True), nullable=True)
    )
    op.create_table(
        "optimisers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("study_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("request", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("request_sha256", sa.String(), nullable=False),
        sa.Column("ahead", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=True),
        sa.Column("step", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["studies.id"],
            name=op.f("fk_optimisers_study_id_studies"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_optimisers_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_optimisers")),
        sa.UniqueConstraint("job_id", name=op.f("uq_optimisers_job_id")),
        sa.UniqueConstraint(
            "study_id", "request_sha256", name=op.f("uq_optimisers_study_id_request_sha256")
        ),
    )
    op.create_table(
        "suggestions",
        sa.Column("optimiser_id", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("fidelity", sa.String(), nullable=False),
        sa.Column("weights", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("gain", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["optimiser_id"],
            ["optimisers.id"],
            name=op.f("fk_suggestions_optimiser_id_optimisers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("optimiser_id", "rank", name=op.f("pk_suggestions")),
    )
    op.create_table(
        "optimiser_steps",
        sa.Column("optimiser_id", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("step", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["optimiser_id"],
            ["optimisers.id"],
            name=op.f("fk_optimiser_steps_optimiser_id_optimisers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("optimiser_id", "revision", name=op.f("pk_optimiser_steps")),
    )


def downgrade() -> None:
    for table in ("optimiser_steps", "suggestions", "optimisers"):
        op.drop_table(table)
    for column in ("watched_until", "revision"):
        op.drop_column("run_counts", column)
