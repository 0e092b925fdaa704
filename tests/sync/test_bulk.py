"""Many rows in one statement: each value arrives in its own row, as it was."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import event, select

from tests.api.rows import MORNING, record, store
from tests.cast import Cast
from webapp.cliniko.records import PatientRecord
from webapp.extensions import db
from webapp.models import Patient, PatientChange
from webapp.sync.columns import joined
from webapp.sync.rows import known_rows
from webapp.sync.target import Target

# What could be taken for something else on its way: nothing, quotes, braces, words of SQL.
TEXTS = (
    "",
    "NULL",
    "null",
    "''",
    '"',
    "\\",
    "\\x1f",
    "{a,b}",
    "a,b",
    ";",
    "%s",
    "$1",
    "é",
    "王😀",
    "[]",
)
ODD = [
    record(
        10 + nth, value, TEXTS[-nth], preferred_first_name=value, email=value,
        phones=((value, value or "1"), ("Fax", "2")) if nth % 2 else (),
    )
    for nth, value in enumerate(TEXTS)
]  # fmt: skip
FULL = record(
    1, "Anna", "Abel", date_of_birth=date(1850, 1, 1), created_at=MORNING, updated_at=MORNING,
    archived_at=MORNING, merged_at=MORNING, merged_into="2",
)  # fmt: skip
EMPTY = record(2, "", "")


@pytest.mark.parametrize("database", ["postgresql"])
@pytest.mark.parametrize("zone", ["Australia/Sydney", "America/New_York"])
def test_the_first_and_the_last_moment_come_back_from_a_server_of_any_zone(
    cast: Cast, zone: str
) -> None:
    with db.engine.begin() as connection:
        name = connection.engine.url.database
        connection.exec_driver_sql(f"ALTER DATABASE \"{name}\" SET timezone TO '{zone}'")
    db.session.commit()
    db.engine.dispose()  # what connects from now on is told of the zone
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

    store(cast.surf, record(1, "Anna", "Abel", created_at=first, updated_at=last))

    db.session.rollback()
    row = db.session.scalars(select(Patient)).one()
    assert (row.cliniko_created_at, row.cliniko_updated_at) == (first, last)


def as_told(record: PatientRecord) -> tuple[object, ...]:
    return (
        record.first_name, record.last_name, record.preferred_first_name, record.email,
        [{"type": kind, "number": number} for kind, number in record.phones],
        record.date_of_birth, record.created_at, record.updated_at, record.archived_at,
        record.merged_at, record.merged_into,
    )  # fmt: skip


def as_stored() -> dict[str, tuple[object, ...]]:
    return {
        row.cliniko_patient_id: (
            row.first_name, row.last_name, row.preferred_first_name, row.email, row.phones,
            row.date_of_birth, row.cliniko_created_at, row.cliniko_updated_at, row.archived_at,
            row.merged_at, row.merged_into,
        )
        for row in db.session.scalars(select(Patient))
    }  # fmt: skip


@pytest.mark.parametrize("records", [[FULL, EMPTY, *ODD], [EMPTY], [FULL]], ids=len)
def test_what_was_told_is_stored(cast: Cast, records: list[PatientRecord]) -> None:
    store(cast.surf, *records)
    assert as_stored() == {each.cliniko_patient_id: as_told(each) for each in records}


def test_what_is_told_again_takes_the_place_of_what_was(cast: Cast) -> None:
    store(cast.surf, *(record(10 + nth, "Before", "Before") for nth in range(len(ODD))))
    store(cast.surf, *ODD)
    assert as_stored() == {each.cliniko_patient_id: as_told(each) for each in ODD}
    fields = db.session.scalars(select(PatientChange.fields).where(PatientChange.kind == "updated"))
    assert all({"first_name", "last_name"} <= {*each} for each in fields)


def test_however_many_come_at_once_each_is_stored(cast: Cast) -> None:
    store(cast.surf, *(record(number, f"Anna {number}", "Abel") for number in range(901)))
    first_names = {key: values[0] for key, values in as_stored().items()}
    assert first_names == {str(number): f"Anna {number}" for number in range(901)}


def test_a_value_that_would_move_others_to_another_row_is_refused() -> None:
    with pytest.raises(ValueError, match="stands between values"):
        joined(["Anna", "Be\x1frta", "Carla"])


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_patients_are_found_by_the_index_before_anybody_has_counted_them(cast: Cast) -> None:
    store(cast.surf, *(record(number, "Anna", "Abel") for number in range(3_000)))
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(db.engine, "before_cursor_execute", note)
    held = known_rows(Target(cast.surf.id, 1, "au1"), [str(number) for number in range(1_000)])
    event.remove(db.engine, "before_cursor_execute", note)
    statement, parameters = asked[-1]
    plan = db.session.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters)
    assert len(held) == 1_000
    lines = [line.strip() for line in plan.scalars()]
    conditions = [line for line in lines if line.startswith("Index Cond:")]
    whole_clinic = [line for line in conditions if "(cliniko_patient_id)" not in line]
    assert (len(conditions), whole_clinic) == (2, ["Index Cond: (id = ANY ($1))"])
    assert not [line for line in lines if "Seq Scan" in line or "Filter:" in line]
