"""A link to choose a password knows who made it, and ends with what they had opened.

Of the links of until now nobody knows it: they end within a day.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = "fk_invitations_made_by_id"


def upgrade() -> None:
    with op.batch_alter_table("invitations") as invitations:  # SQLite copies the table
        invitations.add_column(sa.Column("made_by_id", ID, nullable=True))
        invitations.create_foreign_key(NAME, "users", ["made_by_id"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("invitations") as invitations:
        invitations.drop_constraint(NAME, type_="foreignkey")
        invitations.drop_column("made_by_id")
