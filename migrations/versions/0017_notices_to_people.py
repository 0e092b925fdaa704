"""A notice may tell somebody of their own account: it is about no clinic."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# SQLite copies the table; ids of notices are never used twice in the copy either.
COPY = {"sqlite_autoincrement": True}


def upgrade() -> None:
    with op.batch_alter_table("notices", table_kwargs=COPY) as notices:
        notices.alter_column("organization_id", existing_type=ID, nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM notices WHERE organization_id IS NULL")
    with op.batch_alter_table("notices", table_kwargs=COPY) as notices:
        notices.alter_column("organization_id", existing_type=ID, nullable=False)
