"""What changed about patients is written down, and up to when a clinic has been read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "patient_changes",
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("cliniko_patient_id", sa.String(length=20), nullable=False),
        sa.Column("sync_log_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name="fk_patient_changes_organization_id"
        ),
        sa.PrimaryKeyConstraint("organization_id", "position", name="pk_patient_changes"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_patient_changes_organization_id_cliniko_patient_id",
        "patient_changes",
        ["organization_id", "cliniko_patient_id"],
    )
    op.create_index("ix_patient_changes_sync_log_id", "patient_changes", ["sync_log_id"])
    op.add_column("organizations", sa.Column("synced_through", MOMENT, nullable=True))
    for name in ("changes_recorded", "changes_dropped"):
        op.add_column(
            "organizations", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        )


def downgrade() -> None:
    for name in ("changes_dropped", "changes_recorded", "synced_through"):
        op.drop_column("organizations", name)
    op.drop_table("patient_changes")
