"""A webhook keeps two secrets before its own, each until its time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.add_column("webhook_endpoints", sa.Column("sealed_earlier_secret", sa.Text(), nullable=True))
    op.add_column("webhook_endpoints", sa.Column("earlier_secret_until", moment, nullable=True))


def downgrade() -> None:
    op.drop_column("webhook_endpoints", "earlier_secret_until")
    op.drop_column("webhook_endpoints", "sealed_earlier_secret")
