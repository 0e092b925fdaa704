"""Starts of a sync can carry a key, so that asking twice starts one; they keep what was told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sync_logs", sa.Column("idempotency_key", sa.String(length=64), nullable=True))
    op.add_column(
        "sync_logs",
        sa.Column("expected_duration", sa.String(length=40), server_default="", nullable=False),
    )


def downgrade() -> None:
    op.drop_column("sync_logs", "expected_duration")
    op.drop_column("sync_logs", "idempotency_key")
