"""names of sampled documents

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sample_names",
        sa.Column("study_id", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("names", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id", "sha256"],
            ["sample_parts.study_id", "sample_parts.sha256"],
            name=op.f("fk_sample_names_study_id_sample_parts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("study_id", "sha256", name=op.f("pk_sample_names")),
    )


def downgrade() -> None:
    op.drop_table("sample_names")
