"""The failed records of a clinic are tried again: those patients, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.api.rows import MORNING, refuse
from tests.cast import SURF_KEY, Cast
from tests.sync.copies import copy_of
from webapp.errors import SyncAlreadyRunning
from webapp.extensions import db, transaction
from webapp.models import OperationType, Organization, Patient, SyncLog, SyncOrigin
from webapp.services import connection, credentials
from webapp.sync import engine, failures, forgotten, held, history
from webapp.sync.start import start_sync
from webapp.sync.window import start_window

Sync = Callable[..., SyncLog]
BAD: dict[str, Any] = {"date_of_birth": "yesterday"}
GOOD: dict[str, Any] = {"date_of_birth": "1980-05-17", "first_name": "Corrected"}


@pytest.fixture
def retry(sync: Sync) -> Callable[[], SyncLog]:
    return lambda: sync(OperationType.RETRY_FAILED)


def open_keys(cast: Cast) -> list[str]:
    db.session.rollback()
    return failures.open_keys(cast.surf.id)


def test_what_was_corrected_is_stored_and_counted(
    sync: Sync,
    retry: Callable[[], SyncLog],
    cast: Cast,
    surf_account: ClinikoAccount,
    in_step: Callable[[], bool],
) -> None:
    sync()
    chosen = surf_account.ids(State.ACTIVE)[10:13]
    for key in chosen:
        surf_account.edit(key, **BAD)
    assert sync().records_failed == 3
    assert open_keys(cast) == sorted(chosen, key=int)
    for key in chosen[:2]:
        surf_account.edit(key, **GOOD)

    log = retry()

    assert (log.status, log.operation_type) == ("completed", "retry_failed")
    assert (log.records_success, log.records_failed) == (2, 1)
    assert log.progress["patients_found"] == 3
    assert log.progress["progress_percent"] == 100.0
    assert copy_of(cast.surf)[chosen[0]].first_name == "Corrected"
    assert open_keys(cast) == [chosen[2]]
    states = dict(
        db.session.execute(
            db.select(Patient.cliniko_patient_id, Patient.sync_status).where(
                Patient.cliniko_patient_id.in_(chosen)
            )
        ).all()
    )
    assert states == {chosen[0]: "success", chosen[1]: "success", chosen[2]: "failed"}

    surf_account.edit(chosen[2], **GOOD)
    assert retry().records_failed == 0
    assert open_keys(cast) == []
    assert in_step()


def test_a_patient_who_was_never_stored_is_found_by_a_retry(
    sync: Sync, retry: Callable[[], SyncLog], cast: Cast, surf_account: ClinikoAccount
) -> None:
    somebody = surf_account.ids(State.ACTIVE)[3]
    surf_account.edit(somebody, **BAD)
    sync()
    assert somebody not in copy_of(cast.surf)
    surf_account.edit(somebody, **GOOD)
    surf_account.archive(somebody)

    assert retry().records_success == 1
    assert copy_of(cast.surf)[somebody].state == "archived"


def test_only_those_patients_are_asked_for(
    sync: Sync, retry: Callable[[], SyncLog], cast: Cast, surf_account: ClinikoAccount
) -> None:
    chosen = surf_account.ids(State.ACTIVE)[::4][:130]
    for key in chosen:
        surf_account.edit(key, **BAD)
    sync()

    log = retry()

    # Whose account it is, and two questions to each of two lists: though all fail again, that is no
    # sign of another form of records.
    assert (log.status, log.records_failed) == ("completed", 130)
    assert log.progress["requests_made"] == 5
    assert len(open_keys(cast)) == 130


def test_who_stands_in_no_list_any_more_is_left_to_a_sync_of_all(
    sync: Sync, retry: Callable[[], SyncLog], cast: Cast, surf_account: ClinikoAccount
) -> None:
    sync()
    somebody = surf_account.ids(State.ACTIVE)[3]
    surf_account.edit(somebody, **BAD)
    sync()
    surf_account.delete(somebody)

    log = retry()

    (failure,) = history.failures(log, limit=2, offset=0)
    assert (log.status, log.records_failed) == ("completed", 1)
    assert failure.reason.startswith("stands in none of Cliniko's lists")
    assert copy_of(cast.surf)[somebody].state == "active"

    sync()
    assert copy_of(cast.surf)[somebody].state == "deleted"
    assert open_keys(cast) == []


def test_whose_removal_is_held_goes_on_being_held(
    sync: Sync, retry: Callable[[], SyncLog], cast: Cast, surf_account: ClinikoAccount
) -> None:
    sync()
    gone = surf_account.ids(State.ACTIVE)[:60]
    surf_account.edit(gone[0], **BAD)
    sync()
    surf_account.delete(*gone)
    holding = sync(OperationType.CHANGED_PATIENTS)

    assert retry().status == "completed"

    assert held.confirm(cast.surf, holding, actor=cast.alice) == 60
    assert copy_of(cast.surf)[gone[0]].state == "deleted"


def test_a_full_sync_that_stores_them_settles_them_too(
    sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    somebody = surf_account.ids(State.ACTIVE)[3]
    surf_account.edit(somebody, **BAD)
    sync()
    assert open_keys(cast) == [somebody]
    surf_account.edit(somebody, **GOOD)
    sync()
    assert open_keys(cast) == []


def test_a_retry_says_nothing_about_the_clinic(
    sync: Sync, retry: Callable[[], SyncLog], cast: Cast, surf_account: ClinikoAccount
) -> None:
    surf_account.edit(surf_account.ids(State.ACTIVE)[3], **BAD)
    full = sync()
    before, version = history.summary(cast.surf), history.version(cast.surf)

    log = retry()

    after = history.summary(cast.surf)
    assert after == before
    assert after.latest is not None
    assert after.latest.id == full.id
    last = history.last_completed(cast.surf)
    assert last is not None
    assert last.id == full.id
    assert history.version(cast.surf) != version
    newest = history.latest(cast.surf)
    assert newest is not None
    assert newest.id == log.id
    assert log.progress["certificate"] is None
    assert cast.surf.cliniko_patients == 602


def test_a_retry_uses_up_nobodys_window_and_waits_for_none(cast: Cast) -> None:
    def press(operation_type: OperationType) -> SyncLog:
        log = start_sync(cast.surf, operation_type, actor=cast.bob, origin=SyncOrigin.DASHBOARD)
        engine.run(log.id, 1, worker="test")
        db.session.expire_all()
        return log

    press(OperationType.RETRY_FAILED)
    assert start_window(cast.surf, OperationType.FULL_PATIENTS).remaining == 1
    press(OperationType.FULL_PATIENTS)
    assert start_window(cast.surf, OperationType.FULL_PATIENTS).remaining == 0
    assert press(OperationType.RETRY_FAILED).status == "completed"


def test_one_sync_of_a_clinic_at_a_time(begin: Callable[..., SyncLog]) -> None:
    begin()
    with pytest.raises(SyncAlreadyRunning):
        begin(OperationType.RETRY_FAILED)


def test_a_retry_that_was_replaced_writes_nothing(
    begin: Callable[..., SyncLog], sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    somebody = surf_account.ids(State.ACTIVE)[3]
    surf_account.edit(somebody, **BAD)
    sync()
    surf_account.edit(somebody, **GOOD)
    log = begin(OperationType.RETRY_FAILED)
    with transaction():
        log.attempt = 2

    engine.run(log.id, 1, worker="the one before")
    db.session.expire_all()
    assert somebody not in copy_of(cast.surf)

    engine.run(log.id, 2, worker="the next")
    db.session.expire_all()
    assert (log.status, log.records_success) == ("completed", 1)
    assert somebody in copy_of(cast.surf)


def test_the_records_of_another_clinic_are_not_looked_at(
    retry: Callable[[], SyncLog], cast: Cast
) -> None:
    refuse(cast.northside, 5)

    log = retry()

    assert (log.status, log.records_processed) == ("completed", 0)
    assert len(failures.open_keys(cast.northside.id)) == 5


def test_a_forgotten_patient_is_not_tried_again(
    sync: Sync, retry: Callable[[], SyncLog], cast: Cast, surf_account: ClinikoAccount
) -> None:
    sync()
    somebody = surf_account.ids(State.ACTIVE)[3]
    surf_account.edit(somebody, **BAD)
    sync()
    row = db.session.scalars(db.select(Patient).where(Patient.cliniko_patient_id == somebody)).one()
    forgotten.forget(cast.surf, row, actor=cast.alice)
    surf_account.edit(somebody, **GOOD)

    assert retry().records_processed == 0
    assert somebody not in copy_of(cast.surf)


def test_a_key_of_another_account_stores_nobody(
    sync: Sync,
    begin: Callable[..., SyncLog],
    cast: Cast,
    surf_account: ClinikoAccount,
) -> None:
    surf_account.edit(surf_account.ids(State.ACTIVE)[3], **BAD)
    sync()
    with transaction():
        cast.surf.cliniko_id = "99999"

    log = begin(OperationType.RETRY_FAILED)
    engine.run(log.id, 1, worker="test")
    db.session.expire_all()

    assert (log.status, log.error_code) == ("failed", "CLINIKO_ACCOUNT_MISMATCH")


def test_a_clinic_whose_key_is_taken_again_is_connected(
    sync: Sync, retry: Callable[[], SyncLog], cast: Cast, surf_account: ClinikoAccount
) -> None:
    surf_account.edit(surf_account.ids(State.ACTIVE)[3], **BAD)
    sync()
    with transaction():
        key = cast.surf.encrypted_api_key
        connection.note_refusal(cast.surf.id, key, "CLINIKO_AUTH_FAILED")
        cast.surf.connection_checked_at = MORNING

    assert retry().status == "completed"

    assert cast.surf.connection_error_code is None
    assert cast.surf.connection_checked_at is not None
    assert cast.surf.connection_checked_at > MORNING
    assert cast.surf.cliniko_patients == 602


@pytest.mark.parametrize("answer", [403, 400])
def test_a_key_that_has_shown_no_patients_leaves_it_unconnected(
    sync: Sync,
    retry: Callable[[], SyncLog],
    cast: Cast,
    surf_account: ClinikoAccount,
    cliniko: Simulator,
    answer: int,
) -> None:
    surf_account.edit(surf_account.ids(State.ACTIVE)[3], **BAD)
    sync()
    with transaction():
        connection.note_refusal(cast.surf.id, cast.surf.encrypted_api_key, "CLINIKO_FORBIDDEN")
    cliniko.faults.add("status", on="/patients", query="id:=", status=answer)

    assert retry().status == "failed"
    assert cast.surf.connection_error_code == "CLINIKO_FORBIDDEN"


def test_what_an_earlier_key_opens_says_nothing_about_the_one_saved_meanwhile(
    app: Flask,
    sync: Sync,
    retry: Callable[[], SyncLog],
    cast: Cast,
    surf_account: ClinikoAccount,
    cliniko: Simulator,
) -> None:
    surf_account.edit(surf_account.ids(State.ACTIVE)[3], **BAD)
    sync()
    clinic_id, asked = cast.surf.id, list[str]()

    def save_another(path: str, *_: object) -> None:
        asked.append(path)
        if len(asked) == 1:
            with app.app_context(), transaction():
                clinic = db.session.get_one(Organization, clinic_id)
                clinic.encrypted_api_key = credentials.encrypt(clinic_id, SURF_KEY)

    cliniko.before_request = save_another

    assert retry().status == "completed"
    assert asked.count("/settings/public") == 2


def test_a_tombstone_among_the_living_is_left_to_a_sync_of_all(
    sync: Sync, cast: Cast, surf_account: ClinikoAccount, cliniko: Simulator
) -> None:
    somebody = surf_account.ids(State.ACTIVE)[0]
    surf_account.edit(somebody, first_name=["no", "name"])
    sync()
    gone = {"first_name": "Olivia", "deleted_at": "2026-03-02T09:00:00Z"}
    cliniko.faults.add("edit_record", on="/patients", query="id:=", fields=gone)

    log = sync(OperationType.RETRY_FAILED)

    assert (log.status, log.records_success, log.records_failed) == ("completed", 0, 1)
    assert somebody not in copy_of(cast.surf)
