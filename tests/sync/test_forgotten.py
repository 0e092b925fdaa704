"""S43: a patient who was forgotten is brought back by no sync, and every figure still holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.cast import Cast
from tests.conftest import CREDENTIALS_KEY
from tests.services.test_sealing import NEWER
from tests.sync.copies import copy_of
from tests.sync.logs import certificate_of
from webapp.cliniko.client import Listing
from webapp.cliniko.listing import IdRange
from webapp.clock import now
from webapp.errors import NotFound, SecretUnreadable, SyncAlreadyRunning
from webapp.extensions import db, transaction
from webapp.models import (
    ForgottenPatient,
    HeldRemoval,
    OperationType,
    Organization,
    Patient,
    SyncFailure,
    SyncLog,
    SyncStatus,
)
from webapp.services import counts, patients, retention, rotation
from webapp.sync import engine, forgotten, history, recovery, suspension
from webapp.sync.lists import Lists
from webapp.sync.start import cancel_sync
from webapp.sync.verify import verify

Sync = Callable[..., SyncLog]


def row_of(cast: Cast, key: str) -> Patient | None:
    db.session.rollback()
    return db.session.scalar(
        select(Patient).where(
            Patient.organization_id == cast.surf.id, Patient.cliniko_patient_id == key
        )
    )


def forget(cast: Cast, key: str) -> None:
    row = row_of(cast, key)
    assert row is not None
    forgotten.forget(cast.surf, row, actor=cast.bob)


@pytest.fixture(params=[State.ACTIVE, State.ARCHIVED, State.MERGED, State.DELETED])
def key(request: pytest.FixtureRequest, cast: Cast, sync: Sync, cliniko: Simulator) -> str:
    """Cliniko's id of somebody who was synced, and then forgotten."""
    sync()
    key = cliniko.accounts[0].ids(request.param)[-1]
    forget(cast, key)
    return key


@pytest.fixture
def active(cast: Cast, sync: Sync, surf_account: ClinikoAccount) -> str:
    """The same of an active patient."""
    sync()
    key = surf_account.ids(State.ACTIVE)[5]
    forget(cast, key)
    return key


def holding(database_url: str, word: bytes) -> list[str]:
    """The files of an SQLite in which a word can be read."""
    database = Path(database_url.removeprefix("sqlite:///"))
    files = database.parent.glob(f"{database.name}*")
    return [file.name for file in files if word in file.read_bytes().lower()]


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.parametrize("somebody_reads", [False, True])
def test_nothing_is_left_of_them_in_the_files(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount, database_url: str, somebody_reads: bool
) -> None:
    key = surf_account.ids(State.ACTIVE)[5]
    surf_account.edit(key, first_name="Forgetmenot")
    sync()
    assert holding(database_url, b"forgetmenot")
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as reader:
        if somebody_reads:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM patients").fetchone()
        forget(cast, key)
        assert bool(holding(database_url, b"forgetmenot")) == somebody_reads
    for _ in range(2):  # the clean-up of the day, and the look after it
        retention.remove_a_little()
    assert holding(database_url, b"forgetmenot") == []


def test_no_sync_brings_them_back_whatever_they_were(cast: Cast, sync: Sync, key: str) -> None:
    assert row_of(cast, key) is None

    for operation_type in OperationType:
        log = sync(operation_type)
        assert log.status == SyncStatus.COMPLETED
        assert row_of(cast, key) is None


def test_all_figures_still_hold(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount, key: str
) -> None:
    log = sync()

    assert (log.records_processed, log.records_success, log.records_failed) == (647, 647, 0)
    assert log.progress["patients_found"] == log.progress["patients_stored"] == 647
    assert log.progress["progress_percent"] == 100.0
    assert log.progress["requests_made"] <= 16  # nobody is missed, so no list is read again
    assert certificate_of(log)["in_step"] is True
    assert certificate_of(log)["cliniko"] == certificate_of(log)["stored"]
    assert copy_of(cast.surf).keys() == set(surf_account.ids()) - {key}
    assert forgotten.count(cast.surf) == 1


def test_verify_knows_that_they_are_left_out_on_purpose(cast: Cast, sync: Sync, key: str) -> None:
    assert verify(cast.surf).in_step
    sync()
    assert verify(cast.surf).in_step


