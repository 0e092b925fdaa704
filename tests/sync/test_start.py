"""Starting and cancelling: one sync a clinic, one accepted start in five minutes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
import time_machine
from flask import Flask

from tests.api.rows import make_log
from tests.cast import SURF_KEY, Cast
from tests.support.locks import until_somebody_waits
from tests.sync.logs import rows
from webapp import queue
from webapp.clock import now
from webapp.errors import (
    AppError,
    ClinikoNotConfigured,
    QueueUnavailable,
    RateLimited,
    SyncAlreadyRunning,
    SyncNotRunning,
)
from webapp.extensions import db, transaction
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin, SyncStatus, User
from webapp.services import organizations, tokens
from webapp.sync import ending, engine, lease, recovery, start, window
from webapp.sync.start import cancel_sync, start_once, start_sync
from webapp.sync.window import start_window

FULL = OperationType.FULL_PATIENTS


def press(
    cast: Cast,
    origin: SyncOrigin = SyncOrigin.DASHBOARD,
    operation_type: OperationType = FULL,
) -> SyncLog:
    return start_sync(cast.surf, operation_type, actor=cast.bob, origin=origin)


def end(log: SyncLog, status: SyncStatus) -> None:
    with transaction():
        if status == SyncStatus.FAILED:
            ending.fail(log, ending.Closing("CLINIKO_AUTH_FAILED", "The key was refused."))
        else:
            log.status, log.completed_at = status, now()


def test_the_row_is_there_and_running_before_anybody_is_told(cast: Cast) -> None:
    log = press(cast)

    assert rows() == [log]
    assert (log.status, log.origin, log.started_by_id) == ("running", "dashboard", cast.bob.id)
    assert log.progress["phase"] == "queued"
    assert queue.is_queued(log.id, 1)


def test_a_second_start_is_told_which_sync_is_running(cast: Cast) -> None:
    log = press(cast)

    with pytest.raises(SyncAlreadyRunning) as refusal:
        press(cast)

    assert refusal.value.details["sync_log_id"] == log.id
    assert refusal.value.details["progress_percent"] == 0.0
    assert refusal.value.retry_after
    assert len(rows()) == 1


def test_fifty_at_the_same_instant_start_one_sync(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fifteen at a time have a connection; the others wait for one, however slow the machine is.
    monkeypatch.setattr(db.engine.pool, "_timeout", 30)
    together = Barrier(50, timeout=30)
    surf_id = cast.surf.id

    def press_at_once() -> str:
        with app.app_context():
            surf = db.session.get_one(Organization, surf_id)
            db.session.rollback()  # fifty do not fit into the pool while each holds a connection
            together.wait()
            try:
                start_sync(surf, FULL, actor=None, origin=SyncOrigin.API)
            except AppError as error:
                return str(error.error_code)
            return "started"

    with ThreadPoolExecutor(50) as pool:
        outcomes = [f.result() for f in [pool.submit(press_at_once) for _ in range(50)]]

    assert outcomes.count("started") == 1
    assert outcomes.count("SYNC_ALREADY_RUNNING") == 49
    assert len(rows()) == 1


def test_twenty_at_once_with_one_key_are_told_of_one_sync(app: Flask, cast: Cast) -> None:
    together = Barrier(20, timeout=30)
    surf_id, bob_id = cast.surf.id, cast.bob.id

    def ask() -> tuple[int, bool]:
        with app.app_context():
            surf, bob = db.session.get_one(Organization, surf_id), db.session.get_one(User, bob_id)
            db.session.rollback()
            together.wait()
            log, is_new = start_once(
                surf, FULL, actor=bob, origin=SyncOrigin.API, idempotency_key="one"
            )
            return log.id, is_new

    with ThreadPoolExecutor(20) as pool:
        outcomes = [f.result() for f in [pool.submit(ask) for _ in range(20)]]

    (log,) = rows()
    assert {log_id for log_id, _ in outcomes} == {log.id}
    assert [is_new for _, is_new in outcomes].count(True) == 1


@pytest.mark.parametrize("database", ["postgresql"])  # SQLite has one lock for all
def test_whoever_starts_in_place_of_a_lost_sync_waits_for_their_own_new_token_only(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both lock the person's row and the audit trail: in another order each would wait for the
    other."""
    lost_at = now() - 2 * lease.ABANDONED_AFTER
    make_log(cast.surf, SyncStatus.RUNNING, worker="lost", lease_expires_at=lost_at)
    surf_id, bob_id = cast.surf.id, cast.bob.id
    told: list[Future[bool]] = []
    record = tokens._record

    def begin() -> bool:
        with app.app_context():
            surf, bob = db.session.get_one(Organization, surf_id), db.session.get_one(User, bob_id)
            return start_sync(surf, FULL, actor=bob, origin=SyncOrigin.API).is_running

    def record_slowly(*args: Any) -> None:
        told.append(pool.submit(begin))
        until_somebody_waits()
        record(*args)

    monkeypatch.setattr(tokens, "_record", record_slowly)
    with ThreadPoolExecutor(1) as pool:
        tokens.issue(cast.bob, actor=cast.bob)
        assert told[0].result(30)

    assert [log.status for log in rows()] == ["failed", "running"]


