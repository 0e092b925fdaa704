"""Clinics can be disabled or deleted, patients forgotten for good, and what is kept has an end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("organizations", sa.Column("disabled_at", MOMENT, nullable=True))
    op.add_column("organizations", sa.Column("deleted_at", MOMENT, nullable=True))
    op.add_column("organizations", sa.Column("forgetting_key", sa.Text(), nullable=True))
    op.create_table(
        "forgotten_patients",
        sa.Column("id", ID, nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("forgotten_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name="fk_forgotten_patients_organization_id",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_forgotten_patients"),
        sa.UniqueConstraint(
            "organization_id", "digest", name="uq_forgotten_patients_organization_id_digest"
        ),
    )
    op.create_table(
        "clean_ups",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("taken_until", MOMENT, nullable=True),
        sa.Column("completed_at", MOMENT, nullable=True),
        sa.Column("removed", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_clean_ups"),
    )


def downgrade() -> None:
    op.drop_table("clean_ups")
    op.drop_table("forgotten_patients")
    op.drop_column("organizations", "forgetting_key")
    op.drop_column("organizations", "deleted_at")
    op.drop_column("organizations", "disabled_at")
