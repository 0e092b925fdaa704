"""Too many removals to be believed: held, and confirmed or dismissed by an admin."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier, Event

import pytest
from flask import Flask
from sqlalchemy import select

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.api.rows import hold, record, store
from tests.cast import Cast
from tests.sync.copies import copy_of
from tests.sync.logs import certificate_of
from webapp.cliniko.records import PatientState
from webapp.clock import iso, now
from webapp.errors import RemovalsNotHeld, SyncAlreadyRunning
from webapp.extensions import db, transaction
from webapp.models import (
    SUBSCRIBABLE,
    HeldRemoval,
    OperationType,
    Organization,
    Patient,
    SyncLog,
    User,
    WebhookDelivery,
)
from webapp.services import changes, patients
from webapp.services.webhooks import endpoints
from webapp.sync import engine, held, held_rows, history, removals
from webapp.sync.target import Target

Sync = Callable[..., SyncLog]
COUNT = 60


@pytest.fixture
def gone(sync: Sync, surf_account: ClinikoAccount) -> list[str]:
    """Sixty patients that were synced, and then deleted in Cliniko."""
    sync()
    gone = surf_account.ids(State.ACTIVE)[:COUNT]
    surf_account.delete(*gone)
    return gone


def marked(cast: Cast) -> set[str]:
    """Cliniko's ids of those that we hold as deleted."""
    db.session.rollback()  # what this test has read until now is old
    return {key for key, copy in copy_of(cast.surf).items() if copy.state == "deleted"}


def listed(log: SyncLog) -> list[str]:
    """Cliniko's ids of those that this sync held."""
    rows = held.find(log, limit=1000).rows
    return sorted(row.cliniko_patient_id for _, row in rows)


def told(moment: datetime | None) -> str:
    """As Cliniko writes it; nothing for none."""
    return "" if moment is None else iso(moment)


def counts(log: SyncLog) -> tuple[int, int]:
    return log.progress["removals_held"], log.progress["removals_kept"]


@pytest.fixture
def press(app: Flask, cast: Cast) -> Callable[..., int]:
    """Confirms in another thread, as another request does."""
    surf_id, alice_id = cast.surf.id, cast.alice.id

    def press(log_id: int, ready: Callable[[], object]) -> int:
        with app.app_context():
            surf = db.session.get_one(Organization, surf_id)
            alice = db.session.get_one(User, alice_id)
            log = db.session.get_one(SyncLog, log_id)
            ready()
            return held.confirm(surf, log, actor=alice)

    return press


def test_who_is_held_is_listed_with_the_sync(sync: Sync, gone: list[str], cast: Cast) -> None:
    log = sync()

    assert counts(log) == (COUNT, 0)
    assert listed(log) == sorted(gone)
    (batch,) = held.batches(cast.surf.id)
    assert (batch.sync_log_id, batch.kept_at, batch.patients) == (log.id, None, COUNT)
    assert not marked(cast) & set(gone)


def test_the_next_sync_makes_the_list_anew_and_keeps_since_when(
    sync: Sync, gone: list[str], surf_account: ClinikoAccount
) -> None:
    first = sync()
    since = {row.cliniko_patient_id: row.held_since for _, row in held.find(first, limit=99).rows}
    later = surf_account.ids(State.ACTIVE)[0]
    surf_account.delete(later)

    second = sync()

    assert listed(first) == []
    assert listed(second) == sorted([*gone, later])
    rows = {row.cliniko_patient_id: row.held_since for _, row in held.find(second, limit=99).rows}
    assert rows.pop(later) > max(since.values())
    assert rows == since


def test_who_is_back_vanishes_from_the_list_and_the_few_others_are_marked(
    sync: Sync, gone: list[str], cast: Cast, surf_account: ClinikoAccount
) -> None:
    assert counts(sync()) == (COUNT, 0)
    surf_account.restore(*gone[5:])

    log = sync()

    assert counts(log) == (0, 0)
    assert held.batches(cast.surf.id) == []
    assert marked(cast) & set(gone) == set(gone[:5])


