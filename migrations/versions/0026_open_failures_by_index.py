"""Which clinics have failed records that are open is found without reading their other syncs.

The list of clinics asks every few seconds. With a schedule a clinic has hundreds of syncs a day; of
those in which a record has failed, and of syncs of all patients, it has few.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

CONDITIONS = {
    "ix_sync_logs_with_failures": "records_failed > 0",
    "ix_sync_logs_of_all": "operation_type = 'full_patients'",
}


def upgrade() -> None:
    for name, condition in CONDITIONS.items():
        op.create_index(
            name,
            "sync_logs",
            ["organization_id", "id"],
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )


def downgrade() -> None:
    for name in CONDITIONS:
        op.drop_index(name, "sync_logs")