def test_two_clinics_sync_at_the_same_time(cast: Cast) -> None:
    press(cast)
    start_sync(cast.northside, FULL, actor=None, origin=SyncOrigin.API)

    assert [log.status for log in rows()] == ["running", "running"]


def test_a_completed_sync_uses_up_the_window_whoever_asks(cast: Cast) -> None:
    end(press(cast), SyncStatus.COMPLETED)

    with pytest.raises(RateLimited) as refusal:
        press(cast, SyncOrigin.API)

    assert 290 <= (refusal.value.retry_after or 0) <= 300
    assert str(refusal.value.details["retry_at"]).endswith("Z")
    assert start_window(cast.surf, FULL).remaining == 0


def test_the_window_ends_after_five_minutes(cast: Cast) -> None:
    end(press(cast), SyncStatus.COMPLETED)

    with time_machine.travel(now() + timedelta(minutes=5, seconds=1)):
        assert press(cast).is_running


def test_a_start_from_while_a_clock_ran_ahead_holds_nobody_up(cast: Cast) -> None:
    with time_machine.travel(now() + timedelta(hours=11)):
        end(press(cast), SyncStatus.COMPLETED)

    assert start_window(cast.surf, FULL).remaining == 1
    end(press(cast), SyncStatus.COMPLETED)
    assert start_window(cast.surf, FULL).remaining == 0


def test_a_key_that_was_saved_while_a_clock_ran_ahead_gives_back_no_window(cast: Cast) -> None:
    with time_machine.travel(now() + timedelta(hours=11)):
        organizations.replace_key(cast.surf, SURF_KEY)
    end(press(cast), SyncStatus.COMPLETED)

    assert start_window(cast.surf, FULL).remaining == 0


def test_a_failed_sync_gives_its_window_back(cast: Cast) -> None:
    end(press(cast), SyncStatus.FAILED)

    assert start_window(cast.surf, FULL).remaining == 1
    assert press(cast).is_running


def test_new_credentials_give_the_window_back(cast: Cast) -> None:
    end(press(cast), SyncStatus.COMPLETED)
    organizations.replace_key(cast.surf, SURF_KEY)

    assert press(cast).is_running


def test_a_sync_by_command_does_not_count(cast: Cast) -> None:
    end(press(cast, SyncOrigin.COMMAND), SyncStatus.COMPLETED)

    assert press(cast).is_running


def test_a_clinic_without_a_key_starts_nothing(cast: Cast) -> None:
    keyless = organizations.add("Keyless")

    with pytest.raises(ClinikoNotConfigured):
        start_sync(keyless, FULL, actor=None, origin=SyncOrigin.API)

    assert rows() == []


