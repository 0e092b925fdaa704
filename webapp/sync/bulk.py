"""Many rows of patients in one statement, as values that the database takes as they are.

SQLAlchemy would look at each of the two dozen values of each row, which takes as long as all the
rest of a sync. PostgreSQL's driver would, too, so there each column goes as one value.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import msgspec

from webapp.cliniko.records import PatientRecord
from webapp.extensions import db, on_postgresql
from webapp.models import PatientSyncStatus
from webapp.services import search
from webapp.sync.columns import joined, taken_apart
from webapp.sync.target import Target

Row = tuple[Any, ...]

# So many rows in a statement: they take a megabyte. With one each SQLite's driver would queue for
# the interpreter after each row, behind the threads that read.
ROWS_TOGETHER = 400

COLUMNS = (
    "cliniko_patient_id",
    "organization_id",
    "state",
    "first_name",
    "last_name",
    "preferred_first_name",
    "email",
    "phone",
    "phones",
    "date_of_birth",
    "cliniko_created_at",
    "cliniko_updated_at",
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
)
KEY = COLUMNS.index("cliniko_patient_id")
_MOMENTS = {"cliniko_created_at", "cliniko_updated_at", "archived_at", "merged_at", "deleted_at"}
_MOMENTS |= {"last_synced", "last_changed"}
# What is neither a moment nor a text that is empty where there is none.
_OTHERS = {
    "organization_id": "bigint",
    "last_sync_id": "bigint",
    "date_of_birth": "date",
    "merged_into": "text",
    "phones": "json",
}
_JSON = msgspec.json.Encoder()
_UNIQUE = ("organization_id", "cliniko_patient_id")


def rows_of(target: Target, records: Sequence[PatientRecord], seen_at: datetime) -> list[Row]:
    """The values of these patients' rows, each in the order of COLUMNS."""
    seen = _moment(seen_at)
    return [_row_of(target, record, seen) for record in records]


def upsert(rows: list[Row]) -> None:
    """Insert these rows, or replace those of the same patients: as many as ROWS_TOGETHER is best.
    Raises what SQLAlchemy raises."""
    connection = db.session.connection()
    if on_postgresql():
        connection.exec_driver_sql(_POSTGRESQL, tuple(map(joined, zip(*rows, strict=True))))
    elif len(rows) == ROWS_TOGETHER:
        connection.exec_driver_sql(_SQLITE_MANY, tuple(chain.from_iterable(rows)))
    else:
        connection.exec_driver_sql(_SQLITE_ONE, rows)


def _row_of(target: Target, record: PatientRecord, seen: str | None) -> Row:
    names = record.first_name, record.last_name, record.preferred_first_name
    folded = first, last, *_ = [search.fold(text) for text in (*names, record.email)]
    return (
        record.cliniko_patient_id,
        target.organization_id,
        record.state.value,
        *names,
        record.email,
        record.phone,
        _phones(record),
        record.date_of_birth and record.date_of_birth.isoformat(),
        _moment(record.created_at),
        _moment(record.updated_at),
        _moment(record.archived_at),
        _moment(record.merged_at),
        record.merged_into,
        _moment(record.deleted_at),
        record.content_hash,
        search.search_text(*folded),
        search.search_digits([number for _, number in record.phones], target.shard),
        search.sort_key(last, first),
        PatientSyncStatus.SUCCESS.value,
        seen,
        seen,
        target.sync_log_id,
    )


def _statement(values: str) -> str:
    changed = (f"{name} = excluded.{name}" for name in COLUMNS if name not in _UNIQUE)
    return (
        f"INSERT INTO patients ({', '.join(COLUMNS)}) {values}"  # nosec B608  # our own words alone
        f" ON CONFLICT ({', '.join(_UNIQUE)}) DO UPDATE SET {', '.join(changed)}"
    )


def _values_in_columns() -> str:
    values = {name: f"coalesce({name}, '')" for name in COLUMNS}
    values |= {name: f"{name}::timestamp AT TIME ZONE 'UTC'" for name in _MOMENTS}
    values |= {name: f"{name}::{kind}" for name, kind in _OTHERS.items()}
    columns = ", ".join([taken_apart("%s")] * len(COLUMNS))
    return (
        f"SELECT {', '.join(values.values())}"  # nosec B608  # our own words alone
        f" FROM unnest({columns}) AS told ({', '.join(COLUMNS)})"
    )


_SQLITE_ROW = f"({', '.join('?' * len(COLUMNS))})"
_SQLITE_ONE = _statement(f"VALUES {_SQLITE_ROW}")
_SQLITE_MANY = _statement(f"VALUES {', '.join([_SQLITE_ROW] * ROWS_TOGETHER)}")
_POSTGRESQL = _statement(_values_in_columns())


def _moment(moment: datetime | None) -> str | None:
    """A moment in UTC in the form that SQLAlchemy gives it in SQLite, where text is compared."""
    return moment.isoformat(" ", "microseconds")[:26] if moment else None


def _phones(record: PatientRecord) -> str:
    if not record.phones:
        return "[]"
    phones = [{"type": kind, "number": number} for kind, number in record.phones]
    return _JSON.encode(phones).decode()