def test_a_sync_of_active_patients_takes_those_off_the_list_whom_it_has_read(
    sync: Sync, gone: list[str], surf_account: ClinikoAccount
) -> None:
    first = sync()
    surf_account.restore(*gone[:10])

    log = sync(OperationType.ACTIVE_PATIENTS)

    assert counts(log) == (0, 0)
    assert listed(first) == sorted(gone[10:])


def test_confirming_marks_exactly_those_on_the_list(
    sync: Sync, gone: list[str], cast: Cast, surf_account: ClinikoAccount
) -> None:
    log = sync()
    before = marked(cast)
    moment = now()

    assert held.confirm(cast.surf, log, actor=cast.alice) == COUNT

    assert marked(cast) - before == set(gone)
    changed = patients.PatientFilter(None, changed_after=moment, last_synced_after=moment)
    found = patients.find(cast.surf, changed, limit=100).patients
    assert {patient.cliniko_patient_id for patient in found} == set(gone)
    tombstones = {key: surf_account.patient(key).deleted_at for key in gone}
    assert {each.cliniko_patient_id: told(each.deleted_at) for each in found} == tombstones
    assert log.progress["removals_decision"] == "confirmed"
    assert held.batches(cast.surf.id) == []


def test_after_confirming_the_copy_is_in_step(
    sync: Sync, gone: list[str], cast: Cast, in_step: Callable[[], bool]
) -> None:
    held.confirm(cast.surf, sync(), actor=cast.alice)

    assert counts(sync()) == (0, 0)
    assert marked(cast) >= set(gone)


def test_confirming_tells_webhooks_how_many_and_where_to_read_on(
    sync: Sync, gone: list[str], cast: Cast, surf_account: ClinikoAccount
) -> None:
    surf_account.edit(surf_account.ids(State.ACTIVE)[0], first_name="Anew")
    log = sync()  # its own change comes before those that are confirmed
    endpoints.add(cast.surf, "https://hooks.example.com/", SUBSCRIBABLE, actor=None)

    held.confirm(cast.surf, log, actor=cast.alice)
    held.confirm(cast.surf, log, actor=cast.alice)

    db.session.rollback()
    (message,) = map(json.loads, db.session.scalars(select(WebhookDelivery.body)))
    assert message["event"] == "patients.changed"
    assert message["data"]["sync_log_id"] == log.id
    assert {kind: n for kind, n in message["data"]["changes"].items() if n} == {"deleted": COUNT}
    feed = changes.feed(cast.surf, cursor=message["data"]["cursor"], limit=1000)
    assert sorted(row.cliniko_patient_id for row, _ in feed.rows) == sorted(gone)


def test_dismissing_changes_nobody_and_tells_of_nothing(
    sync: Sync, gone: list[str], cast: Cast
) -> None:
    log = sync()
    endpoints.add(cast.surf, "https://hooks.example.com/", SUBSCRIBABLE, actor=None)

    held.dismiss(cast.surf, log, actor=cast.alice)

    assert db.session.scalars(select(WebhookDelivery)).all() == []


def test_a_second_press_marks_nobody_and_changes_nothing(
    sync: Sync, gone: list[str], cast: Cast
) -> None:
    log = sync()
    held.confirm(cast.surf, log, actor=cast.alice)
    decided = dict(log.progress)

    assert held.confirm(cast.surf, log, actor=cast.alice) == 0
    assert log.progress == decided


def test_two_presses_at_the_same_moment_mark_everybody_once(
    sync: Sync, gone: list[str], cast: Cast, press: Callable[..., int]
) -> None:
    log_id, together = sync().id, Barrier(2)

    with ThreadPoolExecutor() as pool:
        presses = [pool.submit(press, log_id, together.wait) for _ in range(2)]
        assert sorted(press.result() for press in presses) == [0, COUNT]
    assert marked(cast) >= set(gone)


def test_who_was_seen_since_is_not_marked_even_if_that_sync_failed(
    sync: Sync, gone: list[str], cast: Cast, surf_account: ClinikoAccount, cliniko: Simulator
) -> None:
    log = sync()
    surf_account.restore(*gone[:10])
    cliniko.faults.add("status", on="/patients/archived", status=403, nth=2)
    assert sync().status == "failed"

    assert listed(log) == sorted(gone[10:])
    assert held.confirm(cast.surf, log, actor=cast.alice) == COUNT - 10
    assert marked(cast) & set(gone) == set(gone[10:])
    assert (log.progress["removals_held"], log.progress["removals_marked"]) == (COUNT, COUNT - 10)


