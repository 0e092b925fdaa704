"""Syncs that ended long ago are deleted; how they ended is still counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deleted_syncs",
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("error_code", sa.String(length=40), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("status", "error_code", name="pk_deleted_syncs"),
    )
    op.create_index("ix_sync_logs_completed_at", "sync_logs", ["completed_at"])


def downgrade() -> None:
    op.drop_index("ix_sync_logs_completed_at", "sync_logs")
    op.drop_table("deleted_syncs")
