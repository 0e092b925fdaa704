"""What is due by a schedule is started, once, by whichever worker looks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, time, timedelta
from threading import Barrier
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select

from config import ROOT
from tests.cast import Cast
from tests.sync.logs import rows
from webapp import queue
from webapp.clock import now
from webapp.errors import AuditUnavailable
from webapp.extensions import db, on_postgresql, transaction
from webapp.models import (
    OperationType,
    Organization,
    Schedule,
    SyncLog,
    SyncOrigin,
    SyncStatus,
)
from webapp.services import organizations, schedules
from webapp.sync import lease, recovery, schedule, start, suspension
from webapp.sync.schedule import start_due_syncs
from webapp.sync.start import start_sync
from webapp.sync.window import start_window

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def the_database_travels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL has a clock of its own, which nothing else here moves."""

    def moved() -> datetime:
        hatch = time_machine.escape_hatch
        if on_postgresql() and hatch.is_travelling():
            return lease.database_now() + (now() - hatch.datetime.datetime.now(UTC))
        return lease.database_now()

    monkeypatch.setattr(schedule, "database_now", moved)


def choose(
    clinic: Organization, *, changes: int | None = None, full: time | None = None
) -> Schedule:
    schedules.save(
        clinic, changes_every=changes, full_at=full, time_zone="Australia/Sydney", actor=None
    )
    return of(clinic)


def of(clinic: Organization) -> Schedule:
    db.session.rollback()
    return db.session.get_one(Schedule, clinic.id)


def make_due(clinic: Organization, **values: datetime) -> None:
    with transaction():
        row = db.session.get_one(Schedule, clinic.id)
        for name, value in values.items():
            setattr(row, name, value)


def end(log: SyncLog, *, completes: bool = True) -> None:
    with transaction():
        log.status = SyncStatus.COMPLETED if completes else SyncStatus.FAILED
        log.completed_at = now()


def test_what_is_due_is_started_and_the_next_run_planned(cast: Cast) -> None:
    choose(cast.surf, changes=60)
    assert start_due_syncs() == []
    at = of(cast.surf).next_changes_at
    assert at is not None

    with time_machine.travel(at + timedelta(seconds=3)):
        (log_id,) = start_due_syncs()
        assert start_due_syncs() == []

    (log,) = rows()
    assert (log.id, log.origin, log.started_by_id) == (log_id, "schedule", None)
    assert queue.is_queued(log.id, 1)
    assert of(cast.surf).next_changes_at == at + timedelta(hours=1)


def test_a_full_sync_reads_the_changes_too(cast: Cast) -> None:
    choose(cast.surf, changes=480, full=time(2))
    late = now() - timedelta(hours=1)
    make_due(cast.surf, next_full_at=late, next_changes_at=late)

    assert len(start_due_syncs()) == 1
    end(rows()[0])
    assert start_due_syncs() == []

    after = of(cast.surf)
    assert after.next_full_at is not None
    assert after.next_changes_at is not None
    assert after.next_full_at > now()
    assert after.next_changes_at > now()


def test_runs_that_were_missed_are_made_up_for_once(cast: Cast) -> None:
    choose(cast.surf, changes=480)
    make_due(cast.surf, next_changes_at=now() - timedelta(days=3))

    assert len(start_due_syncs()) == 1
    end(rows()[0])
    assert start_due_syncs() == []


@pytest.mark.parametrize(
    ("changes", "full", "waiting"),
    [
        (15, time(2), {"changes", "full"}),
        (30, time(2), {"full"}),
        (15, time(3), {"changes"}),
        (15, None, {"changes"}),
    ],
)
def test_a_run_that_is_due_and_waits_stays_when_the_schedule_is_saved(
    cast: Cast, changes: int, full: time | None, waiting: set[str]
) -> None:
    choose(cast.surf, changes=15, full=time(2))
    due = now() - MINUTE
    make_due(cast.surf, next_changes_at=due, next_full_at=due)
    row = choose(cast.surf, changes=changes, full=full)
    stands = {"changes": row.next_changes_at == due, "full": row.next_full_at == due}
    assert {name for name in stands if stands[name]} == waiting
    assert len(start_due_syncs()) == 1


