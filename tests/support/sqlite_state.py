"""A SQLite database as a whole: to look at, to compare, and to put back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

Cells = dict[tuple[str, int, str], Any]  # by table, place and column


class SqliteState:
    """What the file at the end of this address held when this was made."""

    def __init__(self, url: str) -> None:
        self._path = url.removeprefix("sqlite:///")
        self._kept = sqlite3.connect(":memory:")
        with self._file() as file:
            file.backup(self._kept)

    def restore(self) -> None:
        """Put everything back."""
        with self._file() as file:
            self._kept.backup(file)

    def cells(self, *, but_for: tuple[str, ...] = ()) -> Cells:
        """Every value that is there now, but for tables whose names begin like this."""
        with self._file() as file:
            file.row_factory = sqlite3.Row
            tables = file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            names = [row["name"] for row in tables if not row["name"].startswith(but_for)]
            return {
                (name, place, column): row[column]
                for name in names
                for place, row in enumerate(file.execute(f"SELECT * FROM {name}"))
                for column in row.keys()  # noqa: SIM118
            }

    @contextmanager
    def _file(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path)) as file:
            yield file
