"""Statements that are put into words once for a whole run.

Each test has a database of its own and so an engine of its own, which would compile every statement
anew: a quarter of what a test costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from webapp.extensions import engine_options


@pytest.fixture(scope="session", autouse=True)
def compiled_statements() -> Iterator[None]:
    """What is compiled is found by its statement and its dialect. Dialects of one kind are the same
    here: all engines are made with the same options, and the servers do not change."""
    compiled: dict[Any, Any] = {}

    def with_compiled(url: str) -> dict[str, Any]:
        return engine_options(url) | {"execution_options": {"compiled_cache": compiled}}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("webapp.engine_options", with_compiled)
        for kind in (PGDialect_psycopg, SQLiteDialect_pysqlite):
            patch.setattr(kind, "__eq__", lambda self, other: type(self) is type(other))
            patch.setattr(kind, "__hash__", lambda self: hash(type(self)))
        yield
