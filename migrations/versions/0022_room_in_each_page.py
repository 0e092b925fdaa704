"""PostgreSQL leaves room for a second version of each patient beside the first.

Each full sync writes into every row when it was seen. With room in the page the new version stays
there, and none of the five indexes hears of it (a heap-only tuple); without, each full sync wrote
all of them again, and left the index that searches read twice as large as it need be. The table
is no larger for it: it grew to twice its size with the first versions that found no room.
"""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE patients SET (fillfactor = 50)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE patients RESET (fillfactor)")
