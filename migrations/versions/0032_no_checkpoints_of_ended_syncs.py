"""Syncs that have ended say no more where they were: ids of patients stood there, also of those who
were forgotten since and of clinics that were deleted."""

from __future__ import annotations

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A sync that was completed holds the null of JSON already.
    op.execute(
        "UPDATE sync_logs SET checkpoint = NULL"
        " WHERE status <> 'running' AND CAST(checkpoint AS TEXT) <> 'null'"
    )


def downgrade() -> None:
    """Nobody goes on with what has ended."""
