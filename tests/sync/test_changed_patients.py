"""A sync of what changed: a few requests, from the watermark on; a full sync where one is due."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.cast import Cast
from tests.support.empty_answers import nobody
from tests.sync.copies import copy_of
from tests.sync.logs import certificate_of
from webapp.clock import iso, now
from webapp.extensions import db, transaction
from webapp.models import OperationType, Organization, Patient, SyncLog
from webapp.sync import engine, held, recovery, watermark, window
from webapp.sync.expected_duration import expected_duration

Sync = Callable[..., SyncLog]
InStep = Callable[[], bool]

ACTIVE = OperationType.ACTIVE_PATIENTS
CHANGED = OperationType.CHANGED_PATIENTS
LONG_AGO = datetime.fromisoformat("2026-01-05T10:00:00Z")


@pytest.fixture
def synced(sync: Sync, cast: Cast, surf_account: ClinikoAccount) -> SyncLog:
    """A full sync of Surf Rehab that is over for longer than the overlap."""
    log = sync()
    with transaction():
        through_of(cast, later=timedelta(minutes=5))
    return log


def through_of(cast: Cast, *, later: timedelta = timedelta()) -> datetime:
    """The watermark of Surf Rehab, moved if that is asked for."""
    organization = db.session.get_one(Organization, cast.surf.id, populate_existing=True)
    assert organization.synced_through is not None
    organization.synced_through += later
    return organization.synced_through


def counted(log: SyncLog) -> dict[str, int]:
    """What a sync has changed, without what it has not."""
    counts = {key: value for key, value in log.progress["changes"].items() if key != "fields"}
    return {kind: count for kind, count in counts.items() if count}


def test_it_reads_only_what_changed(
    synced: SyncLog, sync: Sync, in_step: InStep, cliniko: Simulator, surf_account: ClinikoAccount
) -> None:
    active, archived = surf_account.ids(State.ACTIVE), surf_account.ids(State.ARCHIVED)
    surf_account.edit(active[0], email="another@example.com", first_name="Another")
    surf_account.edit(active[1], email="one-more@example.com")
    surf_account.archive(active[2], active[3])
    surf_account.merge(active[4], into=active[5])
    surf_account.unarchive(archived[0])
    surf_account.edit(archived[1], last_name="Renamed")
    surf_account.create(first_name="New")
    asked = len(cliniko.requests)

    log = sync(CHANGED)

    assert (log.status, log.operation_type) == ("completed", "changed_patients")
    assert in_step()
    assert counted(log) == {"added": 1, "updated": 3, "archived": 2, "merged": 1, "restored": 1}
    assert log.progress["changes"]["fields"] == {"email": 2, "first_name": 1, "last_name": 1}
    assert log.progress["patients_found"] == log.records_success == 8
    assert log.progress["active_found"] == len(surf_account.ids(State.ACTIVE))
    # Whose they are, how many there are, three lists, and that of the deleted once more.
    assert len(cliniko.requests) - asked == log.progress["requests_made"] == 6


def test_deleted_patients_are_marked_by_their_tombstones(
    synced: SyncLog, sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    gone = surf_account.ids(State.ACTIVE)[:3] + surf_account.ids(State.ARCHIVED)[:1]
    surf_account.delete(*gone)

    log = sync(CHANGED)

    assert counted(log) == {"deleted": 4}
    copy = copy_of(cast.surf)
    assert {copy[key].state for key in gone} == {"deleted"}


def test_a_patient_who_is_not_deleted_after_all_is_restored(
    synced: SyncLog, sync: Sync, in_step: InStep, cast: Cast, surf_account: ClinikoAccount
) -> None:
    key = surf_account.ids(State.ACTIVE)[0]
    surf_account.delete(key)
    sync(CHANGED)
    surf_account.restore(key)

    log = sync(CHANGED)

    assert counted(log) == {"restored": 1}
    assert copy_of(cast.surf)[key].state == "active"


def test_where_nothing_changed_it_completes_with_nothing(synced: SyncLog, sync: Sync) -> None:
    log = sync(CHANGED)

    assert (log.status, log.records_processed, counted(log)) == ("completed", 0, {})
    assert log.progress["progress_percent"] == 100.0
    assert log.progress["certificate"] is None


def test_what_is_read_again_is_not_written_again(
    synced: SyncLog, sync: Sync, surf_account: ClinikoAccount
) -> None:
    key = surf_account.ids(State.ACTIVE)[0]
    surf_account.edit(key, first_name="Another")
    sync(CHANGED)
    patient = select(Patient).where(Patient.cliniko_patient_id == key)
    before = db.session.scalars(patient).one().last_changed

    log = sync(CHANGED)  # the overlap brings the patient once more

    again = db.session.scalars(patient).one()
    assert (log.records_success, counted(log)) == (1, {})
    assert (again.last_changed, again.last_sync_id) == (before, log.id)


def test_a_long_list_of_changes_is_read_to_its_end(
    synced: SyncLog, sync: Sync, in_step: InStep, surf_account: ClinikoAccount
) -> None:
    for key in surf_account.ids(State.ACTIVE)[:350]:
        surf_account.edit(key, first_name="Everybody")

    log = sync(CHANGED)

    assert in_step()
    assert (log.progress["patients_found"], log.progress["current_page"]) == (350, 6)


@pytest.mark.parametrize("list_of", [State.ACTIVE, State.ARCHIVED])
def test_one_answer_that_nobody_stands_there_ends_no_list_of_changes(
    list_of: State,
    synced: SyncLog,
    sync: Sync,
    in_step: InStep,
    cliniko: Simulator,
    surf_account: ClinikoAccount,
) -> None:
    """The next sync would ask only for what is newer."""
    if list_of is State.ARCHIVED:
        surf_account.archive(*surf_account.ids(State.ACTIVE)[:250])
    keys = surf_account.ids(list_of)[:250]
    for key in keys:
        surf_account.edit(key, first_name="Everybody")
    path = {State.ACTIVE: "/patients", State.ARCHIVED: "/patients/archived"}[list_of]
    nobody(cliniko, times=1, on=path, query=f"id:>{keys[99]}")

    log = sync(CHANGED)

    assert log.status == "completed", log.error_message
    assert all(fault.fitting for fault in cliniko.faults)
    assert in_step()


def test_a_moment_in_which_nobody_seems_to_have_changed_loses_no_change(
    synced: SyncLog,
    sync: Sync,
    cast: Cast,
    cliniko: Simulator,
    surf_account: ClinikoAccount,
) -> None:
    """No later sync of changes would ask for them again."""
    edited, archived, deleted = surf_account.ids(State.ACTIVE)[:3]
    surf_account.edit(edited, first_name="Edited")
    surf_account.archive(archived)
    surf_account.delete(deleted)
    for path in ("/patients", "/patients/archived", "/patients/deleted"):
        nobody(cliniko, times=1, on=path, query="ed_at:>=")

    log = sync(CHANGED)

    assert all(fault.fitting for fault in cliniko.faults)
    assert log.status == "completed", log.error_message
    assert counted(log) == {"updated": 1, "archived": 1, "deleted": 1}
    assert copy_of(cast.surf)[deleted].state == "deleted"


def test_many_records_that_cannot_be_read_hide_no_others(
    synced: SyncLog, sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    active = surf_account.ids(State.ACTIVE)
    for key in active[:30]:
        surf_account.edit(key, first_name=["a", "list"])
    surf_account.archive(active[40])

    log = sync(CHANGED)

    assert (log.status, log.records_failed) == ("completed", 30)
    assert copy_of(cast.surf)[active[40]].state == "archived"


def test_the_percentage_is_of_what_there_is_to_read(
    synced: SyncLog, begin: Sync, cliniko: Simulator, surf_account: ClinikoAccount
) -> None:
    for key in surf_account.ids(State.ACTIVE)[:250]:
        surf_account.edit(key, first_name="Everybody")
    log, database = begin(CHANGED), db.engine
    log_id, seen = log.id, []

    def look(path: str, params: dict[str, list[str]], _number: int) -> None:
        if path == "/patients" and any("id:>" in each for each in params.get("q[]", [])):
            with database.connect() as connection:
                query = select(SyncLog.progress).where(SyncLog.id == log_id)
                seen.append(connection.execute(query).scalar_one()["progress_percent"])

    cliniko.before_request = look
    engine.run(log_id, 1, worker="test")

    db.session.refresh(log)
    assert log.status == "completed"
    assert any(seen)
    assert seen == sorted(seen)
    assert {percent for percent in seen if percent} <= {40.0, 80.0}


def test_the_watermark_is_the_start_by_clinikos_clock_less_the_overlap(
    sync: Sync, cast: Cast, cliniko: Simulator
) -> None:
    assert cast.surf.synced_through is None
    begun = now().replace(microsecond=0)

    sync()
    first = through_of(cast)
    assert begun <= first + watermark.OVERLAP <= now()

    asked = len(cliniko.requests)
    log = sync(CHANGED)
    filters = Counter(
        (each.path, *each.params["q[]"])
        for each in list(cliniko.requests)[asked:]
        if "q[]" in each.params
    )
    assert set(filters.values()) == {2}  # nobody has changed, which is looked at twice
    assert sorted(filters) == [
        ("/patients", f"updated_at:>={iso(first)}"),
        ("/patients/archived", f"updated_at:>={iso(first)}"),
        ("/patients/deleted", f"deleted_at:>={iso(first)}"),
    ]
    assert log.progress["changed_since"] == iso(first)
    assert through_of(cast) >= first


def test_the_watermark_is_no_later_than_the_first_answer_of_each_list(
    synced: SyncLog, sync: Sync, cast: Cast, cliniko: Simulator
) -> None:
    """All are asked at once; one that needs a second try must not hide what changed meanwhile."""
    lists: list[datetime] = []

    def between(_path: str, params: dict[str, list[str]], _number: int) -> None:
        if "q[]" in params:
            lists.append(now())
        elif params.get("per_page") == ["1"]:  # the count takes its time
            while len(lists) < 3 or now() < max(lists) + timedelta(seconds=2):
                time.sleep(0.01)

    cliniko.before_request = between
    sync(CHANGED)

    assert through_of(cast) + watermark.OVERLAP <= max(lists) + timedelta(seconds=1)


def test_a_sync_that_fails_never_moves_the_watermark(
    synced: SyncLog,
    sync: Sync,
    in_step: InStep,
    cast: Cast,
    cliniko: Simulator,
    surf_account: ClinikoAccount,
) -> None:
    before = through_of(cast)
    surf_account.edit(surf_account.ids(State.ACTIVE)[0], first_name="Another")
    surf_account.delete(surf_account.ids(State.ACTIVE)[1])
    cliniko.faults.add("status", status=403, on="/patients/deleted")

    assert sync(CHANGED).error_code == "CLINIKO_FORBIDDEN"
    assert through_of(cast) == before

    sync(CHANGED)
    assert before - watermark.OVERLAP <= through_of(cast) < before
    states = {key: copy.state for key, copy in copy_of(cast.surf).items()}
    assert states == {key: str(state) for key, (state, _) in surf_account.truth().items()}


def test_a_sync_that_is_cancelled_never_moves_the_watermark(
    synced: SyncLog, begin: Sync, cast: Cast, cliniko: Simulator
) -> None:
    before, log = through_of(cast), begin(CHANGED)
    log_id, app = log.id, db.engine

    def cancel(_path: str, _params: object, _number: int) -> None:
        with app.begin() as connection:
            connection.execute(
                update(SyncLog).where(SyncLog.id == log_id).values(cancel_requested_at=now())
            )
        cliniko.before_request = None

    cliniko.before_request = cancel
    engine.run(log_id, 1, worker="test")

    db.session.expire_all()
    assert db.session.get_one(SyncLog, log_id).error_code == "SYNC_CANCELLED"
    assert through_of(cast) == before


def test_a_sync_of_active_patients_concludes_nothing_about_others(
    synced: SyncLog, sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    before = through_of(cast)
    archived, deleted = surf_account.ids(State.ACTIVE)[:2]
    surf_account.archive(archived)
    surf_account.delete(deleted)

    log = sync(ACTIVE)

    assert (log.status, counted(log)) == ("completed", {})
    ours = copy_of(cast.surf)
    assert {ours[archived].state, ours[deleted].state} == {"active"}
    assert through_of(cast) == before


def test_without_a_full_sync_it_becomes_one(sync: Sync, cast: Cast) -> None:
    assert watermark.needs_full_sync(cast.surf)

    log = sync(CHANGED)

    assert (log.operation_type, log.progress["sync_type"]) == ("full_patients", "full_patients")
    assert log.progress["changed_since"] is None
    assert certificate_of(log)["in_step"]
    assert not watermark.needs_full_sync(cast.surf)


def test_a_week_after_the_last_full_sync_it_becomes_one(synced: SyncLog, cast: Cast) -> None:
    week = watermark.FULL_SYNC_EVERY
    for later, due in ((week - timedelta(minutes=1), False), (week + timedelta(minutes=1), True)):
        with time_machine.travel(synced.started_at + later, tick=False):
            assert watermark.needs_full_sync(cast.surf) is due


def test_while_full_syncs_fail_changes_are_read_and_the_full_one_is_tried_once_a_day(
    synced: SyncLog, sync: Sync, cast: Cast
) -> None:
    late = synced.started_at + watermark.FULL_SYNC_EVERY + timedelta(minutes=1)
    with time_machine.travel(late, tick=False):
        failed = sync(CHANGED)
        assert failed.operation_type == "full_patients"
        with transaction():
            db.session.get_one(SyncLog, failed.id).status = "failed"
    for later, due in ((timedelta(hours=23), False), (timedelta(hours=25), True)):
        with time_machine.travel(late + later, tick=False):
            assert watermark.needs_full_sync(cast.surf) is due


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_full_sync_from_while_a_clock_ran_ahead_does_not_keep_others_away(
    synced: SyncLog, sync: Sync, cast: Cast, status: str
) -> None:
    ahead = sync()
    with transaction():
        log = db.session.get_one(SyncLog, ahead.id)
        log.started_at, log.status = now() + timedelta(days=365), status
        db.session.get_one(SyncLog, synced.id).started_at = now() - timedelta(days=8)
    assert watermark.needs_full_sync(cast.surf)


def test_a_failed_full_sync_does_not_count(synced: SyncLog, sync: Sync, cast: Cast) -> None:
    with transaction():
        db.session.get_one(SyncLog, synced.id).status = "failed"

    assert watermark.needs_full_sync(cast.surf)


def test_an_attempt_that_takes_over_counts_each_change_once(
    synced: SyncLog,
    begin: Sync,
    in_step: InStep,
    cliniko: Simulator,
    surf_account: ClinikoAccount,
) -> None:
    active = surf_account.ids(State.ACTIVE)
    for key in active[:250]:
        surf_account.edit(key, first_name="Everybody")
    surf_account.archive(*active[300:310])
    log = begin(CHANGED)
    log_id = log.id

    def hand_over(path: str, params: dict[str, list[str]], _number: int) -> None:
        if any("id:>" in each for each in params.get("q[]", [])):
            engine.hand_over_requested.set()

    cliniko.before_request = hand_over
    engine.run(log_id, 1, worker="test")
    cliniko.before_request = None
    engine.hand_over_requested.clear()
    db.session.expire_all()
    assert db.session.get_one(SyncLog, log_id).is_running
    engine.run(log_id, 2, worker="another")

    db.session.expire_all()
    log = db.session.get_one(SyncLog, log_id)
    assert log.status == "completed"
    assert in_step()
    assert counted(log) == {"updated": 250, "archived": 10}
    assert log.records_success == 260


@pytest.mark.parametrize("kind", ["ignore_id_filter", "ignore_sort", "ignore_per_page"])
def test_a_server_that_keeps_to_no_order_is_read_by_its_links(
    kind: str,
    synced: SyncLog,
    sync: Sync,
    in_step: InStep,
    cliniko: Simulator,
    surf_account: ClinikoAccount,
) -> None:
    for key in surf_account.ids(State.ACTIVE)[:150]:
        surf_account.edit(key, first_name="Another")
    surf_account.archive(surf_account.ids(State.ACTIVE)[200])
    cliniko.faults.add(kind, on="/patients*", times=None)

    assert counted(sync(CHANGED)) == {"updated": 150, "archived": 1}
    assert in_step()


def test_a_list_that_is_only_nearly_in_the_order_of_ids_loses_no_change(
    synced: SyncLog,
    sync: Sync,
    in_step: InStep,
    cliniko: Simulator,
    surf_account: ClinikoAccount,
) -> None:
    ids = surf_account.ids(State.ACTIVE)
    days = [date(2015, 1, 1) + timedelta(days=number) for number in range(len(ids))]
    for patient, day in [*zip(ids, days, strict=True), (ids[150], days[430])]:
        surf_account.edit(patient, created_at=f"{day}T00:00:00Z", first_name="Another")
    cliniko.faults.add("ignore_sort", on="/patients*", times=None)

    assert counted(sync(CHANGED)) == {"updated": len(ids)}
    assert in_step()


def test_a_list_without_order_is_counted_before_it_is_read(
    app: Flask,
    synced: SyncLog,
    sync: Sync,
    in_step: InStep,
    cliniko: Simulator,
    surf_account: ClinikoAccount,
) -> None:
    one, other = surf_account.ids(State.ACTIVE)[:2]
    surf_account.edit(other, first_name="Another")
    surf_account.edit(one, created_at="2030-01-01T00:00:00Z")  # stands last in their default order
    cliniko.faults.add("ignore_sort", on="/patients", times=None)
    shown: list[float] = []

    def look(_path: str, params: dict[str, list[str]], _count: int) -> None:
        if params.get("page") == ["3"]:
            query = select(SyncLog.progress).order_by(SyncLog.id.desc()).limit(1)
            with app.app_context():
                shown.append(db.session.execute(query).scalar_one()["progress_percent"])

    cliniko.before_request = look

    assert sync(CHANGED).status == "completed"
    assert 10 < shown[0] < 60
    assert in_step()


def test_many_removals_are_held(
    synced: SyncLog, sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    gone = surf_account.ids(State.ACTIVE)[:60]
    surf_account.delete(*gone)

    log = sync(CHANGED)
    again = sync(CHANGED)  # the overlap brings the tombstones once more

    assert (log.progress["removals_held"], counted(log)) == (60, {})
    assert (again.progress["removals_held"], counted(again)) == (0, {})
    (batch,) = held.batches(cast.surf.id)
    assert (batch.sync_log_id, batch.patients) == (log.id, 60)

    assert held.confirm(cast.surf, log, actor=cast.alice) == 60
    db.session.expire_all()
    assert counted(db.session.get_one(SyncLog, log.id)) == {"deleted": 60}
    copy = copy_of(cast.surf)
    assert {copy[key].state for key in gone} == {"deleted"}


def test_more_who_go_while_many_wait_are_held_with_them(
    synced: SyncLog, sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    active = surf_account.ids(State.ACTIVE)
    surf_account.delete(*active[:60])
    full = sync()
    back, more = active[:5], active[60:63]
    surf_account.restore(*back)
    surf_account.delete(*more)

    log = sync(CHANGED)

    (batch,) = held.batches(cast.surf.id)
    assert (batch.sync_log_id, batch.patients) == (log.id, 58)
    assert (full.progress["removals_held"], log.progress["removals_held"]) == (60, 58)
    copy = copy_of(cast.surf)
    assert {copy[key].state for key in (*back, *more)} == {"active"}


def test_patients_who_are_kept_stay_kept(
    synced: SyncLog, sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    gone = surf_account.ids(State.ACTIVE)[:60]
    surf_account.delete(*gone)
    held.dismiss(cast.surf, sync(CHANGED), actor=cast.alice)

    log = sync(CHANGED)

    assert (log.progress["removals_held"], log.progress["removals_kept"]) == (0, 60)
    copy = copy_of(cast.surf)
    assert {copy[key].state for key in gone} == {"active"}


def test_the_account_is_checked_before_anything_is_stored(
    synced: SyncLog, sync: Sync, cast: Cast, surf_account: ClinikoAccount
) -> None:
    surf_account.edit(surf_account.ids(State.ACTIVE)[0], first_name="Another")
    with transaction():
        db.session.get_one(Organization, cast.surf.id).cliniko_id = "another"

    log = sync(CHANGED)

    assert (log.error_code, log.records_processed) == ("CLINIKO_ACCOUNT_MISMATCH", 0)


def test_who_is_expected_to_wait_how_long_goes_by_the_type(synced: SyncLog, cast: Cast) -> None:
    full = expected_duration(cast.surf, OperationType.FULL_PATIENTS)
    assert expected_duration(cast.surf, CHANGED) == "1-7 seconds" != full


def test_a_lost_sync_of_changes_is_handed_over_like_any_other(synced: SyncLog, begin: Sync) -> None:
    log = begin(CHANGED)
    with transaction():
        log.worker, log.lease_expires_at = "gone", now() - timedelta(seconds=1)

    assert recovery.recover_stale_syncs() == [log.id]


def test_starts_of_both_kinds_share_the_window_one_way(synced: SyncLog, cast: Cast) -> None:
    full, changed = OperationType.FULL_PATIENTS, CHANGED

    def left() -> tuple[int, int]:
        db.session.rollback()
        first, second = (window.start_window(cast.surf, each) for each in (full, changed))
        return first.remaining, second.remaining

    assert left() == (1, 1)
    with transaction():
        log = db.session.get_one(SyncLog, synced.id)
        log.origin, log.operation_type = "api", "changed_patients"
        log.started_at = now()
        db.session.get_one(Organization, cast.surf.id).credentials_saved_at = LONG_AGO
    assert left() == (1, 0)
    with transaction():
        db.session.get_one(SyncLog, synced.id).operation_type = "full_patients"
    assert left() == (0, 0)
