"""All that a search reads lies in one index, in the order of the lists."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# PostgreSQL takes no more than 2,704 bytes of a row into an index.
FITS = "(length(sort_key) + length(search_text) <= 400 AND length(search_digits) <= 600)"


def upgrade() -> None:
    op.create_index(
        "ix_patients_list",
        "patients",
        [
            *("organization_id", "sort_key", "id", "state", "last_changed"),
            *("search_text", "search_digits"),
        ],
        postgresql_where=sa.text(FITS),
    )
    op.drop_index("ix_patients_organization_id_state_sort_key_id", "patients")
    op.drop_index("ix_patients_organization_id_sort_key_id", "patients")
    op.create_index(
        "ix_patients_too_long_for_the_list",
        "patients",
        ["organization_id"],
        postgresql_where=sa.text(f"NOT {FITS}"),
        sqlite_where=sa.text(f"NOT {FITS}"),
    )


def downgrade() -> None:
    op.drop_index("ix_patients_too_long_for_the_list", "patients")
    op.create_index(
        "ix_patients_organization_id_sort_key_id",
        "patients",
        ["organization_id", "sort_key", "id"],
    )
    op.create_index(
        "ix_patients_organization_id_state_sort_key_id",
        "patients",
        ["organization_id", "state", "sort_key", "id"],
    )
    op.drop_index("ix_patients_list", "patients")
