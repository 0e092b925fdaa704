"""A database that may only be read, as the one before a failover, or on a disk that is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, text

from webapp.extensions import db, on_postgresql, read_alone


@contextmanager
def only_to_be_read() -> Iterator[None]:
    """The database of this application context takes no writes meanwhile."""
    begin, end = _ON_POSTGRESQL if on_postgresql() else _ON_SQLITE
    begin()
    _leave_connections()
    try:
        yield
    finally:
        end()
        _leave_connections()


def _leave_connections() -> None:
    db.session.remove()
    db.engine.dispose()


def _refuse_writes() -> None:
    with read_alone() as connection:
        name = connection.engine.url.database
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))


def _take_writes() -> None:
    with read_alone() as connection:
        name = connection.engine.url.database
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'))


def _only_ask(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA query_only = ON")


_ON_POSTGRESQL = _refuse_writes, _take_writes
_ON_SQLITE = (
    lambda: event.listen(db.engine, "connect", _only_ask),
    lambda: event.remove(db.engine, "connect", _only_ask),
)
