"""How Alembic reaches the database: through the application's own engine."""

from __future__ import annotations

from alembic import context
from flask import current_app
from sqlalchemy import Connection, text

from webapp.extensions import in_this_database
from webapp.terminal import database_in_words

# A migration must not wait for ever behind a running sync; it fails and can be run again.
LOCK_TIMEOUT = "3s"


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction, alone."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text("SET statement_timeout = 0"))
        connection.commit()
    context.configure(
        connection=connection,
        target_metadata=current_app.extensions["migrate"].db.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        include_object=in_this_database,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


with database_in_words():
    reached = current_app.extensions["migrate"].db.engine.connect()
with reached as connection:
    migrate(connection)
