"""Syncs without a worker: handed over, queued again, or closed in true words."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from redis import Redis
from sqlalchemy import select

from tests.cast import Cast
from tests.support.processes import wait_until
from webapp import queue
from webapp.clock import now
from webapp.errors import AuditUnavailable
from webapp.extensions import db, transaction
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin
from webapp.sync import ending, history, lease, recovery
from webapp.sync.start import cancel_sync, start_sync
from webapp.sync.tolerance import Tolerance

Begin = Callable[..., SyncLog]


def worked_on(log: SyncLog, *, lease_ends: timedelta, interruptions: int = 0) -> None:
    with transaction():
        log.worker, log.interruptions = "somebody", interruptions
        log.lease_expires_at = now() + lease_ends


def waits_since(log: SyncLog, ago: timedelta) -> SyncLog:
    with transaction():
        log.started_at = now() - ago
    return log


@pytest.fixture
def sync_log_of_northside(cast: Cast) -> SyncLog:
    return start_sync(
        cast.northside, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND
    )


def test_a_living_sync_is_left_alone(begin: Begin) -> None:
    log = begin()
    worked_on(log, lease_ends=timedelta(seconds=5))

    assert recovery.recover_stale_syncs() == []
    assert (log.attempt, log.worker) == (1, "somebody")


def test_a_sync_whose_lease_ran_out_is_handed_over(begin: Begin) -> None:
    log = begin()
    worked_on(log, lease_ends=-timedelta(seconds=1))

    assert recovery.recover_stale_syncs() == [log.id]
    db.session.expire_all()
    assert (log.status, log.attempt, log.interruptions, log.worker) == ("running", 2, 1, None)
    assert queue.is_queued(log.id, 2)


def test_one_that_was_cancelled_is_not_handed_over_but_closed(begin: Begin, cast: Cast) -> None:
    log = begin()
    worked_on(log, lease_ends=timedelta(seconds=5))
    cancel_sync(cast.surf, actor=cast.alice)
    assert recovery.settle(log.id) is None  # its worker is to end it
    worked_on(log, lease_ends=-timedelta(seconds=1))

    assert recovery.recover_stale_syncs() == []
    db.session.expire_all()
    assert (log.status, log.error_code) == ("failed", "SYNC_CANCELLED")


def test_one_that_was_cancelled_is_closed_when_its_worker_is_told_to_end(
    begin: Begin, cast: Cast
) -> None:
    log = begin()
    worked_on(log, lease_ends=timedelta(seconds=5))
    cancel_sync(cast.surf, actor=cast.alice)
    assert recovery.hand_over(log.id, 1, interrupted=False)

    assert recovery.settle(log.id) == recovery.CANCELLED
    db.session.expire_all()
    assert (log.status, log.error_code) == ("failed", "SYNC_CANCELLED")


def test_two_that_look_at_once_hand_it_over_once(begin: Begin) -> None:
    log = begin()
    worked_on(log, lease_ends=-timedelta(seconds=1))

    assert recovery.hand_over(log.id, 1, interrupted=True)
    assert not recovery.hand_over(log.id, 1, interrupted=True)


def test_after_three_losses_a_sync_is_closed(begin: Begin) -> None:
    log = begin()
    worked_on(log, lease_ends=-timedelta(seconds=1), interruptions=2)

    assert recovery.recover_stale_syncs() == []
    db.session.expire_all()
    assert (log.status, log.error_code) == ("failed", "SYNC_INTERRUPTED")
    assert "3 times" in (log.error_message or "")


def look_twice() -> None:
    """As a worker does within a few seconds."""
    for _ in range(2):
        recovery.recover_stale_syncs()


def test_a_sync_that_redis_lost_is_queued_again(begin: Begin, redis_url: str) -> None:
    log = waits_since(begin(), timedelta(seconds=30))
    Redis.from_url(redis_url).flushdb()

    look_twice()

    db.session.expire_all()
    assert log.status == "running"
    assert queue.is_queued(log.id, log.attempt)


def test_a_sync_that_a_worker_has_just_taken_from_the_queue_is_left_to_it(begin: Begin) -> None:
    log = waits_since(begin(), timedelta(seconds=30))
    queue.redis_connection().flushdb()  # as if it were taken, and not begun yet

    recovery.recover_stale_syncs()
    db.session.expire_all()
    assert (log.attempt, log.worker) == (1, None)

    assert lease.claim(log.id, 1, "the worker that took it") is not None
    recovery.recover_stale_syncs()
    db.session.expire_all()
    assert (log.attempt, log.worker) == (1, "the worker that took it")


def test_a_redis_that_takes_nothing_uses_up_no_attempts(begin: Begin) -> None:
    log = waits_since(begin(), timedelta(seconds=30))
    redis = queue.redis_connection()
    redis.flushdb()

    redis.config_set("maxmemory", 1)
    try:
        for _ in range(3):
            recovery.recover_stale_syncs()
    finally:
        redis.config_set("maxmemory", 0)
    db.session.expire_all()
    assert (log.status, log.attempt) == ("running", 1)
    look_twice()

    db.session.expire_all()
    assert log.attempt == 2
    assert queue.is_queued(log.id, 2)


def test_a_sync_that_waits_behind_others_stays_in_the_queue(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "workers_connected", lambda: 1)
    log = waits_since(begin(), timedelta(minutes=20))

    recovery.recover_stale_syncs()

    db.session.expire_all()
    assert (log.status, log.attempt) == ("running", 1)


def test_without_any_worker_a_waiting_sync_is_closed_after_five_minutes(
    begin: Begin, cast: Cast
) -> None:
    waits_since(begin(), timedelta(minutes=5, seconds=1))

    shown = history.latest(cast.surf)

    assert shown is not None
    assert (shown.status, shown.error_code) == ("failed", "QUEUE_UNAVAILABLE")


def test_between_two_releases_there_may_be_no_worker_for_a_moment(
    begin: Begin, cast: Cast, redis_url: str
) -> None:
    """What a sync has waited until then it has waited behind others."""
    queue.note_worker(Redis.from_url(redis_url))
    waits_since(begin(), timedelta(minutes=5, seconds=1))

    assert queue.workers_connected() == 0
    shown = history.latest(cast.surf)

    assert shown is not None
    assert shown.status == "running"


def test_a_sync_that_nobody_goes_on_with_is_closed(begin: Begin) -> None:
    log = begin()
    for attempt in range(1, recovery.MAX_HAND_OVERS + 1):
        assert recovery.hand_over(log.id, attempt, interrupted=False, unclaimed=True)

    db.session.expire_all()
    waits_since(log, timedelta(seconds=1))
    recovery.settle(log.id)

    db.session.expire_all()
    assert (log.status, log.error_code) == ("failed", "SYNC_INTERRUPTED")
    assert "20 times" in (log.error_message or "")


def test_a_sync_that_was_handed_over_goes_on_before_those_that_wait(
    begin: Begin, sync_log_of_northside: SyncLog
) -> None:
    log = begin()
    with transaction():
        log.checkpoint = {"read_from": "2026-03-02T09:00:00Z"}

    assert recovery.hand_over(log.id, 1, interrupted=False)

    waiting = queue._queue().get_job_ids()
    assert waiting.index(f"sync-{log.id}-2") < waiting.index(f"sync-{sync_log_of_northside.id}-1")


def test_what_redis_lost_comes_in_its_old_order(
    begin: Begin, sync_log_of_northside: SyncLog, redis_url: str
) -> None:
    logs = [waits_since(log, timedelta(seconds=30)) for log in (sync_log_of_northside, begin())]
    Redis.from_url(redis_url).flushdb()

    look_twice()

    waiting = queue._queue().get_job_ids()
    assert waiting == [f"sync-{log.id}-2" for log in logs]


def test_whoever_reads_of_an_abandoned_sync_closes_it(begin: Begin, cast: Cast) -> None:
    log = begin()
    worked_on(log, lease_ends=-lease.ABANDONED_AFTER - timedelta(seconds=1))

    shown = history.latest(cast.surf)

    assert shown is not None
    assert (shown.status, shown.error_code) == ("failed", "SYNC_INTERRUPTED")
    assert shown.completed_at is not None


def test_a_closed_sync_stays_closed(begin: Begin) -> None:
    log = begin()
    worked_on(log, lease_ends=timedelta(seconds=5))
    with transaction():
        ending.fail(log, recovery.CANCELLED)

    assert not recovery.hand_over(log.id, 1, interrupted=False)
    with pytest.raises(lease.LeaseLost), transaction():
        lease.check(log.id, 1, 0)
    with pytest.raises(lease.LeaseLost), transaction():
        lease.write(log.id, 1, records_success=5)
    assert (log.status, log.records_success) == ("failed", 0)


def test_the_same_attempt_is_not_taken_twice(begin: Begin) -> None:
    log = begin()
    lease.claim(log.id, 1, "first")

    with pytest.raises(lease.LeaseLost):
        lease.claim(log.id, 1, "second")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_worker_locks_the_clinic_before_its_sync(app: Flask, begin: Begin) -> None:
    log = begin()
    worked_on(log, lease_ends=timedelta(seconds=5))
    log_id, clinic = log.id, select(Organization.id).where(Organization.id == log.organization_id)
    db.session.rollback()

    def checked() -> lease.Standing:
        with app.app_context(), transaction():
            return lease.check(log_id, 1, 0)

    def clinic_is_locked() -> bool:
        with db.engine.connect() as third:
            return third.scalar(clinic.with_for_update(skip_locked=True)) is None

    with db.engine.connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute(select(SyncLog.id).where(SyncLog.id == log_id).with_for_update())
        check = pool.submit(checked)
        wait_until(clinic_is_locked)
        assert not check.done()
        other.rollback()
        assert check.result().success == 0


def test_trouble_with_one_clinic_keeps_nobody_else_waiting(
    begin: Begin, sync_log_of_northside: SyncLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = begin(), sync_log_of_northside
    for log in (first, second):
        worked_on(log, lease_ends=-timedelta(seconds=1))
    settle, troubled = recovery.settle, first.id

    def settle_some(sync_log_id: int) -> ending.Closing | None:
        if sync_log_id == troubled:
            raise AuditUnavailable()
        return settle(sync_log_id)

    monkeypatch.setattr(recovery, "settle", settle_some)

    assert recovery.recover_stale_syncs() == [second.id]


def test_a_sync_that_a_worker_has_just_begun_is_not_taken_from_it(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = waits_since(begin(), timedelta(seconds=30))
    log_id = log.id

    def claimed_meanwhile(*_said: int) -> bool:
        lease.claim(log_id, 1, "somebody")
        return False

    recovery.recover_stale_syncs()
    monkeypatch.setattr(recovery, "is_queued", claimed_meanwhile)
    queue.redis_connection().flushdb()
    look_twice()

    db.session.expire_all()
    assert (log.attempt, log.worker) == (1, "somebody")


def test_a_redis_that_takes_nothing_is_not_taken_for_one_without_workers(begin: Begin) -> None:
    """Nobody can have beaten, so nobody can be told to be there."""
    log = begin()
    with transaction():
        log.started_at = now() - queue.WORKER_ABSENCE - timedelta(seconds=30)
    queue.redis_connection().config_set("maxmemory", 1)
    try:
        recovery.recover_stale_syncs()
        assert queue.workers_connected() is None
    finally:
        queue.redis_connection().config_set("maxmemory", 0)
    recovery.recover_stale_syncs()
    db.session.expire_all()
    assert log.is_running


def test_a_redis_that_cannot_be_asked_is_not_taken_for_one_without_workers(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "workers_connected", lambda: None)
    log = waits_since(begin(), timedelta(minutes=6))

    assert recovery.settle(log.id) is None
    db.session.expire_all()
    assert log.status == "running"


def test_a_redis_that_was_away_is_not_believed_before_living_workers_had_time_to_beat(
    app: Flask, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = waits_since(begin(), timedelta(minutes=6))
    with monkeypatch.context() as outage:
        outage.setitem(app.extensions, "redis", queue.web_connection("redis://127.0.0.1:1"))
        assert recovery.settle(log.id) is None

    assert recovery.settle(log.id) is None

    with time_machine.travel(now() + queue.WORKER_SILENCE + timedelta(seconds=1)):
        assert recovery.settle(log.id) is recovery.NEVER_PICKED_UP


def test_three_troubles_in_a_row_are_trouble_of_the_whole_system(app: Flask) -> None:
    tolerance = Tolerance()
    for number in (1, 2):
        with tolerance.of(sync_log_id=number):
            raise AuditUnavailable()
    with tolerance.of(sync_log_id=3):
        pass  # one that goes well begins the count again
    for number in (4, 5):
        with tolerance.of(sync_log_id=number):
            raise AuditUnavailable()
    with pytest.raises(AuditUnavailable), tolerance.of(sync_log_id=6):
        raise AuditUnavailable()


def test_a_redis_that_stays_away_ends_the_waiting_in_true_words(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "workers_connected", lambda: None)
    log = waits_since(begin(), timedelta(minutes=16))

    assert recovery.settle(log.id) is recovery.OUT_OF_REACH
    db.session.expire_all()
    assert (log.status, log.error_code) == ("failed", "QUEUE_UNAVAILABLE")


@pytest.mark.parametrize("closing", [recovery.LOST, recovery.POISON])
def test_a_sync_that_nobody_ended_does_not_blame_its_worker_alone(
    closing: ending.Closing,
) -> None:
    assert "could not write to the database" in closing.message  # from outside both look the same
    assert "What was stored is kept" in closing.message