def test_an_old_list_is_not_confirmed_in_place_of_a_newer_one(
    sync: Sync, gone: list[str], cast: Cast
) -> None:
    old = sync()
    sync()

    for decide in (held.confirm, held.dismiss):
        with pytest.raises(RemovalsNotHeld):
            decide(cast.surf, old, actor=cast.alice)
    assert not marked(cast) & set(gone)


def test_nothing_is_decided_while_a_sync_runs(
    sync: Sync, begin: Callable[..., SyncLog], gone: list[str], cast: Cast
) -> None:
    log = sync()
    begin()

    for decide in (held.confirm, held.dismiss):
        with pytest.raises(SyncAlreadyRunning):
            decide(cast.surf, log, actor=cast.alice)
    assert not marked(cast) & set(gone)


def test_a_sync_whose_worker_is_gone_for_good_is_closed_and_stops_nobody(
    sync: Sync, begin: Callable[..., SyncLog], gone: list[str], cast: Cast
) -> None:
    log, lost = sync(), begin()
    with transaction():
        lost.worker, lost.lease_expires_at = "lost", now() - timedelta(minutes=5)

    assert held.confirm(cast.surf, log, actor=cast.alice) == COUNT
    assert lost.error_code == "SYNC_INTERRUPTED"


def test_a_decision_and_the_end_of_a_sync_do_not_mix(
    sync: Sync,
    begin: Callable[..., SyncLog],
    press: Callable[..., int],
    gone: list[str],
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pressed while the last transaction of a sync is open: the old list is not confirmed."""
    old_id, ending = sync().id, begin()
    ending_id, ready, open_ = ending.id, Event(), Event()
    count_kept = held_rows.count_kept

    def when_the_end_is_near() -> None:
        ready.set()
        open_.wait(20)

    def while_it_is_written(organization_id: int) -> int:
        open_.set()
        return count_kept(organization_id)

    monkeypatch.setattr(held_rows, "count_kept", while_it_is_written)
    with ThreadPoolExecutor() as pool:
        pressed = pool.submit(press, old_id, when_the_end_is_near)
        ready.wait(20)
        engine.run(ending_id, 1, worker="test")
        assert isinstance(pressed.exception(), SyncAlreadyRunning | RemovalsNotHeld)
    db.session.rollback()
    assert ending.status == "completed"
    assert listed(ending) == sorted(gone)
    assert not marked(cast) & set(gone)


def test_dismissed_ones_are_kept_and_not_asked_about_again(
    sync: Sync, gone: list[str], cast: Cast
) -> None:
    log = sync()

    assert held.dismiss(cast.surf, log, actor=cast.alice) == COUNT
    later = sync()

    assert log.progress["removals_decision"] == "dismissed"
    assert counts(later) == (0, COUNT)
    (batch,) = held.batches(cast.surf.id)
    assert (batch.sync_log_id, batch.patients) == (log.id, COUNT)
    assert batch.kept_at is not None
    assert not marked(cast) & set(gone)


def test_dismissing_twice_keeps_the_time_of_the_first(
    sync: Sync, gone: list[str], cast: Cast
) -> None:
    log = sync()
    held.dismiss(cast.surf, log, actor=cast.alice)
    decided = dict(log.progress)

    assert held.dismiss(cast.surf, log, actor=cast.alice) == 0
    assert log.progress == decided


def test_beside_the_kept_ones_a_few_others_are_marked_and_many_others_are_held(
    sync: Sync, gone: list[str], cast: Cast, surf_account: ClinikoAccount
) -> None:
    held.dismiss(cast.surf, sync(), actor=cast.alice)
    few, many = surf_account.ids(State.ACTIVE)[:20], surf_account.ids(State.ACTIVE)[20:60]

    surf_account.delete(*few)
    assert counts(sync()) == (0, COUNT)
    assert marked(cast) >= set(few)
    surf_account.delete(*many)
    log = sync()

    assert counts(log) == (40, COUNT)
    assert listed(log) == sorted(many)
    assert not marked(cast) & {*gone, *many}


def test_a_kept_one_that_is_listed_again_is_a_patient_like_any_other(
    sync: Sync, gone: list[str], cast: Cast, surf_account: ClinikoAccount
) -> None:
    held.dismiss(cast.surf, sync(), actor=cast.alice)
    back = gone[:10]
    surf_account.restore(*back)
    assert counts(sync()) == (0, COUNT - 10)

    surf_account.delete(*back)
    assert counts(sync()) == (0, COUNT - 10)

    assert marked(cast) & set(gone) == set(back)


def test_a_kept_one_that_came_back_and_was_deleted_again_is_marked_though_a_sync_failed_between(
    sync: Sync, gone: list[str], cast: Cast, surf_account: ClinikoAccount, cliniko: Simulator
) -> None:
    held.dismiss(cast.surf, sync(), actor=cast.alice)
    back = gone[:10]
    surf_account.restore(*back)
    cliniko.faults.add("status", on="/patients/archived", status=403, nth=2)
    assert sync().status == "failed"
    surf_account.delete(*back)

    assert counts(sync(OperationType.CHANGED_PATIENTS)) == (0, COUNT - 10)

    assert marked(cast) & set(gone) == set(back)


def test_a_kept_one_who_is_listed_in_a_form_that_cannot_be_stored_is_kept_no_more(
    sync: Sync, gone: list[str], cast: Cast, surf_account: ClinikoAccount
) -> None:
    held.dismiss(cast.surf, sync(), actor=cast.alice)
    surf_account.restore(gone[0])
    surf_account.edit(gone[0], first_name=["a", "list"])
    assert sync().records_failed == 1
    surf_account.delete(gone[0])
    many = surf_account.ids(State.ACTIVE)[:40]
    surf_account.delete(*many)

    log = sync()

    assert (log.status, *counts(log)) == ("completed", 41, COUNT - 1)
    assert listed(log) == sorted([gone[0], *many])


def test_a_tombstone_that_cannot_be_read_is_no_sign_of_a_kept_one(
    sync: Sync, gone: list[str], cast: Cast, surf_account: ClinikoAccount, cliniko: Simulator
) -> None:
    held.dismiss(cast.surf, sync(), actor=cast.alice)
    deleted = surf_account.ids(State.DELETED)
    cliniko.faults.add(
        "replace_record",
        record={"id": gone[5], "deleted_at": "soon"},
        at=deleted.index(gone[5]),
        on="/patients/deleted",
        query="per_page=100",
    )
    log = sync()
    assert (log.records_failed, *counts(log)) == (1, 0, COUNT)

    log = sync()

    assert (log.records_failed, *counts(log)) == (0, 0, COUNT)
    assert not marked(cast) & set(gone)


def test_the_kept_ones_can_be_marked_after_all(sync: Sync, gone: list[str], cast: Cast) -> None:
    log = sync()
    held.dismiss(cast.surf, log, actor=cast.alice)
    sync()

    assert held.confirm(cast.surf, log, actor=cast.alice) == COUNT

    assert marked(cast) >= set(gone)
    assert log.progress["removals_decision"] == "confirmed"
    assert counts(sync()) == (0, 0)


def test_what_was_confirmed_cannot_be_dismissed(sync: Sync, gone: list[str], cast: Cast) -> None:
    log = sync()
    held.confirm(cast.surf, log, actor=cast.alice)

    with pytest.raises(RemovalsNotHeld):
        held.dismiss(cast.surf, log, actor=cast.alice)


def test_kept_ones_in_no_list_at_all_do_not_use_up_the_single_questions(
    sync: Sync, cast: Cast, surf_account: ClinikoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals, "MOST_SINGLE_QUESTIONS", 40)
    sync()
    vanished = surf_account.ids(State.ACTIVE)[:80]
    surf_account.forget(*vanished)
    first = sync()
    assert counts(first) == (40, 0)
    held.dismiss(cast.surf, first, actor=cast.alice)

    second = sync()

    assert counts(second) == (40, 40)
    assert sorted(listed(first) + listed(second)) == sorted(vanished)


def test_who_could_not_be_asked_about_counts_among_the_many(
    sync: Sync, cast: Cast, surf_account: ClinikoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a key shows only some of an account's patients: they must not go a few a sync."""
    monkeypatch.setattr(removals, "MOST_SINGLE_QUESTIONS", 10)
    sync()
    vanished = surf_account.ids(State.ACTIVE)[:COUNT]
    surf_account.forget(*vanished)

    log = sync()

    assert counts(log) == (10, 0)
    assert log.progress["removals_unasked"] == COUNT - 10
    assert set(listed(log)) < set(vanished)
    assert not marked(cast) & set(vanished)


@pytest.mark.parametrize("status", [403, 410, 500])
def test_one_about_whom_cliniko_gives_no_answer_keeps_nobody_from_being_synced(
    sync: Sync,
    cast: Cast,
    surf_account: ClinikoAccount,
    cliniko: Simulator,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("webapp.cliniko.client.backoff", lambda _: 0.0)
    sync()
    silent, vanished, edited = surf_account.ids(State.ACTIVE)[:3]
    surf_account.forget(silent, vanished)
    surf_account.edit(edited, first_name="Zoë")
    cliniko.faults.add("status", status=status, on=f"/patients/{silent}", times=None)

    log = sync()

    assert (log.status, log.progress["removals_unasked"]) == ("completed", 1)
    assert certificate_of(log)["in_step"] is False
    assert marked(cast) & {silent, vanished} == {vanished}
    assert copy_of(cast.surf)[edited].first_name == "Zoë"
    assert cast.surf.connection_error_code is None


@pytest.mark.parametrize(("vanished", "silent", "deleted"), [(60, 3, 0), (60, 20, 0), (45, 3, 15)])
def test_those_who_wait_and_about_whom_cliniko_gives_no_answer_go_on_waiting(
    sync: Sync,
    cast: Cast,
    surf_account: ClinikoAccount,
    cliniko: Simulator,
    vanished: int,
    silent: int,
    deleted: int,
) -> None:
    sync()
    ids = surf_account.ids(State.ACTIVE)
    gone = ids[:vanished]
    surf_account.forget(*gone)
    assert counts(sync()) == (vanished, 0)
    tombstones = ids[vanished : vanished + deleted]
    surf_account.delete(*tombstones)
    for somebody in gone[:: vanished // silent]:
        cliniko.faults.add("status", status=403, on=f"/patients/{somebody}", times=None)

    log = sync()

    assert (log.status, log.progress["removals_unasked"]) == ("completed", 0)
    assert listed(log) == sorted([*gone, *tombstones])
    told = certificate_of(log)["cliniko"]["deleted"]
    assert told == 5 + vanished - silent + deleted  # five were deleted before
    assert not marked(cast) & {*gone, *tombstones}


def test_a_few_who_wait_without_an_answer_go_on_waiting_too(
    sync: Sync, cast: Cast, surf_account: ClinikoAccount, cliniko: Simulator
) -> None:
    sync()
    gone = surf_account.ids(State.ACTIVE)[:COUNT]
    surf_account.delete(*gone[1:])
    surf_account.forget(gone[0])
    sync()
    surf_account.restore(*gone[1:])
    cliniko.faults.add("status", status=403, on=f"/patients/{gone[0]}", times=None)

    log = sync()

    assert listed(log) == [gone[0]]
    assert gone[0] not in marked(cast)


@pytest.mark.parametrize("answer", [{"first_name": "Nobody"}, {"id": "1"}])
def test_an_answer_about_somebody_else_is_none(
    sync: Sync,
    cast: Cast,
    surf_account: ClinikoAccount,
    cliniko: Simulator,
    answer: dict[str, str],
) -> None:
    sync()
    gone = surf_account.ids(State.ACTIVE)[:COUNT]
    surf_account.forget(*gone)
    sync()
    on = f"/patients/{gone[5]}"
    cliniko.faults.add("status", status=200, json=answer, on=on, times=None)

    log = sync()

    assert all(fault.fitting for fault in cliniko.faults)
    assert listed(log) == sorted(gone)
    assert (log.status, log.records_failed) == ("completed", 0)


def test_some_without_an_answer_do_not_end_a_sync_that_gets_others(
    sync: Sync, cast: Cast, surf_account: ClinikoAccount, cliniko: Simulator
) -> None:
    """However they fall into the groups that are asked about at once."""
    sync()
    gone = surf_account.ids(State.ACTIVE)[:12]
    surf_account.forget(*gone)
    for somebody in gone[8:]:
        cliniko.faults.add("status", status=403, on=f"/patients/{somebody}", times=None)

    log = sync()

    assert (log.status, log.progress["removals_unasked"]) == ("completed", 4)
    assert marked(cast) & set(gone) == set(gone[:8])


def test_a_cliniko_that_answers_about_nobody_makes_the_sync_fail(
    sync: Sync, cast: Cast, gone: list[str], surf_account: ClinikoAccount, cliniko: Simulator
) -> None:
    """Then it is not the patients, but the key or Cliniko itself; those who wait go on waiting."""
    held_log = sync()
    surf_account.forget(*surf_account.ids(State.ACTIVE)[:8])
    for somebody in range(10):
        cliniko.faults.add("status", status=403, on=f"/patients/*{somebody}", times=None)

    log = sync()

    assert (log.status, log.error_code) == ("failed", "CLINIKO_FORBIDDEN")
    assert listed(held_log) == sorted(gone)


def test_a_decision_changes_the_version_that_pollers_compare(
    sync: Sync, gone: list[str], cast: Cast
) -> None:
    """Even where the newest sync is another one than that which was decided about."""
    log = sync()
    sync(OperationType.ACTIVE_PATIENTS)
    before = history.version(cast.surf)
    active = history.summary(cast.surf).synced_to_database

    held.confirm(cast.surf, log, actor=cast.alice)

    assert history.version(cast.surf) != before
    assert history.summary(cast.surf).synced_to_database == active - COUNT


def test_two_clinics_are_decided_about_apart(sync: Sync, gone: list[str], cast: Cast) -> None:
    log = sync()
    with transaction() as session:
        key = gone[0]
        session.add(
            Patient(
                organization_id=cast.northside.id,
                cliniko_patient_id=key,
                state=PatientState.ACTIVE,
                last_synced=now(),
                last_changed=now(),
                last_sync_id=1,
            )
        )

    held.confirm(cast.surf, log, actor=cast.alice)

    assert copy_of(cast.northside)[key].state == "active"


def test_what_one_clinic_holds_and_keeps_is_not_told_of_another(cast: Cast) -> None:
    surf, northside = cast.surf.id, cast.northside.id
    hold(cast.northside, 2)
    log = hold(cast.surf, 3)

    for each, their_keys in ((surf, {"1", "2", "3"}), (northside, {"1", "2"})):
        assert [batch.patients for batch in held.batches(each)] == [len(their_keys)]
        assert held_rows.keys(each) == their_keys
        assert held_rows.waiting_records(each).keys() == their_keys

    held.dismiss(cast.surf, log, actor=cast.alice)

    assert (held_rows.kept_keys(surf), held_rows.kept_keys(northside)) == ({"1", "2", "3"}, set())
    assert (held_rows.count_kept(surf), held_rows.count_kept(northside)) == (3, 0)
    assert held_rows.waiting_records(surf) == {}
    assert held_rows.waiting_records(northside).keys() == {"1", "2"}


def test_who_is_listed_again_is_taken_off_the_list_of_that_clinic_alone(cast: Cast) -> None:
    hold(cast.northside, 2)
    again = store(cast.northside, record(1, "Liam", "Smith"))

    for clinic, left in ((cast.surf, {"1", "2"}), (cast.northside, {"2"})):
        with transaction():
            held_rows.forget_listed_again(Target(clinic.id, again.id, "au1"))
        assert held_rows.keys(cast.northside.id) == left


def test_a_sync_that_fails_leaves_the_list_as_it_was(
    sync: Sync, gone: list[str], cliniko: Simulator
) -> None:
    log = sync()
    cliniko.faults.add("status", on="/patients", status=403, times=None)
    sync()

    assert listed(log) == sorted(gone)
    rows = db.session.scalars(select(HeldRemoval.sync_log_id)).all()
    assert set(rows) == {log.id}
