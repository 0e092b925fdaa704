"""The feed of changes has no foreign key: PostgreSQL looked the clinic up for each change, though
its row is locked and written to in the same transaction."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

NAME = "fk_patient_changes_organization_id"
# SQLite copies the table; the copy is kept in the order of its key, too.
COPY = {"sqlite_with_rowid": False}


def upgrade() -> None:
    with op.batch_alter_table("patient_changes", table_kwargs=COPY) as changes:
        changes.drop_constraint(NAME, type_="foreignkey")


def downgrade() -> None:
    with op.batch_alter_table("patient_changes", table_kwargs=COPY) as changes:
        changes.create_foreign_key(NAME, "organizations", ["organization_id"], ["id"])
