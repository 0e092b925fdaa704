"""What the daily clean-up looks for, it finds by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

DELETED = sa.text("state = 'deleted'")


def upgrade() -> None:
    op.create_index(
        "ix_patients_deleted",
        "patients",
        ["deleted_at", "last_changed", "content_hash", "id"],
        sqlite_where=DELETED,
        postgresql_where=DELETED,
    )
    op.create_index("ix_webhook_deliveries_created_at", "webhook_deliveries", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_webhook_deliveries_created_at", "webhook_deliveries")
    op.drop_index("ix_patients_deleted", "patients")
