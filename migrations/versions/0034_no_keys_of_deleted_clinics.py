"""Deleted clinics kept the key by which their forgotten patients were known. It opens nothing any
more, and without the encryption key of its time it would be counted as unreadable for ever."""

from __future__ import annotations

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE organizations SET forgetting_key = NULL WHERE deleted_at IS NOT NULL")


def downgrade() -> None:
    """Nobody misses a key that opens nothing."""
