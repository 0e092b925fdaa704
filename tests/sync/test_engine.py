"""A whole sync against the simulator: the copy is true, or the sync says why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.cast import NORTHSIDE_KEY, SURF_KEY, Cast
from tests.support.processes import wait_until
from tests.sync.conftest import ABOUT_ANSWERS
from tests.sync.copies import copy_of, truth_of
from tests.sync.logs import certificate_of
from webapp.api.metadata import Metadata
from webapp.cliniko.client import Account
from webapp.cliniko.listing import plan_starts
from webapp.cliniko.records import PatientState
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import (
    OperationType,
    Organization,
    Patient,
    PatientSyncStatus,
    SyncLog,
    SyncPhase,
)
from webapp.services import connection, counts, credentials, patients
from webapp.sync import engine, history, recovery, removals, time_limit
from webapp.sync.passes import Passes
from webapp.sync.reader import REQUESTS_AT_ONCE
from webapp.sync.recorder import Recorder
from webapp.sync.removals import Removals
from webapp.sync.start import cancel_sync
from webapp.sync.upsert import RecordPage, Stored

Sync = Callable[..., SyncLog]
InStep = Callable[[], bool]


def test_all_648_patients_arrive_in_every_state(sync: Sync, in_step: InStep, cast: Cast) -> None:
    log = sync()

    assert log.status == "completed"
    assert in_step()
    assert (log.records_success, log.records_failed, log.records_processed) == (648, 0, 648)
    assert counts.by_state(cast.surf) == {
        PatientState.ACTIVE: 602,
        PatientState.ARCHIVED: 36,
        PatientState.MERGED: 5,
        PatientState.DELETED: 5,
    }
    assert log.progress["patients_found"] == 648
    assert log.progress["progress_percent"] == 100.0
    assert log.progress["active_found"] == 602
    assert log.progress["phase"] == "finished"
    assert log.progress["estimated_remaining"] is None
    assert log.lease_expires_at is None


def test_seven_requests_read_602_active_patients(sync: Sync, cliniko: Simulator) -> None:
    sync()

    asked = [r.params for r in cliniko.requests if r.path == "/patients" and "q[]" not in r.params]
    whole = [params for params in asked if params["per_page"] != ["1"]]
    assert len(whole) == 7
    assert len(cliniko.requests) <= 16


def test_a_merged_patient_knows_the_survivor(sync: Sync, cast: Cast) -> None:
    sync()

    merged = patients.find(cast.surf, patients.PatientFilter(PatientState.MERGED), limit=10)
    survivors = {patients.survivor(patient) for patient in merged.patients}
    assert len(merged.patients) == 5
    assert None not in survivors


def test_a_second_sync_rewrites_nothing(sync: Sync, in_step: InStep, cast: Cast) -> None:
    sync()
    before = now()
    log = sync()

    changed = patients.find(cast.surf, patients.PatientFilter(None, changed_after=before), limit=10)
    confirmed = patients.find(
        cast.surf, patients.PatientFilter(None, last_synced_after=before), limit=10
    )
    assert (log.status, log.records_success) == ("completed", 648)
    assert changed.total == 0
    assert confirmed.total == 648
    assert in_step()


def test_what_a_clock_ahead_has_stamped_is_no_last_word(
    sync: Sync, in_step: InStep, surf_account: ClinikoAccount
) -> None:
    """A version that an earlier sync stored is older news, whatever time Cliniko wrote to it."""
    edited = surf_account.ids(State.ACTIVE)[5]
    surf_account.edit(edited, first_name="Early", updated_at="2099-01-01T00:00:00Z")
    sync()
    surf_account.edit(edited, first_name="Put right")
    surf_account.archive(edited)

    assert sync(OperationType.CHANGED_PATIENTS).status == "completed"

    assert in_step()


def test_changes_between_two_syncs_arrive(
    sync: Sync, in_step: InStep, surf_account: ClinikoAccount
) -> None:
    sync()
    active = surf_account.ids(State.ACTIVE)
    archived = surf_account.ids(State.ARCHIVED)
    surf_account.archive(active[3], active[-3])
    surf_account.unarchive(archived[0])
    surf_account.edit(active[10], first_name="Zoë", email="zoe@example.com")
    surf_account.merge(active[20], into=active[21])
    surf_account.create(first_name="New", last_name="Patient")

    assert sync().status == "completed"
    assert in_step()


def test_a_deleted_patient_keeps_what_we_knew(
    sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    sync()
    gone = surf_account.ids(State.ACTIVE)[5]
    known = copy_of(cast.surf)[gone]
    surf_account.delete(gone)

    log = sync()

    assert log.status == "completed"
    assert copy_of(cast.surf)[gone] == known._replace(state="deleted")


def test_a_deleted_patient_who_can_be_read_again_counts_as_read(
    sync: Sync, surf_account: ClinikoAccount
) -> None:
    sync()
    gone = surf_account.ids(State.ACTIVE)[5]
    surf_account.delete(gone)
    sync()
    status = select(Patient.sync_status).where(Patient.cliniko_patient_id == gone)
    with transaction() as session:
        session.execute(
            update(Patient)
            .where(Patient.cliniko_patient_id == gone)
            .values(sync_status=PatientSyncStatus.FAILED)
        )

    sync()

    assert db.session.scalar(status) == PatientSyncStatus.SUCCESS


@ABOUT_ANSWERS
@pytest.mark.parametrize("nth", [1, 3, 5])
def test_a_range_whose_first_page_was_cut_off_is_read_to_its_end(
    sync: Sync, in_step: InStep, surf_account: ClinikoAccount, cliniko: Simulator, nth: int
) -> None:
    """Its second page tells whether anybody follows; the cut-off one says that nobody does."""
    start = plan_starts(len(surf_account.ids(State.ACTIVE)), REQUESTS_AT_ONCE)[nth]
    asked: Any = {"on": "/patients", "query": f"per_page={start.per_page}&page={start.page}&"}
    cliniko.faults.add("short_page", keep=20, **asked)
    cliniko.faults.add("wrong_total", total=20, **asked)
    cliniko.faults.add("replaced_value", key="links", value={}, **asked)

    log = sync()

    assert all(fault.fitting for fault in cliniko.faults)
    assert (log.status, log.records_success) == ("completed", 648)
    assert in_step()


def leave_out_somebody(cliniko: Simulator, account: ClinikoAccount) -> str:
    """The list shows somebody's neighbour twice in their place; whom it leaves out."""
    neighbour, left_out = account.ids(State.ACTIVE)[50:52]
    record = account.patient(neighbour).record()
    on: Any = {"on": "/patients", "query": "&page=1&", "times": None}
    cliniko.faults.add("replace_record", record=record, at=51, **on)
    return left_out


