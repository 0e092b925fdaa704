"""PostgreSQL vacuums the patients soon after a sync has touched those of one clinic.

Until then each search looks into the table for every row that the index has told of already, and
takes four times as long. By default it waits until a fifth of all clinics' patients were touched.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SETTINGS = ("autovacuum_vacuum_scale_factor", "autovacuum_analyze_scale_factor")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        settings = ", ".join(f"{name} = 0.01" for name in SETTINGS)
        op.execute(f"ALTER TABLE patients SET ({settings})")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE patients RESET ({', '.join(SETTINGS)})")
