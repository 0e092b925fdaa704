"""What a database is asked, and how it finds the answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from webapp.extensions import db


@contextmanager
def asked_meanwhile() -> Iterator[list[tuple[str, Any]]]:
    """Every statement that the database is asked to execute, with its parameters."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, given: Any, *_: object) -> None:
        asked.append((statement, given))

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def plan_of(statement: str, given: Any) -> str:
    """The plan of a statement, by indexes where there are any: tables of few rows would be read."""
    with db.engine.connect() as connection:
        explain = "EXPLAIN QUERY PLAN"
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            explain = "EXPLAIN"
        return str(connection.exec_driver_sql(f"{explain} {statement}", given).all())