def test_a_patient_in_no_list_is_asked_for_and_kept_while_cliniko_knows_them(
    sync: Sync, in_step: InStep, surf_account: ClinikoAccount, cliniko: Simulator
) -> None:
    """Absence never means deleted."""
    sync()
    left_out = leave_out_somebody(cliniko, surf_account)

    log = sync()

    asked = [r for r in cliniko.requests if f"id:={left_out}" in r.params.get("q[]", [])]
    assert asked
    assert (log.status, log.records_success) == ("completed", 648)
    assert in_step()


def test_who_stands_in_no_list_of_a_server_that_ignores_ids_is_kept(
    sync: Sync, in_step: InStep, surf_account: ClinikoAccount, cliniko: Simulator
) -> None:
    sync()
    leave_out_somebody(cliniko, surf_account)
    cliniko.faults.add("ignore_id_filter", query="id:=", times=None)

    assert sync().status == "completed"
    assert in_step()


@pytest.mark.parametrize("refuses", ["/patients/archived", "/patients/deleted"])
def test_a_list_that_does_not_know_the_question_about_ids_fails_no_sync(
    sync: Sync, cast: Cast, surf_account: ClinikoAccount, cliniko: Simulator, refuses: str
) -> None:
    """Whoever stands in no list is asked about by themselves then."""
    sync()
    left_out = leave_out_somebody(cliniko, surf_account)
    vanished = surf_account.ids(State.ACTIVE)[0]
    surf_account.forget(vanished)
    cliniko.faults.add("status", on=refuses, query="id:=", status=400, times=None)

    assert sync().status == "completed"
    states = {key: copy.state for key, copy in copy_of(cast.surf).items()}
    assert (states[left_out], states[vanished]) == ("active", "deleted")