def test_without_redis_nothing_stays_running_and_nothing_is_used_up(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = queue.web_connection("redis://127.0.0.1:1")
    monkeypatch.setitem(app.extensions, "redis", nowhere)

    with pytest.raises(QueueUnavailable) as refusal:
        press(cast)

    (log,) = rows()
    assert refusal.value.retry_after == 30
    assert (log.status, log.error_code) == ("failed", "QUEUE_UNAVAILABLE")
    assert start_window(cast.surf, FULL).remaining == 1


def word_lost(monkeypatch: pytest.MonkeyPatch, after: Callable[[int, int], object]) -> None:
    """Redis takes the job and does not get to say so; `after` is what comes of the job by then."""
    enqueue = queue.enqueue_sync

    def enqueue_sync(sync_log_id: int, attempt: int) -> None:
        enqueue(sync_log_id, attempt)
        after(sync_log_id, attempt)
        raise QueueUnavailable()

    monkeypatch.setattr(start, "enqueue_sync", enqueue_sync)


def begun(sync_log_id: int, attempt: int) -> None:
    lease.claim(sync_log_id, attempt, "somebody")


def begun_and_handed_over(sync_log_id: int, attempt: int) -> None:
    begun(sync_log_id, attempt)
    recovery.hand_over(sync_log_id, attempt, interrupted=False)


def begun_and_ended(sync_log_id: int, attempt: int) -> None:
    begun(sync_log_id, attempt)
    with transaction() as session:
        ending.complete(session.get_one(SyncLog, sync_log_id))


@pytest.mark.parametrize(
    ("after", "status"),
    [(begun, "running"), (begun_and_handed_over, "running"), (begun_and_ended, "completed")],
)
def test_a_sync_that_a_worker_has_begun_was_started_though_redis_did_not_get_to_say_so(
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    after: Callable[[int, int], object],
    status: str,
) -> None:
    word_lost(monkeypatch, after)

    told, is_new = start_once(
        cast.surf, FULL, actor=cast.bob, origin=SyncOrigin.API, idempotency_key="one"
    )

    (log,) = rows()
    assert (told, is_new) == (log, True)
    assert (log.status, log.error_code) == (status, None)
    assert log.idempotency_key is not None


def test_a_job_that_comes_to_a_worker_after_its_start_was_refused_does_nothing(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    word_lost(monkeypatch, lambda *_: None)
    with pytest.raises(QueueUnavailable):
        press(cast)
    (log,) = rows()
    assert queue.is_queued(log.id, 1)

    engine.run(log.id, 1, worker="somebody")

    (log,) = rows()
    assert (log.status, log.error_code) == ("failed", "QUEUE_UNAVAILABLE")
    assert log.worker is None


@pytest.mark.parametrize("database", ["postgresql"])  # SQLite lets one write from its beginning on
def test_a_worker_that_comes_while_the_refused_sync_is_closed_waits_and_does_not_get_it(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = ending.fail
    word_lost(monkeypatch, lambda *_: None)

    def come(sync_log_id: int) -> None:
        with app.app_context():
            lease.claim(sync_log_id, 1, "somebody")

    with ThreadPoolExecutor(1) as pool:
        worker: list[Future[None]] = []

        def fail_slowly(log: SyncLog, *said: Any, **more: Any) -> None:
            worker.append(pool.submit(come, log.id))
            until_somebody_waits(worker[0].done)
            fail(log, *said, **more)

        monkeypatch.setattr(ending, "fail", fail_slowly)
        with pytest.raises(QueueUnavailable):
            press(cast)
        with pytest.raises(lease.LeaseLost):
            worker[0].result(timeout=30)

    (log,) = rows()
    assert (log.status, log.worker) == ("failed", None)


def test_a_waiting_sync_is_cancelled_at_once(cast: Cast) -> None:
    log = press(cast)

    cancel_sync(cast.surf)

    assert (log.status, log.error_code) == ("failed", "SYNC_CANCELLED")


def test_a_cancelled_sync_costs_no_worker_a_look(cast: Cast) -> None:
    log = press(cast)

    cancel_sync(cast.surf)

    assert not queue.is_queued(log.id, 1)


def test_starting_and_cancelling_in_turns_has_an_end(cast: Cast) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        for _ in range(window.MOST_STARTS):
            press(cast)
            cancel_sync(cast.surf)
        with pytest.raises(RateLimited):
            press(cast)

        clock.shift(window.START_WINDOW)
        assert press(cast).is_running


def test_so_has_starting_retries_and_cancelling(cast: Cast) -> None:
    with time_machine.travel(now(), tick=False):
        for _ in range(window.MOST_STARTS):
            press(cast, operation_type=OperationType.RETRY_FAILED)
            cancel_sync(cast.surf)
        with pytest.raises(RateLimited) as refusal:
            press(cast, operation_type=OperationType.RETRY_FAILED)
    assert f"{window.MOST_STARTS} times" in str(refusal.value)


def test_starts_that_no_worker_was_told_of_are_none(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setitem(app.extensions, "redis", queue.web_connection("redis://127.0.0.1:1"))
        for _ in range(window.MOST_STARTS):
            with pytest.raises(QueueUnavailable):
                press(cast)

    assert press(cast).is_running


def test_there_is_nothing_to_cancel(cast: Cast) -> None:
    with pytest.raises(SyncNotRunning):
        cancel_sync(cast.surf)


def test_another_sync_than_the_one_that_is_meant_is_not_cancelled(cast: Cast) -> None:
    log = press(cast)
    with pytest.raises(SyncNotRunning):
        cancel_sync(cast.surf, sync_log_id=log.id + 1)
    assert log.is_running

    assert cancel_sync(cast.surf, sync_log_id=log.id) == log
    assert not log.is_running


def test_a_sync_whose_worker_is_long_gone_does_not_block_the_button(cast: Cast) -> None:
    lost = press(cast)
    with transaction():
        lost.worker, lost.lease_expires_at = "gone", now() - timedelta(minutes=2)

    assert press(cast).is_running
    assert (lost.status, lost.error_code) == ("failed", "SYNC_INTERRUPTED")


@pytest.mark.parametrize("database", ["postgresql"])  # SQLite has no clock but this machine's
def test_a_clock_that_runs_ahead_closes_no_sync_that_lives(cast: Cast) -> None:
    living = press(cast)
    lease.claim(living.id, 1, "somebody")
    with time_machine.travel(now() + timedelta(minutes=10)), pytest.raises(SyncAlreadyRunning):
        press(cast, SyncOrigin.COMMAND)
    db.session.rollback()
    assert living.status == "running"
