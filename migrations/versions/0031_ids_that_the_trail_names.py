"""Ids of tokens and sessions, which the audit trail names, are given once on SQLite, too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

COPY = {"sqlite_autoincrement": True}
NAMED = {"api_tokens": "token", "user_sessions": "session"}
# Rows of ids that the trail knows may be gone.
LARGEST = """
    SELECT max(id) FROM (
        SELECT CAST(substr(subject, length(:word) + 2) AS INTEGER) AS id FROM audit_events
        WHERE subject GLOB :word || ' [0-9]*'
        UNION ALL SELECT seq FROM sqlite_sequence WHERE name = :name
    )
"""


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    for name, word in NAMED.items():
        with op.batch_alter_table(name, recreate="always", table_kwargs=COPY):
            pass  # the table is copied
        of = {"name": name, "word": word}
        largest = connection.execute(sa.text(LARGEST), of).scalar()
        if largest is not None:
            connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), of)
            begin = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)")
            connection.execute(begin, {"name": name, "seq": largest})


def downgrade() -> None:
    """Tables as they are serve the older code as well."""