def test_those_who_stand_in_no_list_are_brought_up_to_date_and_asked_about_in_turns(
    sync: Sync,
    in_step: InStep,
    surf_account: ClinikoAccount,
    cliniko: Simulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(removals, "MOST_SINGLE_QUESTIONS", 2)
    monkeypatch.setattr(Removals, "list_again", lambda *_: None)
    sync()
    neighbour, *left_out = surf_account.ids(State.ACTIVE)[49:53]
    for key in left_out:
        before = surf_account.patient(key).record()["updated_at"]
        surf_account.edit(key, first_name="Known by themselves alone", updated_at=before)
    record = surf_account.patient(neighbour).record()
    on = {"on": "/patients", "query": "&page=1&", "times": None}
    for at in (50, 51, 52):
        cliniko.faults.add("replace_record", record=record, at=at, **on)

    assert sync().status == sync().status == "completed"

    assert in_step()


def test_a_tombstone_in_another_list_marks_nobody_before_the_end(
    sync: Sync, cast: Cast, cliniko: Simulator
) -> None:
    sync()
    before = copy_of(cast.surf)
    gone = {"deleted_at": "2026-03-02T09:00:00Z"}
    on: dict[str, Any] = {"on": "/patients/archived", "query": "per_page=100", "fields": gone}
    cliniko.faults.add("edit_record", times=None, **on)
    cliniko.faults.add("status", query="updated_at", status=400, times=None)

    assert sync().status == "failed"
    assert copy_of(cast.surf) == before

    cliniko.faults.clear()
    cliniko.faults.add("edit_record", times=None, **on)
    log = sync()
    assert log.status == "completed"
    after = copy_of(cast.surf)
    (key,) = [each for each in before if after[each] != before[each]]
    assert after[key].state == "deleted"
    assert certificate_of(log)["in_step"]


def test_a_tombstone_that_stays_in_another_list_is_counted_there_and_nobody_is_missed(
    sync: Sync, cliniko: Simulator
) -> None:
    gone = {"deleted_at": "2026-03-02T09:00:00Z"}
    on: dict[str, Any] = {"on": "/patients/archived", "query": "per_page=100&page=1&"}
    cliniko.faults.add("edit_record", fields=gone, times=None, **on)

    log = sync()

    assert log.status == "completed"
    assert log.progress["not_shown"] == 0
    assert log.progress["requests_made"] <= 16
    assert certificate_of(log)["in_step"]


def test_suspiciously_many_deletions_are_held(
    sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    sync()
    surf_account.delete(*surf_account.ids(State.ACTIVE)[:60])

    log = sync()

    assert log.status == "completed"
    assert log.progress["removals_held"] == 60
    assert counts.by_state(cast.surf)[PatientState.DELETED] == 5


@pytest.mark.parametrize("where", [0, -1, 300])
def test_patients_archived_between_two_pages_lose_nobody(
    where: int, sync: Sync, in_step: InStep, cliniko: Simulator, surf_account: ClinikoAccount
) -> None:
    """Every later record moves one place forward: what a reader by page numbers misses."""
    chosen = surf_account.ids(State.ACTIVE)

    def change(path: str, _params: dict[str, list[str]], number: int) -> None:
        if path == "/patients" and number in (3, 5, 7, 9):
            surf_account.archive(chosen[where + number * (1 if where >= 0 else -1)])

    cliniko.before_request = change

    assert sync().status == "completed"
    assert in_step()


def test_active_patients_only_leaves_the_others_alone(sync: Sync, cast: Cast) -> None:
    log = sync(OperationType.ACTIVE_PATIENTS)

    assert (log.status, log.records_success) == ("completed", 602)
    assert counts.by_state(cast.surf)[PatientState.ARCHIVED] == 0


@ABOUT_ANSWERS
@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 199, 200])
def test_small_clinics_are_read_whole(
    count: int, sync: Sync, in_step: InStep, surf_account: ClinikoAccount
) -> None:
    surf_account.delete(*surf_account.ids(State.ACTIVE)[count:])

    log = sync()

    assert log.status == "completed"
    assert log.progress["progress_percent"] == 100.0
    assert log.progress["active_found"] == count
    assert in_step()


MALFORMED = {
    "an absurd date": {"date_of_birth": "0000-00-00"},
    "a NUL character": {"first_name": "A\x00nn"},
    "an overlong name": {"last_name": "n" * 2000},
    "a wrong type": {"email": {"not": "a text"}},
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED.keys())
def test_one_bad_record_never_sinks_its_page(
    content: dict[str, object], sync: Sync, surf_account: ClinikoAccount
) -> None:
    bad = surf_account.ids(State.ACTIVE)[150]
    surf_account.edit(bad, **content)

    log = sync()

    assert log.status == "completed"
    assert (log.records_success, log.records_failed) == (647, 1)
    (failure,) = history.failures(log, limit=2, offset=0)
    assert failure.cliniko_patient_id == bad
    assert failure.field in content
    assert str(next(iter(content.values()))) not in failure.reason


def test_a_long_name_is_stored_whole(sync: Sync, cast: Cast, surf_account: ClinikoAccount) -> None:
    somebody = surf_account.ids(State.ACTIVE)[7]
    surf_account.edit(somebody, last_name="n" * 300)

    assert sync().records_failed == 0
    assert copy_of(cast.surf)[somebody].last_name == "n" * 300


