"""The loop that a clinic's developer would write: 50 a page, an upsert and a commit each."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import psycopg

from bench.peers.peer import for_libpq, run, session, sqlite_file

_COLUMNS = [
    "id",
    "first_name",
    "last_name",
    "preferred_first_name",
    "email",
    "date_of_birth",
    "phones",
    "created_at",
    "updated_at",
    "archived_at",
]
_TABLE = f"CREATE TABLE IF NOT EXISTS patients ({', '.join(f'{each} TEXT' for each in _COLUMNS)}"
_TABLE += ", PRIMARY KEY (id))"
_UPSERT = f"INSERT INTO patients VALUES ({', '.join('?' for _ in _COLUMNS)}) ON CONFLICT (id) "
_UPSERT += f"DO UPDATE SET {', '.join(f'{each} = excluded.{each}' for each in _COLUMNS[1:])}"


def copy(url: str, key: str, database: str) -> int:
    """Read page after page by its `next` link and store patient after patient."""
    file = sqlite_file(database)
    upsert = _UPSERT if file else _UPSERT.replace("?", "%s")
    connection: Any = sqlite3.connect(file) if file else psycopg.connect(for_libpq(database))
    connection.execute(_TABLE)
    connection.commit()
    address: str | None = f"{url}/patients?per_page=50"
    with session(key) as cliniko:
        while address:
            answer = cliniko.get(address, timeout=60)
            answer.raise_for_status()
            page = answer.json()
            for patient in page["patients"]:
                connection.execute(upsert, _row(patient))
                connection.commit()
            address = page["links"].get("next")
    rows = int(connection.execute("SELECT count(*) FROM patients").fetchone()[0])
    connection.close()
    return rows


def _row(patient: dict[str, Any]) -> tuple[str | None, ...]:
    values = {**patient, "phones": json.dumps(patient["patient_phone_numbers"])}
    return tuple(values[each] for each in _COLUMNS)


if __name__ == "__main__":
    run(copy)