def test_a_change_in_cliniko_does_not_bring_them_back(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount, cliniko: Simulator, active: str
) -> None:
    """Whichever pass meets them: the lists, the catch-up, the tombstones."""

    def edit_between(path: str, _params: object, _number: int) -> None:
        if path == "/patients/archived":  # so the catch-up shows them once more
            surf_account.edit(active, first_name="Changed")

    cliniko.before_request = edit_between
    sync()
    assert row_of(cast, active) is None

    cliniko.before_request = None
    surf_account.archive(active)
    sync()
    surf_account.edit(active, date_of_birth="someday")  # cannot be read, and is no failure of ours
    assert sync().records_failed == 0
    surf_account.delete(active)
    sync()
    surf_account.restore(active)
    sync()
    assert row_of(cast, active) is None
    assert verify(cast.surf).in_step


def test_a_worker_that_takes_over_leaves_them_out_too(
    cast: Cast, begin: Sync, active: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And counts whom the first one has left out, so that it misses nobody."""
    log = begin()
    calls, read_again = iter(range(100)), []

    def die_after_three_pages() -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(engine, "_leave_if_told", die_after_three_pages)
    with pytest.raises(KeyboardInterrupt):
        engine.run(log.id, 1, worker="killed")
    with transaction():
        log.lease_expires_at = now() - timedelta(seconds=1)
    assert recovery.recover_stale_syncs() == [log.id]
    monkeypatch.undo()
    monkeypatch.setattr(Lists, "read_again", lambda *_: read_again.append(True))

    engine.run(log.id, 2, worker="another")

    db.session.expire_all()
    assert (log.status, log.records_success) == (SyncStatus.COMPLETED, 647)
    assert certificate_of(log)["in_step"] is True
    assert row_of(cast, active) is None
    assert not read_again


def test_a_link_to_them_is_blanked_for_good(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount
) -> None:
    survivor, merged = surf_account.ids(State.ACTIVE)[:2]
    surf_account.merge(merged, into=survivor)
    sync()
    row = row_of(cast, merged)
    assert row is not None
    assert row.merged_into == survivor

    before = now()
    forget(cast, survivor)

    changed = patients.find(cast.surf, patients.PatientFilter(None, changed_after=before), limit=9)
    assert [each.cliniko_patient_id for each in changed.patients] == [merged]
    for _ in range(2):
        row = row_of(cast, merged)
        assert row is not None
        assert (row.state, row.merged_into) == ("merged", None)
        log = sync()
        assert certificate_of(log)["in_step"] is True
    assert verify(cast.surf).in_step


def test_their_failures_and_held_removal_go_with_them_and_nobody_elses(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount
) -> None:
    one, other = surf_account.ids(State.ACTIVE)[:2]
    sync()
    for key in (one, other):
        surf_account.edit(key, date_of_birth="someday")
    log = sync()
    with transaction() as session:
        for key in (one, other):
            session.add(
                HeldRemoval(
                    organization_id=cast.surf.id,
                    sync_log_id=log.id,
                    cliniko_patient_id=key,
                    held_since=now(),
                )
            )

    forget(cast, one)

    for table in (SyncFailure, HeldRemoval):
        assert list(db.session.scalars(select(table.cliniko_patient_id))) == [other]


def test_the_counts_that_people_see_follow_at_once(cast: Cast, sync: Sync, key: str) -> None:
    db.session.rollback()
    assert sum(counts.by_state(cast.surf).values()) == 647
    sync()
    assert sum(counts.by_state(cast.surf).values()) == 647


def test_whoever_asks_again_is_told_of_the_change(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount
) -> None:
    sync()
    before = history.version(cast.surf)
    forget(cast, surf_account.ids(State.ACTIVE)[0])
    assert history.version(cast.surf) != before


def test_each_of_two_is_told_of_though_the_clock_of_the_worker_runs_ahead(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount
) -> None:
    log = sync()
    with transaction():
        log.completed_at = now() + timedelta(seconds=30)
    versions, counted = [history.version(cast.surf)], []
    for key in surf_account.ids(State.ACTIVE)[:2]:
        forget(cast, key)
        versions.append(history.version(cast.surf))
        counted.append(sum(counts.by_state(cast.surf).values()))

    assert len({*versions}) == 3
    assert counted[0] == counted[1] + 1


def test_what_is_left_does_not_say_who_it_was(cast: Cast, begin: Sync, active: str) -> None:
    where = IdRange(Listing.ACTIVE, after=int(active))  # as they are still in Cliniko's lists
    with transaction():
        begin().checkpoint = {"ranges": [where.to_json()]}
    cancel_sync(cast.surf)
    assert len(active) > 12  # else it might stand in a number or digest by chance
    (row,) = db.session.scalars(select(ForgottenPatient))
    assert active not in f"{row.digest} {cast.surf.forgetting_key}"
    assert len(row.digest) == 64
    tables = db.metadata.sorted_tables
    for table in tables:
        for values in db.session.execute(select(table)):
            assert active not in str(values), table.name


def test_nobody_is_forgotten_while_a_sync_runs(
    cast: Cast, sync: Sync, begin: Sync, surf_account: ClinikoAccount
) -> None:
    sync()
    begin()
    key = surf_account.ids(State.ACTIVE)[0]
    with pytest.raises(SyncAlreadyRunning):
        forget(cast, key)
    assert row_of(cast, key) is not None
    assert forgotten.count(cast.surf) == 0


def test_a_second_press_finds_nobody(cast: Cast, sync: Sync, surf_account: ClinikoAccount) -> None:
    sync()
    row = row_of(cast, surf_account.ids(State.ACTIVE)[0])
    assert row is not None
    db.session.expunge(row)  # as another request has read it
    forgotten.forget(cast.surf, row, actor=cast.bob)
    with pytest.raises(NotFound):
        forgotten.forget(cast.surf, row, actor=cast.bob)


def test_the_same_id_of_another_clinic_stays(
    cast: Cast, sync_of: Callable[[Organization], SyncLog], active: str, cliniko: Simulator
) -> None:
    theirs = cliniko.accounts[1].create(id=active)
    assert sync_of(cast.northside).status == SyncStatus.COMPLETED
    assert theirs in copy_of(cast.northside)


def test_they_stay_forgotten_when_the_encryption_keys_rotate(
    app: Flask, cast: Cast, sync: Sync, active: str
) -> None:
    app.config["CREDENTIALS_KEYS"] = [NEWER, CREDENTIALS_KEY]
    assert rotation.rotate().sealed == 3
    app.config["CREDENTIALS_KEYS"] = [NEWER]
    assert sync().records_success == 647
    assert row_of(cast, active) is None


def test_a_deleted_clinic_keeps_no_key_that_a_lost_encryption_key_would_leave_unreadable(
    app: Flask, cast: Cast, active: str
) -> None:
    suspension.delete(cast.surf, "Surf Rehab", actor=cast.alice)
    suspension.delete(cast.northside, "Northside Physio", actor=cast.alice)
    app.config["CREDENTIALS_KEYS"] = [NEWER]
    assert rotation.rotate() == rotation.Rotated(sealed=0, unreadable=0)


def test_without_the_key_that_hides_them_no_sync_stores_anybody(
    cast: Cast, sync: Sync, active: str
) -> None:
    with transaction() as session:
        session.get_one(Organization, cast.surf.id).forgetting_key = "rubbish"
    with pytest.raises(SecretUnreadable):
        forgotten.of(cast.surf)
    log = sync()
    assert (log.status, log.error_code) == (SyncStatus.FAILED, "CREDENTIALS_UNREADABLE")
    assert row_of(cast, active) is None


@pytest.fixture
def questions(app: Flask) -> Iterator[list[str]]:
    """Every statement that names the table of the forgotten."""
    asked: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "forgotten_patients" in statement:
            asked.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    yield asked
    event.remove(db.engine, "before_cursor_execute", note)


def test_a_clinic_without_any_asks_nothing_and_one_with_them_asks_once_a_sync(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount, questions: list[str]
) -> None:
    sync()
    assert questions == []
    forget(cast, surf_account.ids(State.ACTIVE)[0])
    questions.clear()
    sync()
    assert len(questions) == 1


def test_there_is_nothing_of_them_in_the_whole_database(
    cast: Cast, sync: Sync, surf_account: ClinikoAccount
) -> None:
    key = surf_account.ids(State.ACTIVE)[3]
    surf_account.edit(key, first_name="Zebulon", email="zebulon@example.com")
    sync()
    assert _rows_with("zebulon") > 0
    forget(cast, key)
    sync()
    assert _rows_with("zebulon") == 0


def _rows_with(word: str) -> int:
    db.session.rollback()
    found = 0
    for table in db.metadata.sorted_tables:
        for row in db.session.execute(select(table)):
            found += any(word in str(value).lower() for value in row)
    return found
