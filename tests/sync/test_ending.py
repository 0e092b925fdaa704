"""However a sync ends, others hear of it: once, and only if it is so."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from simulator.account import ClinikoAccount
from simulator.server import Simulator
from tests.cast import Cast
from webapp.extensions import db, transaction
from webapp.models import (
    SUBSCRIBABLE,
    ChangeKind,
    OperationType,
    SyncLog,
    SyncOrigin,
    SyncStatus,
    WebhookDelivery,
)
from webapp.queue import web_connection
from webapp.services import changes
from webapp.services.webhooks import endpoints, outbox
from webapp.sync import history, lease, recovery
from webapp.sync.start import cancel_sync, start_sync

Sync = Callable[..., SyncLog]


@pytest.fixture(autouse=True)
def _webhook(cast: Cast) -> None:
    endpoints.add(cast.surf, "https://hooks.example.com/", SUBSCRIBABLE, actor=None)


def told() -> list[dict[str, Any]]:
    db.session.rollback()
    bodies = db.session.scalars(select(WebhookDelivery.body).order_by(WebhookDelivery.id))
    return [json.loads(body) for body in bodies]


def test_a_completed_sync_is_told_once(sync: Sync, cast: Cast) -> None:
    log = sync()
    message, _ = told()
    assert message == {
        "event": "sync.completed",
        "organization_id": cast.surf.id,
        "data": {
            "patients_synced": 648,
            "duration": message["data"]["duration"],
            "success_rate": 100.0,
            "sync_log_id": log.id,
            "operation_type": "full_patients",
            "started_at": message["data"]["started_at"],
            "completed_at": message["data"]["completed_at"],
            "records_failed": 0,
        },
    }


def test_changes_are_told_with_a_cursor_that_leads_to_them(sync: Sync, cast: Cast) -> None:
    sync()
    _, message = told()
    assert message["event"] == "patients.changed"
    assert list(message["data"])[:3] == ["patients_synced", "duration", "success_rate"]
    assert message["data"]["cursor"] == 0
    counts = message["data"]["changes"]
    assert set(counts) == set(ChangeKind)
    following = changes.feed(cast.surf, cursor=message["data"]["cursor"], limit=1000)
    assert len(following.rows) == sum(counts.values()) == 648


def test_a_sync_that_changes_nobody_tells_of_no_changes(sync: Sync) -> None:
    sync()
    sync()
    events = [message["event"] for message in told()]
    assert events == ["sync.completed", "patients.changed", "sync.completed"]


def test_a_second_sync_leads_to_its_own_changes(sync: Sync, surf_account: ClinikoAccount) -> None:
    sync()
    (patient_id, *_) = surf_account.ids()
    surf_account.edit(patient_id, first_name="Anew")
    sync()
    message = told()[-1]
    assert message["data"]["cursor"] == 648
    assert sum(message["data"]["changes"].values()) == 1


def test_a_failed_sync_is_told_with_its_reason(sync: Sync, cliniko: Simulator) -> None:
    cliniko.faults.add("status", status=401, on="*", times=None)
    log = sync()
    (message,) = told()
    assert message["event"] == "sync.failed"
    assert message["data"]["error_code"] == log.error_code == "CLINIKO_AUTH_FAILED"
    assert message["data"]["message"] == log.error_message
    assert message["data"]["success_rate"] == 0.0


def test_one_that_is_cancelled_before_it_begins_is_told(begin: Sync, cast: Cast) -> None:
    begin()
    cancel_sync(cast.surf)
    (message,) = told()
    assert message["data"]["error_code"] == "SYNC_CANCELLED"


def test_one_that_could_not_be_queued_is_told(
    cast: Cast, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.extensions, "redis", web_connection("unix:///nowhere/redis.sock"))
    with pytest.raises(Exception, match="queue cannot be reached"):
        start_sync(cast.surf, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)
    (message,) = told()
    assert message["data"]["error_code"] == "QUEUE_UNAVAILABLE"


def abandon(log: SyncLog) -> None:
    """Its worker is gone, and for so long that nobody may take it over."""
    gone = lease.database_now() - lease.ABANDONED_AFTER - timedelta(seconds=1)
    with transaction() as session:
        session.execute(update(SyncLog).values(worker="dead", lease_expires_at=gone))


def test_one_whose_worker_is_lost_is_told_once_by_whoever_finds_it(begin: Sync, cast: Cast) -> None:
    abandon(begin())
    recovery.recover_stale_syncs()
    history.settle_abandoned(cast.surf)
    (message,) = told()
    assert message["data"]["error_code"] == "SYNC_INTERRUPTED"


def test_a_start_that_finds_a_dead_one_tells_of_it(begin: Sync) -> None:
    dead = begin()
    abandon(dead)
    begin()
    (message,) = told()
    assert message["data"]["sync_log_id"] == dead.id


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database cannot be written to when a lost sync is to be closed."""

    def settle(_: int) -> None:
        raise OperationalError("UPDATE", {}, Exception("attempt to write a readonly database"))

    monkeypatch.setattr(recovery, "settle", settle)


@pytest.mark.usefixtures("read_only")
def test_what_is_only_shown_as_failed_is_told_to_nobody(begin: Sync, cast: Cast) -> None:
    abandon(begin())
    shown = history.latest(cast.surf)
    assert shown is not None
    assert shown.status == SyncStatus.FAILED
    assert told() == []


@pytest.mark.usefixtures("read_only")
def test_what_is_only_shown_as_failed_is_so_in_the_list_too(begin: Sync, cast: Cast) -> None:
    lost = begin()
    lost_id = lost.id
    abandon(lost)
    with transaction() as session:
        session.execute(update(SyncLog).values(started_by_id=cast.bob.id))
    for asked in (None, SyncStatus.FAILED):
        page = history.find(cast.surf, limit=1, status=asked)
        (shown,) = page.logs
        assert (page.total, shown.id, shown.status) == (1, lost_id, SyncStatus.FAILED)
        assert shown.started_by is not None
        assert shown.started_by.id == cast.bob.id
    assert history.find(cast.surf, limit=1, status=SyncStatus.RUNNING).total == 0


def test_nothing_is_told_of_an_end_that_was_rolled_back(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end fails after its message was written: the message goes with it, and the sync ends
    otherwise."""
    put = outbox.put

    def put_and_fail(organization_id: int, event: Any, data: Any) -> None:
        put(organization_id, event, data)
        if event == "sync.completed":
            raise RuntimeError

    monkeypatch.setattr(outbox, "put", put_and_fail)
    assert sync().error_code == "INTERNAL_ERROR"
    assert [message["event"] for message in told()] == ["sync.failed", "patients.changed"]


def test_a_sync_that_fails_leads_to_what_it_has_changed(
    sync: Sync, cast: Cast, cliniko: Simulator
) -> None:
    cliniko.faults.add("status", query="updated_at", status=400, times=None)
    log = sync()
    assert log.status == "failed"
    failed, changed = told()
    assert failed["event"] == "sync.failed"
    assert changed["event"] == "patients.changed"
    following = changes.feed(cast.surf, cursor=changed["data"]["cursor"], limit=1000)
    assert len(following.rows) == sum(changed["data"]["changes"].values()) == 602
    # which are the active ones: all others would have come behind