def test_a_patient_whose_newest_version_is_bad_keeps_the_older_one(
    sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    sync()
    somebody = surf_account.ids(State.ACTIVE)[7]
    known = copy_of(cast.surf)[somebody]
    surf_account.edit(somebody, date_of_birth="0000-00-00")

    sync()

    assert copy_of(cast.surf)[somebody] == known
    page = patients.find(cast.surf, patients.PatientFilter(), limit=700)
    failed = [p.cliniko_patient_id for p in page.patients if p.sync_status == "failed"]
    assert failed == [somebody]


FAILURES = [
    ({"kind": "status", "status": 401, "nth": 3}, "CLINIKO_AUTH_FAILED"),
    ({"kind": "status", "status": 403, "nth": 3}, "CLINIKO_FORBIDDEN"),
    ({"kind": "redirect", "nth": 3, "to": "http://127.0.0.1:9/"}, "CLINIKO_BAD_RESPONSE"),
]


@ABOUT_ANSWERS
@pytest.mark.parametrize(("fault", "error_code"), FAILURES, ids=[code for _, code in FAILURES])
def test_a_sync_fails_with_the_reason_and_marks_nobody_deleted(
    fault: dict[str, object],
    error_code: str,
    sync: Sync,
    cast: Cast,
    cliniko: Simulator,
    surf_account: ClinikoAccount,
) -> None:
    sync()
    completed_at = history.summary(cast.surf).last_completed
    surf_account.delete(surf_account.ids(State.ACTIVE)[0])
    cliniko.faults.add(on="/patients", times=None, **fault)  # type: ignore[arg-type]

    log = sync()

    assert (log.status, log.error_code) == ("failed", error_code)
    assert log.error_message
    assert log.completed_at is not None
    assert log.progress["progress_percent"] < 100
    assert counts.by_state(cast.surf)[PatientState.DELETED] == 5
    assert history.summary(cast.surf).last_completed == completed_at
    # The page of the clinic is not to go on saying "Connected" of a key that was refused.
    refused = None if error_code == "CLINIKO_BAD_RESPONSE" else error_code
    assert cast.surf.connection_error_code == refused


@ABOUT_ANSWERS
@pytest.mark.parametrize("kind", ["reset_before_headers", "reset_mid_body", "short_body"])
def test_a_broken_connection_is_tried_again(
    kind: str, sync: Sync, in_step: InStep, cliniko: Simulator
) -> None:
    cliniko.faults.add(kind, on="/patients", nth=4)

    assert sync().status == "completed"
    assert in_step()


@ABOUT_ANSWERS
@pytest.mark.parametrize("times", [1, 2])
def test_a_page_that_is_empty_for_a_moment_hides_nobody(
    times: int, sync: Sync, in_step: InStep, cliniko: Simulator, surf_account: ClinikoAccount
) -> None:
    sync()
    somebody = surf_account.ids(State.ACTIVE)[0]

    def edit(path: str, _params: object, _number: int) -> None:
        if path == "/patients/deleted":  # only the catch-up can bring this
            surf_account.edit(somebody, first_name="Zoë")
            cliniko.before_request = None

    cliniko.before_request = edit
    cliniko.faults.add("short_page", on="/patients", query="updated_at", times=times)

    assert sync().status == "completed"
    assert in_step()


@ABOUT_ANSWERS
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_short_trouble_of_cliniko_is_ridden_out(
    status: int, sync: Sync, in_step: InStep, cliniko: Simulator
) -> None:
    cliniko.faults.add("status", on="/patients*", nth=2, status=status)

    assert sync().status == "completed"
    assert in_step()


def test_cliniko_says_slow_down_and_the_sync_waits_as_long(
    sync: Sync, in_step: InStep, cliniko: Simulator
) -> None:
    cliniko.faults.add("rate_limited", on="/patients", nth=3, retry_after=2)

    log = sync()

    refused = next(r for r in cliniko.requests if r.status == 429)
    assert log.status == "completed"
    assert [r.status for r in cliniko.requests].count(429) == 1
    assert max(r.time for r in cliniko.requests) - refused.time >= 2
    assert in_step()


@ABOUT_ANSWERS
@pytest.mark.parametrize("kind", ["ignore_id_filter", "ignore_sort", "ignore_per_page"])
def test_a_server_that_keeps_to_no_order_is_read_by_its_links(
    kind: str, sync: Sync, in_step: InStep, cliniko: Simulator
) -> None:
    cliniko.faults.add(kind, on="/patients*", times=None)

    assert sync().status == "completed"
    assert in_step()


def test_one_list_without_order_keeps_nobody_from_being_caught_up_with(
    sync: Sync, in_step: InStep, cliniko: Simulator, surf_account: ClinikoAccount
) -> None:
    """Who is restored before the archived list is read stands in neither."""
    cliniko.faults.add("ignore_sort", on="/patients/deleted", times=None)
    cliniko.faults.add("ignore_id_filter", on="/patients/deleted", times=None)
    newest = surf_account.create(created_at="2020-01-01T00:00:00Z")
    surf_account.delete(newest)  # in their default order he stands first
    restored = surf_account.ids(State.ARCHIVED)[0]

    def restore(path: str, params: dict[str, list[str]], _count: int) -> None:
        if path == "/patients/archived" and params["per_page"] == ["100"]:
            cliniko.before_request = None
            surf_account.unarchive(restored)

    cliniko.before_request = restore

    assert sync().status == "completed"
    assert in_step()


def test_a_busy_clinic_of_a_server_without_order_is_read_to_the_end(
    sync: Sync, in_step: InStep, cliniko: Simulator, surf_account: ClinikoAccount
) -> None:
    cliniko.faults.add("ignore_id_filter", on="/patients*", times=None)
    active = iter(surf_account.ids(State.ACTIVE))

    def archive_one(_path: str, params: dict[str, list[str]], _count: int) -> None:
        if "sort" not in params and "page" not in params:  # a walk begins
            surf_account.archive(next(active))
            surf_account.create()

    cliniko.before_request = archive_one

    assert sync().status == "completed"
    cliniko.before_request = None
    assert sync().status == "completed"
    assert in_step()


def test_a_record_without_an_id_alone_on_its_page_fails_alone(
    sync: Sync, cliniko: Simulator, surf_account: ClinikoAccount
) -> None:
    somebody = surf_account.patient(surf_account.ids(State.ACTIVE)[0]).record()
    nameless = somebody | {"id": None, "links": {}}
    cliniko.faults.add(
        "replaced_value", on="/patients", query="updated_at", key="patients", value=[nameless]
    )

    log = sync()

    assert (log.status, log.records_failed) == ("completed", 1)


def test_the_key_of_another_account_stores_nobody(sync: Sync, cast: Cast) -> None:
    sync()
    before = copy_of(cast.surf)
    with transaction():
        cast.surf.encrypted_api_key = credentials.encrypt(cast.surf.id, NORTHSIDE_KEY)

    log = sync()

    assert (log.status, log.error_code) == ("failed", "CLINIKO_ACCOUNT_MISMATCH")
    assert copy_of(cast.surf) == before


def test_a_clinic_that_gets_another_account_before_the_first_page_stores_nobody(
    sync: Sync, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody saves the right key while a first sync has asked with the wrong one."""
    noted, surf = Passes._note_start, cast.surf.id

    def note(*said: Any) -> None:
        noted(*said)
        with transaction() as session:
            session.get_one(Organization, surf).cliniko_id = "1"

    monkeypatch.setattr(Passes, "_note_start", note)

    log = sync()

    assert (log.status, log.error_code) == ("failed", "CLINIKO_ACCOUNT_MISMATCH")
    assert copy_of(cast.surf) == {}


def test_a_first_sync_with_a_key_that_was_replaced_begins_again_with_the_new_one(
    sync: Sync, cast: Cast, cliniko: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new key was saved without a question, for Cliniko was away."""
    noted, surf = Passes._note_start, cast.surf.id

    def note(*said: Any) -> None:
        noted(*said)
        with transaction() as session:
            key = credentials.encrypt(surf, NORTHSIDE_KEY)
            session.get_one(Organization, surf).encrypted_api_key = key
        monkeypatch.setattr(Passes, "_note_start", noted)

    monkeypatch.setattr(Passes, "_note_start", note)

    assert sync().status == "completed"
    _, northside = cliniko.accounts
    assert cast.surf.cliniko_id == northside.id
    assert copy_of(cast.surf) == truth_of(northside)


def test_a_row_copied_from_another_clinic_does_not_open_its_account(sync: Sync, cast: Cast) -> None:
    with transaction():
        cast.surf.encrypted_api_key = credentials.encrypt(cast.northside.id, SURF_KEY)

    assert sync().error_code == "CREDENTIALS_UNREADABLE"


def test_of_a_key_that_cannot_be_decrypted_the_clinic_says_so_until_a_sync_has_opened_it(
    sync: Sync, cast: Cast
) -> None:
    sync()
    key = cast.surf.encrypted_api_key
    with transaction():
        cast.surf.encrypted_api_key = credentials.encrypt(cast.northside.id, SURF_KEY)

    assert sync().error_code == "CREDENTIALS_UNREADABLE"
    db.session.rollback()
    assert cast.surf.connection_error_code == "CREDENTIALS_UNREADABLE"

    with transaction():
        cast.surf.encrypted_api_key = key
    assert sync().status == "completed"
    db.session.rollback()
    assert cast.surf.connection_error_code is None


def test_two_clinics_do_not_mix(sync: Sync, cast: Cast) -> None:
    sync()

    assert patients.find(cast.northside, patients.PatientFilter(None), limit=10).total == 0


@ABOUT_ANSWERS
@pytest.mark.parametrize(
    ("per_minute", "fault", "reason"),
    [
        (1000, {"kind": "rate_limited", "nth": 4, "retry_after": 60}, "rate_limited"),
        (
            1000,
            {"kind": "status", "status": 503, "headers": {"Retry-After": "60"}, "times": None},
            "retry",
        ),
        (5, None, "budget"),
    ],
    ids=["Cliniko asks to", "Cliniko does not answer", "our own minute"],
)
def test_a_sync_that_waits_says_for_what_and_stops_within_seconds_once_cancelled(
    begin: Callable[..., SyncLog],
    app: Flask,
    cast: Cast,
    cliniko: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    per_minute: int,
    fault: dict[str, Any] | None,
    reason: str,
) -> None:
    monkeypatch.setitem(app.config, "CLINIKO_RATE_LIMIT", per_minute)
    if fault:
        cliniko.faults.add(on="/patients*", **fault)
    log = begin()
    surf_id = cast.surf.id

    def cancel_when_it_waits() -> datetime:
        with app.app_context():
            surf = db.session.get_one(Organization, surf_id)
            wait_until(lambda: _waits_for(surf) == reason)
            cancel_sync(surf)
            return now()

    with ThreadPoolExecutor() as pool:
        cancelled = pool.submit(cancel_when_it_waits)
        engine.run(log.id, log.attempt, worker="test")
        db.session.expire_all()

    assert (log.status, log.error_code) == ("failed", "SYNC_CANCELLED")
    assert log.completed_at is not None
    assert (log.completed_at - cancelled.result()).total_seconds() < 5
    assert log.progress["waiting_for"] is None
    kept = patients.find(cast.surf, patients.PatientFilter(None), limit=1).total
    assert kept == log.records_success


def test_a_worker_that_is_told_to_end_hands_its_sync_over(
    begin: Callable[..., SyncLog], in_step: InStep, cliniko: Simulator
) -> None:
    log = begin()
    cliniko.before_request = _at_request(12, engine.hand_over_requested.set)
    engine.run(log.id, 1, worker="told to end")
    engine.hand_over_requested.clear()
    db.session.expire_all()
    assert (log.status, log.attempt, log.interruptions) == ("running", 2, 0)
    assert log.progress["phase"] == "queued"
    assert log.progress["estimated_remaining_seconds"] is None
    stored = log.records_success
    asked_before = len(cliniko.requests)

    engine.run(log.id, 2, worker="the next")
    db.session.expire_all()

    assert log.status == "completed"
    assert 0 < stored < log.records_success == 648
    assert len(cliniko.requests) - asked_before < 14
    assert in_step()


def test_who_takes_over_shows_no_page_beyond_the_last_where_patients_went_meanwhile(
    begin: Callable[..., SyncLog],
    surf_account: ClinikoAccount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = begin()
    log_id = log.id
    monkeypatch.setattr(engine, "PAGES_TOGETHER", {"sqlite": 4, "postgresql": 4})
    store = Recorder.store

    def store_and_be_told_to_end(self: Recorder, pages: Sequence[RecordPage]) -> Stored:
        stored = store(self, pages)
        if self.progress.current_page > 2:
            engine.hand_over_requested.set()
        return stored

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "store", store_and_be_told_to_end)
        engine.run(log_id, 1, worker="told to end")
    engine.hand_over_requested.clear()
    db.session.expire_all()
    page, stored = log.progress["current_page"], log.records_processed
    for key in surf_account.ids(State.ACTIVE)[10:]:
        surf_account.forget(key)
    shown: list[tuple[int, int, int, int]] = []
    connected = Recorder.connected

    def connect_and_look(self: Recorder, account: Account, **counted: Any) -> None:
        connected(self, account, **counted)
        db.session.rollback()
        row = db.session.get_one(SyncLog, log_id)
        told = row.progress
        pages = told["current_page"], told["total_pages"]
        shown.append((*pages, row.records_processed, told["patients_found"]))

    monkeypatch.setattr(Recorder, "connected", connect_and_look)
    engine.run(log_id, 2, worker="the next")

    assert page > 2
    assert stored > 100
    assert shown
    for current, pages_in_all, processed, found in shown:
        assert current <= pages_in_all
        assert processed <= found


def test_a_sync_that_fails_after_it_was_cancelled_was_cancelled(
    begin: Callable[..., SyncLog], app: Flask, cliniko: Simulator
) -> None:
    log = begin()
    log_id = log.id

    def cancel() -> None:
        with app.app_context(), transaction():
            db.session.get_one(SyncLog, log_id).cancel_requested_at = now()

    cliniko.before_request = _at_request(3, cancel)
    cliniko.faults.add("status", status=403, nth=3, times=None)
    engine.run(log.id, 1, worker="test")

    db.session.expire_all()
    assert (log.status, log.error_code) == ("failed", "SYNC_CANCELLED")


def test_a_database_that_takes_back_that_the_sync_was_begun_hands_it_on(
    begin: Callable[..., SyncLog], app: Flask, cliniko: Simulator, in_step: InStep
) -> None:
    log = begin()
    log_id = log.id

    def take_back() -> None:
        with app.app_context(), transaction():
            row = db.session.get_one(SyncLog, log_id, with_for_update=True)
            row.worker = row.lease_expires_at = None

    cliniko.before_request = _at_request(8, take_back)
    engine.run(log.id, 1, worker="first")
    db.session.expire_all()
    assert (log.status, log.attempt) == ("running", 2)

    engine.run(log.id, 2, worker="second")
    db.session.expire_all()
    assert log.status == "completed"
    assert in_step()


def test_whoever_takes_over_with_a_key_that_is_taken_says_that_the_clinic_is_connected(
    begin: Callable[..., SyncLog], cast: Cast, cliniko: Simulator
) -> None:
    def end_at_the_catch_up(_path: str, params: dict[str, list[str]], _count: int) -> None:
        if "updated_at" in str(params.get("q[]")):
            engine.hand_over_requested.set()

    log = begin()
    cliniko.before_request = end_at_the_catch_up
    engine.run(log.id, 1, worker="told to end")
    engine.hand_over_requested.clear()
    cliniko.before_request = None
    with transaction():
        key = cast.surf.encrypted_api_key
        connection.note_refusal(cast.surf.id, key, "CLINIKO_AUTH_FAILED")
    assert "active" in (log.checkpoint or {})["done"]

    engine.run(log.id, 2, worker="the next")
    db.session.expire_all()

    assert log.status == "completed"
    assert cast.surf.connection_error_code is None


def test_a_worker_that_was_replaced_writes_nothing_any_more(
    begin: Callable[..., SyncLog], app: Flask, in_step: InStep, cast: Cast, cliniko: Simulator
) -> None:
    log = begin()
    log_id = log.id

    def replace() -> None:
        with app.app_context():
            assert recovery.hand_over(log_id, 1, interrupted=False)

    cliniko.before_request = _at_request(12, replace)
    engine.run(log_id, 1, worker="the replaced one")
    db.session.expire_all()
    stored = patients.find(cast.surf, patients.PatientFilter(None), limit=1).total
    assert (log.status, log.attempt, log.worker) == ("running", 2, None)
    assert stored == log.records_success

    engine.run(log_id, 1, worker="a second delivery of the old job")
    engine.run(log_id, 2, worker="the next")
    db.session.expire_all()

    assert (log.status, log.records_success) == ("completed", 648)
    assert in_step()


def test_most_records_malformed_means_that_their_form_has_changed(
    sync: Sync, surf_account: ClinikoAccount
) -> None:
    for somebody in surf_account.ids(State.ACTIVE)[:400]:
        surf_account.edit(somebody, first_name=["a", "list"])

    log = sync()

    assert (log.status, log.error_code) == ("failed", "CLINIKO_BAD_RESPONSE")


@pytest.mark.parametrize("first", [0, 300])
def test_malformed_records_that_stand_together_are_no_change_of_form(
    sync: Sync, surf_account: ClinikoAccount, first: int
) -> None:
    """As those of an old import, which have the lowest ids and come first."""
    for somebody in surf_account.ids(State.ACTIVE)[first : first + 150]:
        surf_account.edit(somebody, date_of_birth="1753-01-01")

    log = sync()

    assert (log.status, log.records_success, log.records_failed) == ("completed", 498, 150)


def test_the_same_of_archived_ones_who_are_many_more(
    sync: Sync, surf_account: ClinikoAccount
) -> None:
    surf_account.archive(*surf_account.ids(State.ACTIVE)[80:])
    for somebody in surf_account.ids(State.ARCHIVED)[:100]:
        surf_account.edit(somebody, date_of_birth="1753-01-01")

    log = sync()

    assert (log.status, log.records_failed) == ("completed", 100)


def test_a_sync_that_takes_too_long_is_ended_in_words(begin: Callable[..., SyncLog]) -> None:
    log = begin()
    with transaction():
        log.started_at = now() - timedelta(minutes=16)
        log.progress = log.progress | {"phases_entered_after": {"connecting": 30.0}}
    engine.run(log.id, 1, worker="test")
    db.session.expire_all()

    assert (log.status, log.error_code) == ("failed", "SYNC_TIMEOUT")


@ABOUT_ANSWERS
def test_a_start_by_a_clock_that_is_ahead_gives_no_more_time(
    begin: Callable[..., SyncLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = begin()
    with transaction():
        log.started_at = now() + timedelta(minutes=10)
        log.progress = log.progress | {"phases_entered_after": {"connecting": 0.0}}
    monkeypatch.setattr(time_limit, "TIME_LIMIT", -timedelta(minutes=5))
    engine.run(log.id, 1, worker="test")
    db.session.expire_all()

    assert (log.status, log.error_code) == ("failed", "SYNC_TIMEOUT")


def test_waiting_for_a_worker_is_no_time_of_a_sync(
    begin: Callable[..., SyncLog], in_step: InStep
) -> None:
    log = begin()
    with transaction():
        log.started_at = now() - timedelta(minutes=16)
    engine.run(log.id, 1, worker="test")
    db.session.expire_all()

    assert log.status == "completed"
    assert in_step()


def test_waiting_for_a_first_worker_is_counted_once(
    app: Flask, begin: Callable[..., SyncLog], cliniko: Simulator
) -> None:
    """Also of a sync that Redis had lost."""
    log_id = begin().id
    assert recovery.hand_over(log_id, 1, interrupted=False, unclaimed=True)
    with transaction() as session:
        session.get_one(SyncLog, log_id).lease_expires_at = now() - timedelta(minutes=4)
    waited: list[float] = []

    def look() -> None:
        with app.app_context():
            checkpoint = db.session.get_one(SyncLog, log_id).checkpoint
            waited.append(checkpoint["waited"] if checkpoint else -1.0)

    cliniko.before_request = _at_request(8, look)
    engine.run(log_id, 2, worker="test")

    assert waited == [0.0]


def test_waiting_for_another_worker_is_no_time_of_a_sync(
    begin: Callable[..., SyncLog], in_step: InStep
) -> None:
    log = begin()
    assert recovery.hand_over(log.id, 1, interrupted=False)
    with transaction():
        log.started_at = now() - timedelta(minutes=17)
        log.progress = log.progress | {"phases_entered_after": {"connecting": 30.0}}
        log.lease_expires_at = now() - timedelta(minutes=16)  # when it was handed over
    engine.run(log.id, 2, worker="test")
    db.session.expire_all()

    assert log.status == "completed"
    assert in_step()


def test_waiting_for_a_queue_that_was_emptied_is_no_time_of_a_sync(
    begin: Callable[..., SyncLog], in_step: InStep
) -> None:
    log = begin()
    engine.hand_over_requested.set()
    engine.run(log.id, 1, worker="ended")
    engine.hand_over_requested.clear()
    with transaction():
        log.started_at = now() - timedelta(minutes=17)
        log.lease_expires_at = now() - timedelta(minutes=16)
    assert recovery.hand_over(log.id, 2, interrupted=False, unclaimed=True)
    engine.run(log.id, 3, worker="test")
    db.session.expire_all()

    assert log.status == "completed"
    assert in_step()


def _waits_for(organization: Organization) -> str | None:
    db.session.rollback()
    log = history.latest(organization)
    return log.progress["waiting_for"] if log and log.progress["phase"] == "waiting" else None


def _at_request(number: int, act: Callable[[], object]) -> Callable[..., None]:
    """Do something when the simulator gets its so-manieth request, before it answers."""

    def hook(_path: str, _params: dict[str, list[str]], count: int) -> None:
        if count == number:
            act()

    return hook


def test_a_sync_tells_when_it_entered_each_phase(sync: Sync) -> None:
    log = sync()
    entered = log.progress["phases_entered_after"]
    assert 0 <= entered["connecting"] <= entered["fetching"] <= entered["reconciling"]
    assert entered["reconciling"] <= log.seconds_so_far + 0.1
    assert log.progress["requests_left"] is None  # nothing is asked any more


def test_the_phases_whose_beginning_is_told_are_those_that_the_document_names(sync: Sync) -> None:
    words = Metadata.model_fields["phases_entered_after"].description
    named = {phase for phase in SyncPhase if f"`{phase}`" in str(words)}
    assert named == set(sync().progress["phases_entered_after"])