def test_one_sync_makes_up_for_all_that_was_missed_while_a_clinic_was_disabled(cast: Cast) -> None:
    choose(cast.surf, changes=15, full=time(2))
    suspension.disable(cast.surf, actor=cast.alice)

    with time_machine.travel(now() + timedelta(days=5)):
        assert start_due_syncs() == []
        suspension.enable(cast.surf, actor=cast.alice)
        assert len(start_due_syncs()) == 1
        (log,) = rows()
        assert log.operation_type == OperationType.FULL_PATIENTS
        end(log)
        assert start_due_syncs() == []


@pytest.mark.parametrize(("completes", "started"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("running", [OperationType.FULL_PATIENTS, OperationType.CHANGED_PATIENTS])
def test_changes_are_skipped_once_a_sync_that_brings_them_has_completed(
    cast: Cast, sync: Callable[..., SyncLog], running: str, completes: bool, started: int
) -> None:
    sync()
    choose(cast.surf, changes=480)
    at = now()
    make_due(cast.surf, next_changes_at=at)
    log = start_sync(cast.surf, OperationType(running), actor=None, origin=SyncOrigin.COMMAND)
    assert log.operation_type == running

    assert start_due_syncs() == []
    assert (of(cast.surf).next_changes_at, of(cast.surf).skipped_at) == (at, None)
    end(log, completes=completes)

    assert len(start_due_syncs()) == started
    after = of(cast.surf)
    assert after.skipped_at == (at if completes else None)
    assert (after.next_changes_at or at) > now()


def full_run_is_due_beside(operation: OperationType, cast: Cast) -> tuple[datetime, SyncLog]:
    choose(cast.surf, full=time(2))
    at = now().replace(microsecond=0) - MINUTE
    make_due(cast.surf, next_full_at=at)
    return at, start_sync(cast.surf, operation, actor=None, origin=SyncOrigin.COMMAND)


def test_a_full_sync_waits_for_the_end_of_a_smaller_sync(cast: Cast) -> None:
    at, running = full_run_is_due_beside(OperationType.ACTIVE_PATIENTS, cast)

    assert start_due_syncs() == []
    assert of(cast.surf).next_full_at == at
    end(running)

    assert len(start_due_syncs()) == 1
    assert of(cast.surf).skipped_at is None


@pytest.mark.parametrize(("completes", "started"), [(True, 0), (False, 1)])
def test_a_full_sync_is_skipped_once_another_has_completed(
    cast: Cast, completes: bool, started: int
) -> None:
    at, running = full_run_is_due_beside(OperationType.FULL_PATIENTS, cast)

    assert start_due_syncs() == []
    assert (of(cast.surf).next_full_at, of(cast.surf).skipped_at) == (at, None)
    end(running, completes=completes)

    assert len(start_due_syncs()) == started
    assert of(cast.surf).skipped_at == (at if completes else None)
    assert (of(cast.surf).next_full_at or at) > now()


def test_a_night_that_is_skipped_leaves_the_changes_that_came_due_behind_it(
    cast: Cast, sync: Callable[..., SyncLog]
) -> None:
    sync()
    choose(cast.surf, changes=480, full=time(2))
    night = now() - timedelta(hours=3)
    make_due(cast.surf, next_full_at=night, next_changes_at=now() - 30 * MINUTE)
    with transaction():
        rows()[0].completed_at = night + 3 * MINUTE

    assert start_due_syncs() == []
    assert of(cast.surf).skipped_at == night
    (log_id,) = start_due_syncs()

    log = db.session.get_one(SyncLog, log_id)
    assert log.operation_type == OperationType.CHANGED_PATIENTS


def test_changes_that_were_due_before_a_night_that_is_skipped_are_skipped_too(
    cast: Cast, sync: Callable[..., SyncLog]
) -> None:
    sync()
    choose(cast.surf, changes=480, full=time(2))
    make_due(cast.surf, next_full_at=now() - 10 * MINUTE, next_changes_at=now() - 20 * MINUTE)
    with transaction():
        rows()[0].completed_at = now() - MINUTE

    night = of(cast.surf).next_full_at
    assert [start_due_syncs() for _ in range(3)] == [[], [], []]
    after = of(cast.surf)
    assert (after.next_changes_at or now()) > now()
    assert after.skipped_at == night


@pytest.mark.parametrize("smaller", [OperationType.ACTIVE_PATIENTS, OperationType.RETRY_FAILED])
def test_changes_wait_for_the_end_of_a_sync_that_brings_none(
    cast: Cast, smaller: OperationType
) -> None:
    choose(cast.surf, changes=480)
    at = now().replace(microsecond=0) - MINUTE
    make_due(cast.surf, next_changes_at=at)
    running = start_sync(cast.surf, smaller, actor=None, origin=SyncOrigin.COMMAND)

    assert start_due_syncs() == []
    assert (of(cast.surf).next_changes_at, of(cast.surf).skipped_at) == (at, None)
    end(running)

    assert len(start_due_syncs()) == 1
    assert of(cast.surf).skipped_at is None


def test_a_lost_sync_does_not_keep_a_clinic_from_its_schedule(cast: Cast) -> None:
    choose(cast.surf, changes=480)
    make_due(cast.surf, next_changes_at=now() - MINUTE)
    lost = start_sync(cast.surf, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)
    with transaction():
        lost.worker, lost.lease_expires_at = "gone", now() - timedelta(minutes=2)

    assert len(start_due_syncs()) == 1


def test_a_scheduled_sync_uses_up_nobodys_window(cast: Cast) -> None:
    choose(cast.surf, changes=480)
    make_due(cast.surf, next_changes_at=now() - MINUTE)
    start_due_syncs()
    end(rows()[0])

    assert start_window(cast.surf, OperationType.FULL_PATIENTS).remaining == 1
    assert start_sync(
        cast.surf, OperationType.FULL_PATIENTS, actor=cast.bob, origin=SyncOrigin.DASHBOARD
    ).is_running


def test_a_clinic_without_a_key_is_left_alone(cast: Cast) -> None:
    keyless = organizations.add("Keyless")
    choose(keyless, changes=480)
    make_due(keyless, next_changes_at=now() - MINUTE)

    assert start_due_syncs() == []
    assert rows() == []


def test_a_clinic_that_is_disabled_is_left_alone_until_it_is_enabled(cast: Cast) -> None:
    choose(cast.surf, changes=480)
    make_due(cast.surf, next_changes_at=now() - MINUTE)
    (seen,) = schedule._due(now())
    suspension.disable(cast.surf, actor=cast.alice)

    assert start_due_syncs() == []
    assert schedule._start(seen, now()) is None  # it was disabled after somebody looked
    suspension.enable(cast.surf, actor=cast.alice)

    assert len(start_due_syncs()) == 1


def test_changes_are_read_once_everything_was_matched_and_at_least_weekly_everything(
    cast: Cast, sync: Callable[..., SyncLog]
) -> None:
    def run() -> str:
        make_due(cast.surf, next_changes_at=now())
        (log_id,) = start_due_syncs()
        log = db.session.get_one(SyncLog, log_id)
        operation_type = log.operation_type
        end(log)
        return operation_type

    choose(cast.surf, changes=480)
    assert run() == "full_patients"  # nothing was matched yet
    sync()
    assert run() == "changed_patients"
    with time_machine.travel(now() + timedelta(days=8)):
        assert run() == "full_patients"


def test_a_schedule_that_is_off_starts_nothing(cast: Cast) -> None:
    choose(cast.surf, changes=480, full=time(2))
    choose(cast.surf)

    with time_machine.travel(now() + timedelta(days=2)):
        assert start_due_syncs() == []


def test_a_run_stays_due_while_redis_is_away(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be closed, as one that no worker has picked up, before Redis is back."""
    choose(cast.surf, changes=480)
    make_due(cast.surf, next_changes_at=now() - MINUTE)
    with monkeypatch.context() as away:
        away.setitem(app.extensions, "redis", queue.web_connection("redis://127.0.0.1:1"))
        assert start_due_syncs() == []
    assert len(start_due_syncs()) == 1


def test_what_redis_did_not_hear_of_is_queued_by_the_next_look(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(cast.surf, changes=480)
    make_due(cast.surf, next_changes_at=now() - MINUTE)
    with monkeypatch.context() as away:
        away.setattr(schedule, "takes_writes", lambda: True)  # it goes away just then
        away.setitem(app.extensions, "redis", queue.web_connection("redis://127.0.0.1:1"))
        start_due_syncs()
    (log,) = rows()
    assert log.is_running
    assert not queue.is_queued(log.id, 1)

    with transaction():
        log.started_at -= timedelta(seconds=30)
    for _ in range(2):  # at the first it might have been taken just now
        recovery.recover_stale_syncs()

    (log,) = rows()
    assert queue.is_queued(log.id, log.attempt)


def test_a_few_wait_for_a_worker_and_the_others_for_them(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "MOST_WAITING", 1)
    for minutes, clinic in ((1, cast.surf), (2, cast.northside)):
        choose(clinic, changes=480)
        make_due(clinic, next_changes_at=now() - minutes * MINUTE)

    assert len(start_due_syncs()) == 1
    assert start_due_syncs() == []
    (first,) = rows()
    assert first.organization_id == cast.northside.id  # due for longer
    with transaction():
        first.worker = "one"

    assert len(start_due_syncs()) == 1


def many_due(count: int) -> list[int]:
    """So many more clinics, all due since a minute ago."""
    saved, at = now(), now() - MINUTE
    night = (saved - timedelta(hours=12)).time()
    with transaction() as session:
        clinics = [
            Organization(name=f"Clinic {n}", encrypted_api_key="x", time_zone="UTC")
            for n in range(count)
        ]
        session.add_all(clinics)
        session.flush()
        session.add_all(
            Schedule(organization_id=each.id, full_at=night, next_full_at=at, saved_at=saved)
            for each in clinics
        )
        return [each.id for each in clinics]


def started_by_clinic() -> dict[int, int]:
    db.session.rollback()
    query = select(SyncLog.organization_id, func.count()).group_by(SyncLog.organization_id)
    return dict(db.session.execute(query).all())


def test_ten_looks_at_the_same_instant_start_each_clinic_once(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "MOST_WAITING", 1000)
    clinics, together = many_due(10), Barrier(10, timeout=30)

    def look() -> list[int]:
        with app.app_context():
            together.wait()
            return start_due_syncs()

    with ThreadPoolExecutor(10) as pool:
        looks = [future.result() for future in [pool.submit(look) for _ in range(10)]]

    assert started_by_clinic() == dict.fromkeys(clinics, 1)
    assert sorted(id for look in looks for id in look) == [log.id for log in rows()]


LOOK_ONCE = """
import sys
from webapp import create_core
from webapp.sync import schedule
schedule.MOST_WAITING = 1000
app = create_core()
print("ready", flush=True)
sys.stdin.readline()
with app.app_context():
    print(len(schedule.start_due_syncs()), flush=True)
"""


def test_four_processes_start_a_hundred_clinics_once_each(
    cast: Cast, environment: dict[str, str]
) -> None:
    clinics = many_due(100)
    with ExitStack() as running:
        processes = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", LOOK_ONCE],
                    cwd=ROOT,
                    env=os.environ | environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(4)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        started = [int(process.communicate(timeout=120)[0]) for process in processes]

    assert sum(started) == 100
    assert started_by_clinic() == dict.fromkeys(clinics, 1)


def test_a_look_that_comes_late_finds_that_the_schedule_has_moved_on(cast: Cast) -> None:
    choose(cast.surf, changes=480)
    make_due(cast.surf, next_changes_at=now() - MINUTE)
    moment = now()
    (seen,) = schedule._due(moment)
    start_due_syncs()
    end(rows()[0])

    assert schedule._start(seen, moment) is None

    assert len(rows()) == 1
    assert of(cast.surf).skipped_at is None


def test_trouble_with_one_clinic_keeps_no_other_from_its_schedule(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubled = cast.surf.id
    for clinic in (cast.surf, cast.northside):
        schedules.save(
            clinic, changes_every=15, full_at=None, time_zone="Europe/London", actor=None
        )
    as_it_is = start.admit

    def admit(organization: Organization, *said: Any, **more: Any) -> SyncLog:
        if organization.id == troubled:
            raise AuditUnavailable()
        return as_it_is(organization, *said, **more)

    monkeypatch.setattr(schedule, "admit", admit)
    with time_machine.travel(now() + timedelta(hours=1)):
        (started,) = schedule.start_due_syncs()
    assert db.session.get_one(SyncLog, started).organization_id == cast.northside.id


AHEAD = timedelta(hours=11)


def while_the_clock_runs_ahead() -> None:
    """What is due by it is started and completes; then it is set back."""
    with time_machine.travel(now() + AHEAD):
        (log_id,) = start_due_syncs()
        end(db.session.get_one(SyncLog, log_id))


def test_changes_are_read_as_before_once_a_clock_that_ran_ahead_was_set_back(cast: Cast) -> None:
    choose(cast.surf, changes=60)
    while_the_clock_runs_ahead()

    assert start_due_syncs() == []
    at = of(cast.surf).next_changes_at

    assert at is not None
    assert now() < at <= now() + timedelta(hours=1)
    with time_machine.travel(at + timedelta(seconds=1)):
        assert len(start_due_syncs()) == 1


def test_no_night_is_lost_to_a_clock_that_ran_ahead(cast: Cast) -> None:
    night = (now() + timedelta(hours=6)).astimezone(ZoneInfo("Australia/Sydney")).time()
    tonight = choose(cast.surf, full=night.replace(second=0, microsecond=0)).next_full_at
    assert tonight is not None
    while_the_clock_runs_ahead()

    assert start_due_syncs() == []

    assert of(cast.surf).next_full_at == tonight
    with time_machine.travel(tonight + timedelta(seconds=1)):
        assert len(start_due_syncs()) == 1


def test_a_run_that_waits_stays_while_another_is_planned_anew(cast: Cast) -> None:
    choose(cast.surf, changes=60, full=time(2))
    start_sync(cast.surf, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)
    waits = now() - MINUTE
    make_due(cast.surf, next_full_at=waits, next_changes_at=now() + AHEAD)

    assert start_due_syncs() == []

    after = of(cast.surf)
    assert after.next_full_at == waits
    assert (after.next_changes_at or now()) <= now() + timedelta(hours=1)


def test_a_run_that_a_clock_a_little_ahead_has_planned_comes_once(cast: Cast) -> None:
    """Were it brought back, a run that has just been would come again."""
    saved_at = choose(cast.surf, changes=60).saved_at
    planned = now() + timedelta(hours=1, seconds=30)
    make_due(cast.surf, next_changes_at=planned)

    assert start_due_syncs() == []

    assert (of(cast.surf).next_changes_at, of(cast.surf).saved_at) == (planned, saved_at)


def test_a_clinic_that_nobody_syncs_is_overdue_though_a_clock_ran_ahead_once(cast: Cast) -> None:
    """The machine was switched off for a day, and woke with a wrong clock."""
    choose(cast.surf, changes=60)
    make_due(cast.surf, saved_at=now() - timedelta(days=1))
    while_the_clock_runs_ahead()
    start_due_syncs()

    assert not schedules.overdue(cast.surf, now())
    assert schedules.overdue(cast.surf, now() + timedelta(hours=2, minutes=16))
