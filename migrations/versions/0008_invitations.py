"""People are invited by a link, by which they choose a password themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("secret_digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_invitations_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_invitations"),
        sa.UniqueConstraint("secret_digest", name="uq_invitations_secret_digest"),
    )
    op.create_index("ix_invitations_user_id", "invitations", ["user_id"])
    op.add_column(
        "users", sa.Column("invited", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("users", sa.Column("last_sign_in_at", MOMENT, nullable=True))


def downgrade() -> None:
    op.drop_column("users", "last_sign_in_at")
    op.drop_column("users", "invited")
    op.drop_table("invitations")
