"""The floor: bare concurrent fetching and one raw bulk upsert of the columns that we store.

Nothing is checked, nothing survives a failure, nobody sees progress: no sync could be this plain.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from math import ceil
from typing import Any

import psycopg
import requests

from bench.peers.peer import for_libpq, run, session, sqlite_file

_AT_ONCE = 8
_PER_PAGE = 100

# The columns of our table, each a value straight from the JSON, or a constant where we derive one.
_COLUMNS = [
    "id",
    "organization_id",
    "state",
    "first_name",
    "last_name",
    "preferred_first_name",
    "email",
    "phone",
    "phones",
    "date_of_birth",
    "created_at",
    "updated_at",
    "archived_at",
    "merged_at",
    "merged_into",
    "deleted_at",
    "content_hash",
    "search_text",
    "search_digits",
    "sort_key",
    "sync_status",
    "last_synced",
    "last_changed",
    "last_sync_id",
]
_TABLE = f"({', '.join(f'{each} TEXT' for each in _COLUMNS)}"
_CONFLICT = "ON CONFLICT (id) DO UPDATE SET "
_CONFLICT += ", ".join(f"{each} = excluded.{each}" for each in _COLUMNS[1:])

Row = tuple[str | None, ...]


def copy(url: str, key: str, database: str) -> int:
    """Fetch everything, then write everything."""
    rows = [_row(patient) for page in _pages(url, key) for patient in page]
    file = sqlite_file(database)
    return _into_sqlite(file, rows) if file else _into_postgres(for_libpq(database), rows)


def _pages(url: str, key: str) -> Iterator[list[dict[str, Any]]]:
    local = threading.local()

    def page(number: int) -> dict[str, Any]:
        if not hasattr(local, "session"):
            local.session = session(key)
        cliniko: requests.Session = local.session
        params = {"sort": "id", "per_page": str(_PER_PAGE), "page": str(number)}
        while True:
            answer = cliniko.get(f"{url}/patients", params=params, timeout=60)
            if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                break
            time.sleep(max(0.0, float(answer.headers["X-RateLimit-Reset"]) - time.time()))
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        first = pool.submit(page, 1).result()
        yield first["patients"]
        others = range(2, ceil(first["total_entries"] / _PER_PAGE) + 1)
        for each in pool.map(page, others):
            yield each["patients"]


def _row(patient: dict[str, Any]) -> Row:
    phones = patient["patient_phone_numbers"]
    name = f"{patient['last_name']} {patient['first_name']}"
    return (
        patient["id"],
        "1",
        "active",
        patient["first_name"],
        patient["last_name"],
        patient["preferred_first_name"],
        patient["email"],
        phones[0]["number"] if phones else "",
        json.dumps(phones),
        patient["date_of_birth"],
        patient["created_at"],
        patient["updated_at"],
        patient["archived_at"],
        None,
        None,
        patient["deleted_at"],
        "",
        f"{name} {patient['email']}",
        " ".join(phone["normalized_number"] for phone in phones),
        name,
        "success",
        patient["updated_at"],
        patient["updated_at"],
        "1",
    )


def _into_sqlite(file: str, rows: list[Row]) -> int:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS patients {_TABLE}, PRIMARY KEY (id))")
        marks = ", ".join("?" for _ in _COLUMNS)
        connection.executemany(f"INSERT INTO patients VALUES ({marks}) {_CONFLICT}", rows)
    count = int(connection.execute("SELECT count(*) FROM patients").fetchone()[0])
    connection.close()
    return count


def _into_postgres(url: str, rows: list[Row]) -> int:
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE IF NOT EXISTS patients {_TABLE}, PRIMARY KEY (id))")
        cursor.execute(f"CREATE TEMPORARY TABLE incoming {_TABLE}) ON COMMIT DROP")
        with cursor.copy("COPY incoming FROM STDIN") as stream:
            for row in rows:
                stream.write_row(row)
        cursor.execute(f"INSERT INTO patients SELECT * FROM incoming {_CONFLICT}")
        found = cursor.execute("SELECT count(*) FROM patients").fetchone()
    return int(found[0]) if found else 0


if __name__ == "__main__":
    run(copy)
