"""A search on PostgreSQL reads the patients of the state that is asked for, and no others.

They still come as they were stored. Until now the state stood beside each and was compared.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

# PostgreSQL takes no more than 2,704 bytes of a row into an index.
FITS = sa.text("(length(sort_key) + length(search_text) <= 400 AND length(search_digits) <= 600)")
TEXTS = ["last_changed", "sort_key", "search_text", "search_digits"]


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _replace(["organization_id", "state", "id"], TEXTS)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _replace(["organization_id", "id"], ["state", *TEXTS])


def _replace(key: list[str], beside: list[str]) -> None:
    op.drop_index("ix_patients_search", "patients")
    op.create_index(
        "ix_patients_search",
        "patients",
        key,
        postgresql_include=beside,
        postgresql_where=FITS,
    )
