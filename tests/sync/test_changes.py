"""What is written down of each change: the kind and the names of fields, never what is in them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.api.rows import MORNING, make_log, record, store
from tests.cast import Cast
from tests.sync.copies import copy_of
from webapp.cliniko.records import PatientRecord, PatientState
from webapp.extensions import db, transaction
from webapp.models import ChangeKind, Organization, PatientChange, SyncLog
from webapp.sync.changes import Change, ChangeCounts
from webapp.sync.failures import FailedRecord
from webapp.sync.target import Target
from webapp.sync.upsert import RecordPage, store_pages

Sync = Callable[..., SyncLog]

LATER = MORNING + timedelta(days=30)
BEFORE: dict[str, Any] = {
    "first_name": "Olivia",
    "last_name": "Nguyen",
    "email": "olivia@example.com",
    "phones": (("Mobile", "0412 345 678"),),
    "date_of_birth": date(2001, 5, 21),
}


def patient(**values: Any) -> PatientRecord:
    return record(1, **(BEFORE | values))


def written(organization: Organization) -> list[tuple[str, str, list[str]]]:
    """What is written down of a clinic, in its order."""
    rows = db.session.scalars(
        select(PatientChange)
        .where(PatientChange.organization_id == organization.id)
        .order_by(PatientChange.position)
    )
    return [(row.cliniko_patient_id, row.kind, row.fields) for row in rows]


def deleted(key: int = 1) -> PatientRecord:
    return PatientRecord(str(key), PatientState.DELETED, deleted_at=MORNING)


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ({"first_name": "Liv"}, ["first_name"]),
        ({"last_name": "", "email": ""}, ["last_name", "email"]),
        ({"preferred_first_name": "Liv"}, ["preferred_first_name"]),
        ({"phones": (("Work", "0412 345 678"),)}, ["phones"]),
        ({"phones": (), "date_of_birth": None}, ["phones", "date_of_birth"]),
    ],
)
def test_an_update_names_the_fields_that_differ(
    content: dict[str, Any], fields: list[str], cast: Cast
) -> None:
    store(cast.surf, patient())
    store(cast.surf, patient(**content))

    assert written(cast.surf) == [("1", "added", []), ("1", "updated", fields)]


@pytest.mark.parametrize(
    ("former", "latter", "kind", "fields"),
    [
        ({}, {"state": PatientState.ARCHIVED, "archived_at": MORNING}, "archived", []),
        ({}, {"state": PatientState.MERGED, "merged_into": "2"}, "merged", []),
        ({"state": PatientState.ARCHIVED}, {"email": ""}, "restored", ["email"]),
        ({"state": PatientState.MERGED}, {}, "restored", []),
        (
            {"state": PatientState.MERGED, "merged_into": "2"},
            {"state": PatientState.MERGED, "merged_into": "3"},
            "merged",
            [],
        ),
        (
            {"state": PatientState.ARCHIVED, "archived_at": MORNING},
            {"state": PatientState.ARCHIVED, "archived_at": LATER, "updated_at": LATER},
            "archived",
            [],
        ),
        (
            {"state": PatientState.MERGED, "merged_at": MORNING},
            {"state": PatientState.MERGED, "merged_at": LATER, "updated_at": LATER, "email": ""},
            "merged",
            ["email"],
        ),
    ],
)
def test_a_change_of_state_has_its_kind(
    former: dict[str, Any], latter: dict[str, Any], kind: str, fields: list[str], cast: Cast
) -> None:
    store(cast.surf, patient(**former))
    store(cast.surf, patient(**latter))

    assert written(cast.surf) == [("1", "added", []), ("1", kind, fields)]


def test_who_is_deleted_and_comes_back_is_restored(cast: Cast) -> None:
    for each in (patient(), deleted(), patient(first_name="Liv")):
        store(cast.surf, each)

    kinds = [(kind, fields) for _, kind, fields in written(cast.surf)]
    assert kinds == [("added", []), ("deleted", []), ("restored", ["first_name"])]


def test_a_tombstone_of_somebody_we_never_held_says_deleted(cast: Cast) -> None:
    store(cast.surf, deleted())

    assert written(cast.surf) == [("1", "deleted", [])]


def test_what_only_its_time_has_moved_is_no_change(cast: Cast) -> None:
    store(cast.surf, patient(updated_at=MORNING))
    store(cast.surf, patient(updated_at=MORNING.replace(hour=12)))

    assert written(cast.surf) == [("1", "added", [])]


def test_a_page_that_is_stored_twice_is_written_down_once(cast: Cast) -> None:
    log = make_log(cast.surf)
    target, page = Target(cast.surf.id, log.id, "au1"), RecordPage(1, [patient(), deleted(2)])
    counts = []
    for _ in range(2):
        with transaction():
            counts.append(store_pages(target, [page], seen_at=MORNING).changes)

    assert written(cast.surf) == [("1", "added", []), ("2", "deleted", [])]
    assert [sum(each.kinds.values()) for each in counts] == [2, 0]


def test_positions_count_each_clinics_changes_from_one(cast: Cast) -> None:
    for organization in (cast.surf, cast.northside, cast.surf):
        store(organization, *(record(n, "A", "B") for n in range(1, 3)))
        store(organization, *(record(n, "C", "D") for n in range(1, 3)))

    for organization in (cast.surf, cast.northside):
        positions = db.session.scalars(
            select(PatientChange.position)
            .where(PatientChange.organization_id == organization.id)
            .order_by(PatientChange.position)
        ).all()
        assert positions == list(range(1, len(positions) + 1))
        recorded = select(Organization.changes_recorded).where(Organization.id == organization.id)
        assert db.session.scalar(recorded) == len(positions) >= 4


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # SQLite takes any text
def test_a_record_that_the_database_refuses_changes_nothing(cast: Cast) -> None:
    good, bad = record(1, "Olivia", "Nguyen"), record(2, "Ann\x00", "Lee")
    store(cast.surf, good, bad)

    assert written(cast.surf) == [("1", "added", [])]


def test_the_first_sync_adds_everybody_and_says_so(sync: Sync, cast: Cast) -> None:
    log = sync()

    changes = log.progress["changes"]
    assert (changes["added"], changes["deleted"], changes["fields"]) == (643, 5, {})
    assert {key for key, _, _ in written(cast.surf)} == copy_of(cast.surf).keys()
    assert len(written(cast.surf)) == 648


def test_the_counts_are_what_is_written_down(
    sync: Sync, cast: Cast, cliniko: Simulator, surf_account: ClinikoAccount
) -> None:
    """Also where patients change while a sync reads."""
    active = surf_account.ids(State.ACTIVE)
    changes = {
        5: lambda: surf_account.archive(active[0], active[-1]),
        9: lambda: surf_account.edit(active[1], email="another@example.com"),
        13: lambda: surf_account.unarchive(active[0]),
    }

    def change(_path: str, _params: object, number: int) -> None:
        changes.pop(number, lambda: None)()

    cliniko.before_request = change
    log = sync()

    told = ChangeCounts.of(
        [Change(key, ChangeKind(kind), tuple(fields)) for key, kind, fields in written(cast.surf)]
    )
    assert changes == {}
    assert log.progress["changes"] == told.to_json()


def test_what_was_in_the_fields_is_never_written_down(cast: Cast) -> None:
    store(cast.surf, patient(email="canary@example.com"))
    store(cast.surf, patient(first_name="Canary", email="other@example.com"))

    rows = db.session.execute(select(PatientChange.__table__)).all()
    assert "canary" not in str(rows).lower()
    assert "@" not in str(rows)


def test_a_change_is_written_down_though_another_copy_of_the_record_cannot_be_read(
    cast: Cast,
) -> None:
    """Where two ranges meet a patient is read twice, and may be edited in between."""
    store(cast.surf, patient())
    target = Target(cast.surf.id, make_log(cast.surf).id, cast.surf.shard)
    failed = FailedRecord("1", "first_name", "is no text", 2)
    pages = [RecordPage(1, [patient(first_name="Liv")], []), RecordPage(2, [], [failed])]
    with transaction():
        store_pages(target, pages, seen_at=MORNING, some_failed=False)

    assert written(cast.surf)[1:] == [("1", "updated", ["first_name"])]
