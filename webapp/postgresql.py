"""What PostgreSQL's connections need: an encoding in which every name can be written, a test before
use, and errors without values."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Engine, ExceptionContext, event
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

TRUSTED_SECONDS = 1.0  # so long after its last use a connection is taken to be alive

_READ_ONLY = "25006"  # PostgreSQL's read_only_sql_transaction
_ABOUT_VALUES = ("22", "23")  # its classes: data exceptions, violated constraints


def prepare(engine: Engine) -> None:
    """See to each connection that this engine will make."""
    _refuse_other_encodings(engine)
    _test_idle_connections(engine)
    event.listen(engine, "handle_error", _leave_values_out)
    event.listen(engine, "handle_error", _leave_when_read_only, retval=True)


def _refuse_other_encodings(engine: Engine) -> None:
    """A database that cannot hold every name would fail a clinic's syncs years later. It is as good
    as away for whoever asks, whichever process that is."""

    # Before SQLAlchemy's own first questions, whose answers it cannot read in SQL_ASCII.
    @event.listens_for(engine, "connect", insert=True)
    def _check(connection: Any, _record: object) -> None:
        encoding = connection.info.parameter_status("server_encoding")  # told without being asked
        if encoding == "UTF8":
            return
        connection.close()
        raise engine.dialect.loaded_dbapi.OperationalError(
            f"its encoding is {encoding} and must be UTF8. Make it anew with createdb "
            "--encoding=UTF8 --template=template0, as the README says."
        )


def _test_idle_connections(engine: Engine) -> None:
    """Ask a connection whether it still lives, unless it was in use just now.

    The pool's own `pool_pre_ping` asks each time, which doubles the trips of a short question.
    """

    @event.listens_for(engine, "checkin")
    def _remember(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _test(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        used = record.info.get("used")
        if used is None or time.monotonic() - used < TRUSTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError("The connection was lost while idle.") from error


def _leave_when_read_only(context: ExceptionContext) -> OperationalError | None:
    """A server that may only be read is the one before a failover, or one whose disk is nearly
    full. It is away, like one that cannot be reached; and its connections are not used again."""
    error = context.original_exception
    if getattr(error, "sqlstate", None) != _READ_ONLY:
        return None
    context.is_disconnect = True
    return OperationalError(
        context.statement, None, error, hide_parameters=True, connection_invalidated=True
    )


def _leave_values_out(context: ExceptionContext) -> None:
    """PostgreSQL repeats a value or a whole row that it refuses, which would be a patient in a log.
    Of such an error the class, the code and the name of the rule stay."""
    error = context.original_exception
    diagnosis = getattr(error, "diag", None)
    if diagnosis is None or (diagnosis.sqlstate or "")[:2] not in _ABOUT_VALUES:
        return
    rule = diagnosis.constraint_name or diagnosis.column_name
    said = f"{diagnosis.sqlstate} {rule or ''}".strip()
    error.args = (said,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({type(error).__name__}) {said}",)
