"""proposals, corpora and swarms

Columns are added to `runs` in place: SQLite would otherwise copy the table, and dropping the old
one would take the points of loss curves with it.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _new_in_runs() -> list[sa.Column]:
    return [
        sa.Column("origin", sa.String(), server_default="reported", nullable=False),
        sa.Column("group_id", sa.String(), nullable=True),
        sa.Column("lease_token", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_seconds", sa.Float(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("late", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("realised_tokens", sa.JSON(none_as_null=True), nullable=True),
    ]


_PROPOSED = sa.text("origin <> 'reported'")
_GROUPED = sa.text("group_id IS NOT NULL")


def upgrade() -> None:
    for column in _new_in_runs():
        op.add_column("runs", column)
    op.create_index(
        "ix_runs_proposed",
        "runs",
        ["study_id", "state", "lease_until"],
        sqlite_where=_PROPOSED,
        postgresql_where=_PROPOSED,
    )
    op.create_index(
        "ix_runs_group", "runs", ["group_id"], sqlite_where=_GROUPED, postgresql_where=_GROUPED
    )
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("lease_token", sa.Integer(), nullable=False),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("answer_sha256", sa.String(), nullable=False),
        sa.Column("is_result", sa.Boolean(), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_attempts_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "lease_token", name=op.f("pk_attempts")),
    )
    op.create_table(
        "corpora",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("definition", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corpora")),
        sa.UniqueConstraint("name", name=op.f("uq_corpora_name")),
    )
    op.create_table(
        "swarms",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("study_id", sa.String(), nullable=False),
        sa.Column("corpus_id", sa.String(), nullable=False),
        sa.Column("request", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("learning_rate", sa.Float(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["corpus_id"], ["corpora.id"], name=op.f("fk_swarms_corpus_id_corpora")
        ),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["studies.id"],
            name=op.f("fk_swarms_study_id_studies"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_swarms")),
    )
    op.create_index(op.f("ix_swarms_study_id_id"), "swarms", ["study_id", "id"])
    op.create_table(
        "groups",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("swarm_id", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("lease_seconds", sa.Float(), nullable=True),
        sa.Column("tokens_per_second", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["id"], ["jobs.id"], name=op.f("fk_groups_id_jobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["swarm_id"], ["swarms.id"], name=op.f("fk_groups_swarm_id_swarms"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
    )
    op.create_index(op.f("ix_groups_swarm_id"), "groups", ["swarm_id"])


def downgrade() -> None:
    for table in ("groups", "swarms", "corpora", "attempts"):
        op.drop_table(table)
    op.drop_index("ix_runs_group", "runs")
    op.drop_index("ix_runs_proposed", "runs")
    for column in reversed(_new_in_runs()):
        op.drop_column("runs", column.name)
