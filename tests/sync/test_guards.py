"""Each guard matters: a promise holds with it, and is broken as soon as it is switched off.

A green test of a promise means nothing if it stays green without what keeps the promise.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import requests
import time_machine
from flask import Flask
from sqlalchemy import delete, text

from config import Settings
from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.cast import Cast
from tests.conftest import as_user
from tests.sync.copies import copy_of, truth_of
from webapp import create_app
from webapp.cliniko import listing
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import Organization, Patient, PatientChange, SyncLog
from webapp.outbound.deadline import DirectSession
from webapp.services import changes
from webapp.sync import engine, lease, reader, recovery, removals
from webapp.sync.catch_up import CatchUp
from webapp.sync.lists import Lists
from webapp.sync.passes import Passes

Sync = Callable[..., SyncLog]
Patch = pytest.MonkeyPatch


@dataclass
class World:
    """All that a promise may need."""

    app: Flask
    cast: Cast
    cliniko: Simulator
    surf: ClinikoAccount
    sync: Sync
    begin: Callable[[], SyncLog]


@pytest.fixture
def factory() -> Callable[[Settings], Flask]:
    return create_app


@pytest.fixture
def world(
    app: Flask,
    cast: Cast,
    cliniko: Simulator,
    surf_account: ClinikoAccount,
    sync: Sync,
    begin: Callable[[], SyncLog],
) -> World:
    return World(app, cast, cliniko, surf_account, sync, begin)


# The fence: an attempt that was replaced cannot write.


def a_replaced_worker_writes_nothing(world: World) -> None:
    log = world.begin()
    log_id, replaced = log.id, False

    def replace_the_worker(path: str, _params: object, number: int) -> None:
        nonlocal replaced
        if path == "/patients/archived" and not replaced:
            replaced = True
            with world.app.app_context():
                lease.expire(log_id, 1)
                # It is alive, and may have renewed its lease in between.
                while not recovery.hand_over(log_id, 1, interrupted=True):
                    lease.expire(log_id, 1)

    world.cliniko.before_request = replace_the_worker
    engine.run(log.id, 1, worker="slow")
    db.session.expire_all()
    row = db.session.get_one(SyncLog, log.id)
    assert (row.status, row.attempt, row.worker) == ("running", 2, None)
    assert row.records_success == 0


def without_the_fence(patch: Patch) -> None:
    def write(sync_log_id: int, attempt: int, **values: Any) -> None:
        log = db.session.get_one(SyncLog, sync_log_id)
        for name, value in values.items():
            setattr(log, name, value)

    def check(sync_log_id: int, attempt: int, confirmed: int) -> lease.Standing:
        log = db.session.get_one(SyncLog, sync_log_id, populate_existing=True)
        return lease.Standing(log.records_success, log.records_failed, log.checkpoint or {})

    patch.setattr(lease, "write", write)
    patch.setattr(lease, "check", check)


# The count of writes: a standby that takes over may lack the last commits.


def a_database_that_takes_commits_back_loses_nobody(world: World) -> None:
    log = world.begin()
    log_id, clinic_id = log.id, log.organization_id
    before: list[dict[str, Any]] = []
    taken_back = False

    def take_back(_path: str, _params: object, _number: int) -> None:
        nonlocal taken_back
        with world.app.app_context(), transaction() as session:
            row = session.get_one(SyncLog, log_id, with_for_update=True)
            if not row.records_success:
                before.append(dict(row.checkpoint or {}))
            elif not taken_back:
                taken_back = True
                session.execute(delete(Patient).where(Patient.organization_id == clinic_id))
                row.checkpoint, row.records_success = before[-1], 0

    world.cliniko.before_request = take_back
    engine.run(log.id, 1, worker="first")
    world.cliniko.before_request = None
    assert taken_back
    if db.session.get_one(SyncLog, log.id, populate_existing=True).is_running:
        engine.run(log.id, 2, worker="second")
    assert db.session.get_one(SyncLog, log.id, populate_existing=True).status == "completed"
    assert copy_of(world.cast.surf) == truth_of(world.surf)


def test_whoever_follows_the_changes_misses_none_though_commits_were_taken_back(
    world: World,
) -> None:
    log = world.begin()
    log_id, clinic_id, cursors = log.id, log.organization_id, list[int]()

    def take_back(_path: str, _params: object, _number: int) -> None:
        """All patients that were stored until now, which somebody has heard of."""
        with world.app.app_context(), transaction() as session:
            clinic = session.get_one(Organization, clinic_id, with_for_update=True)
            row = session.get_one(SyncLog, log_id, with_for_update=True)
            if row.records_success and not cursors:
                cursors.append(clinic.changes_recorded)
                session.execute(delete(Patient).where(Patient.organization_id == clinic_id))
                session.execute(delete(PatientChange))
                row.checkpoint, row.records_success, clinic.changes_recorded = {}, 0, 0

    world.cliniko.before_request = take_back
    engine.run(log.id, 1, worker="first")
    engine.run(log.id, 2, worker="second")

    surf = db.session.get_one(Organization, clinic_id, populate_existing=True)
    feed = changes.feed(surf, cursor=cursors[0], limit=1_000)
    assert {change.cliniko_patient_id for change, _ in feed.rows} == set(truth_of(world.surf))


def without_the_count(patch: Patch) -> None:
    as_it_is = lease.check

    def check(sync_log_id: int, attempt: int, confirmed: int) -> lease.Standing:
        log = db.session.get_one(SyncLog, sync_log_id, populate_existing=True)
        return as_it_is(sync_log_id, attempt, (log.checkpoint or {}).get("writes", 0))

    patch.setattr(lease, "check", check)
    without_the_second_reading(patch)  # which would find them, too


# The lease: a sync whose worker is gone is given to another.


def a_lost_worker_is_replaced_within_half_a_minute(world: World) -> None:
    log = world.begin()
    lease.claim(log.id, 1, "lost")
    with time_machine.travel(now() + timedelta(seconds=30)):
        _let_database_time_pass(log, 30)
        assert recovery.recover_stale_syncs() == [log.id]


def without_the_lease(patch: Patch) -> None:
    patch.setattr(lease, "LEASE", timedelta(days=1))


# The catch-up: what changes while we read is read again.


def who_is_edited_after_being_read_arrives_in_the_same_sync(world: World) -> None:
    somebody = world.surf.ids(State.ACTIVE)[0]

    def edit(path: str, params: dict[str, list[str]], _number: int) -> None:
        if path == "/patients" and params.get("page", ["1"]) != ["1"]:  # the first page has come
            world.surf.edit(somebody, first_name="Zoë")
            world.cliniko.before_request = None

    world.cliniko.before_request = edit
    assert world.sync().status == "completed"
    assert copy_of(world.cast.surf)[somebody].first_name == "Zoë"


def without_the_catch_up(patch: Patch) -> None:
    patch.setattr(CatchUp, "read", lambda self, listings, **_: (0, 1))


# The savepoint: a record that the database refuses does not take its page along.


def test_some_records_that_the_database_refuses_fail_alone_however_often(world: World) -> None:
    _refuse("refused")
    for key in world.surf.ids(State.ACTIVE)[:2]:
        world.surf.edit(key, first_name="refused")
    for _ in range(2):  # the second time they are all that is to be written
        log = world.sync()
        assert (log.status, log.records_failed) == ("completed", 2)


def a_refused_record_leaves_its_page_alone(world: World) -> None:
    refused = world.surf.ids(State.ACTIVE)[5]
    world.surf.edit(refused, first_name="Refused")
    _refuse("Refused")

    log = world.sync()

    assert (log.status, log.records_success, log.records_failed) == ("completed", 647, 1)


def without_the_savepoint(patch: Patch) -> None:
    patch.setattr(db.session, "begin_nested", nullcontext, raising=False)


# No redirects: nobody else is asked, and nobody else is sent the key.


def nobody_is_followed_to_another_host(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(0.05)
        port = stranger.getsockname()[1]
        world.cliniko.faults.add("redirect", on="/patients", to=f"http://127.0.0.1:{port}/v1")
        world.sync()
        try:
            visitor, _ = stranger.accept()
        except TimeoutError:
            return
        visitor.close()
        raise AssertionError("another host was asked")


def without_the_block(patch: Patch) -> None:
    send = requests.Session.send

    def follow(self: requests.Session, *args: Any, **options: Any) -> requests.Response:
        return send(self, *args, **(options | {"allow_redirects": True, "timeout": 1}))

    patch.setattr(DirectSession, "get_redirect_target", requests.Session.get_redirect_target)
    patch.setattr(DirectSession, "send", follow)


# The tenant filter: a manager sees one clinic.


def nobody_sees_the_patients_of_another_clinic(world: World) -> None:
    world.sync()
    charlie = as_user(world.app, world.cast.charlie)
    answer = charlie.get(f"/api/v1/cliniko/active-patients/{world.cast.surf.id}")
    assert answer.status_code == 403


def without_the_tenant_filter(patch: Patch) -> None:
    patch.setattr("webapp.auth.guards.may", lambda *_: True)


# The hold: suspiciously many removals are not believed.


def many_removals_at_once_are_held(world: World) -> None:
    world.sync()
    world.surf.delete(*world.surf.ids(State.ACTIVE)[:60])
    world.sync()
    ours = copy_of(world.cast.surf).values()
    assert sum(copy.state == "deleted" for copy in ours) == 5


def without_the_hold(patch: Patch) -> None:
    patch.setattr(removals, "HOLD_ABOVE", 1_000_000)


# The order by id: a server that does not keep it is noticed.


def a_list_in_another_order_loses_nobody(world: World) -> None:
    world.cliniko.faults.add("ignore_sort", on="/patients*", times=None)
    for number in range(300):  # by the time of creation such a server sorts, and not by these ids
        world.surf.create(id=str(900_000 - number))
    assert world.sync().status == "completed"
    assert copy_of(world.cast.surf) == truth_of(world.surf)


def without_the_order(patch: Patch) -> None:
    by_id = listing._by_id

    def blind(*args: Any, **options: Any) -> listing.IdPage:
        return replace(by_id(*args, **options), in_order=True)

    patch.setattr(listing, "_by_id", blind)
    without_the_second_reading(patch)
    patch.setattr(reader, "goes_up", lambda *_: True)
    patch.setattr(Passes, "_ask_about_missing", lambda self: None)


# The count at the end: Cliniko's own numbers tell of patients whom its lists have not shown.


def a_first_page_that_calls_itself_the_whole_list_loses_nobody(world: World) -> None:
    answer = {"on": "/patients", "query": "per_page=100&page=1&"}
    for key, value in {"links": {}, "total_entries": 100}.items():
        world.cliniko.faults.add("replaced_value", key=key, value=value, **answer)
    assert world.sync().status == "completed"
    assert copy_of(world.cast.surf) == truth_of(world.surf)


def without_the_second_reading(patch: Patch) -> None:
    patch.setattr(Lists, "read_again", lambda *_: None)


# SQLite undoes a refused statement by itself; PostgreSQL gives up the whole transaction.
POSTGRES_ONLY = {"savepoint"}

GUARDS: dict[str, tuple[Callable[[World], None], Callable[[Patch], None]]] = {
    "fence": (a_replaced_worker_writes_nothing, without_the_fence),
    "count of writes": (a_database_that_takes_commits_back_loses_nobody, without_the_count),
    "lease": (a_lost_worker_is_replaced_within_half_a_minute, without_the_lease),
    "catch-up": (
        who_is_edited_after_being_read_arrives_in_the_same_sync,
        without_the_catch_up,
    ),
    "savepoint": (a_refused_record_leaves_its_page_alone, without_the_savepoint),
    "redirect block": (nobody_is_followed_to_another_host, without_the_block),
    "tenant filter": (nobody_sees_the_patients_of_another_clinic, without_the_tenant_filter),
    "removal hold": (many_removals_at_once_are_held, without_the_hold),
    "order by id": (a_list_in_another_order_loses_nobody, without_the_order),
    "count at the end": (
        a_first_page_that_calls_itself_the_whole_list_loses_nobody,
        without_the_second_reading,
    ),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_with_its_guard_the_promise_holds(guard: str, world: World) -> None:
    promise, _ = GUARDS[guard]
    promise(world)


@pytest.mark.parametrize("guard", GUARDS)
def test_without_its_guard_the_promise_is_broken(guard: str, world: World, database: str) -> None:
    promise, switch_off = GUARDS[guard]
    if guard in POSTGRES_ONLY and database == "sqlite":
        return promise(world)
    with pytest.MonkeyPatch.context() as patch:
        switch_off(patch)
        with pytest.raises(AssertionError):
            promise(world)
    return None


def _let_database_time_pass(log: SyncLog, seconds: float) -> None:
    """PostgreSQL has a clock of its own: there the lease is moved back instead."""
    if db.engine.dialect.name == "postgresql":
        row = db.session.get_one(SyncLog, log.id, populate_existing=True)
        assert row.lease_expires_at is not None
        ends = row.lease_expires_at - timedelta(seconds=seconds)
        with transaction():
            db.session.get_one(SyncLog, log.id).lease_expires_at = ends


def _refuse(first_name: str) -> None:
    """From now on the database refuses rows with this name."""
    condition = f"NEW.first_name = '{first_name}'"
    if db.engine.dialect.name == "postgresql":
        statements = [
            f"CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN IF {condition} THEN RAISE "
            "EXCEPTION 'refused' USING ERRCODE = '23514'; END IF; RETURN NEW; END $$ "
            "LANGUAGE plpgsql",
            "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON patients FOR EACH ROW "
            "EXECUTE FUNCTION refuse()",
        ]
    else:
        statements = [
            f"CREATE TRIGGER refuse BEFORE INSERT ON patients WHEN {condition} "
            "BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed'); END"
        ]
    with transaction() as session:
        for statement in statements:
            session.execute(text(statement))
