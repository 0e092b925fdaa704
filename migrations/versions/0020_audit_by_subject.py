"""Whatever was done to one patient, or with one person, is found by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

HAS_SUBJECT = sa.text("subject IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "ix_audit_events_subject",
        "audit_events",
        ["subject", "chain", "number"],
        sqlite_where=HAS_SUBJECT,
        postgresql_where=HAS_SUBJECT,
    )


def downgrade() -> None:
    op.drop_index("ix_audit_events_subject", "audit_events")
