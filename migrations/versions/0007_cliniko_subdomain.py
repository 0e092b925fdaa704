"""Where Cliniko shows the patients of a clinic to people; told anew by each sync."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("organizations", sa.Column("cliniko_subdomain", sa.String(63)))


def downgrade() -> None:
    op.drop_column("organizations", "cliniko_subdomain")
