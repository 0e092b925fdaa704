"""On PostgreSQL lists and searches have an index each.

A search reads all patients of a clinic. In the order of the lists, each next one lies elsewhere in
the table, and PostgreSQL looks up each time whether that page of the table has unfinished changes;
in the order in which they were stored it looks that up once for many. SQLite does not need to.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

# PostgreSQL takes no more than 2,704 bytes of a row into an index.
FITS = sa.text("(length(sort_key) + length(search_text) <= 400 AND length(search_digits) <= 600)")


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.create_index(
        "ix_patients_order",
        "patients",
        ["organization_id", "sort_key", "id", "state"],
        postgresql_where=FITS,
    )
    op.create_index(
        "ix_patients_search",
        "patients",
        ["organization_id", "id"],
        postgresql_include=["state", "last_changed", "sort_key", "search_text", "search_digits"],
        postgresql_where=FITS,
    )
    op.drop_index("ix_patients_list", "patients")


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.create_index(
        "ix_patients_list",
        "patients",
        [
            *("organization_id", "sort_key", "id", "state", "last_changed"),
            *("search_text", "search_digits"),
        ],
        postgresql_where=FITS,
    )
    op.drop_index("ix_patients_search", "patients")
    op.drop_index("ix_patients_order", "patients")
