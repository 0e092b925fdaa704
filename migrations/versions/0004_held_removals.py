"""Patients that seem to be gone, too many to be believed, wait for somebody's decision."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "held_removals",
        sa.Column("id", ID, nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("sync_log_id", ID, nullable=False),
        sa.Column("cliniko_patient_id", sa.String(length=20), nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("held_since", MOMENT, nullable=False),
        sa.Column("kept_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name="fk_held_removals_organization_id"
        ),
        sa.ForeignKeyConstraint(
            ["sync_log_id"], ["sync_logs.id"], name="fk_held_removals_sync_log_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_held_removals"),
        sa.UniqueConstraint(
            "organization_id",
            "cliniko_patient_id",
            name="uq_held_removals_organization_id_cliniko_patient_id",
        ),
    )
    op.create_index("ix_held_removals_sync_log_id", "held_removals", ["sync_log_id"])
    op.add_column("organizations", sa.Column("removals_decided_at", MOMENT, nullable=True))


def downgrade() -> None:
    op.drop_column("organizations", "removals_decided_at")
    op.drop_table("held_removals")
