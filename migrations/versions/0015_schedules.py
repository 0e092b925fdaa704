"""Clinics are synced by a schedule in their own time zone, which Cliniko tells or somebody says."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0013"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("organizations", sa.Column("time_zone", sa.String(length=64), nullable=True))
    op.create_table(
        "schedules",
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("changes_every", sa.Integer(), nullable=True),
        sa.Column("full_at", sa.Time(), nullable=True),
        sa.Column("next_changes_at", MOMENT, nullable=True),
        sa.Column("next_full_at", MOMENT, nullable=True),
        sa.Column("skipped_at", MOMENT, nullable=True),
        sa.Column("saved_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name="fk_schedules_organization_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("organization_id", name="pk_schedules"),
    )


def downgrade() -> None:
    op.drop_table("schedules")
    op.drop_column("organizations", "time_zone")
