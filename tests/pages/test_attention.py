"""GET /clinics/<id>: whatever makes the list say that a clinic needs attention"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import time_machine
from flask import Flask

from tests.api.rows import hold, make_log
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp import queue
from webapp.clock import now
from webapp.extensions import transaction
from webapp.models import OperationType, SyncLog, SyncStatus
from webapp.pages import attention
from webapp.services import schedules
from webapp.sync import recovery, suspension

OVERDUE = "This clinic has not been in step for longer than its schedule allows."
Look = Callable[[str], str]


@pytest.fixture
def look(app: Flask, cast: Cast) -> Look:
    """The words of a page, as somebody who signs in just now sees them: Vera, a viewer."""
    return lambda path: text_of(Visitor(app).signed_in(cast.vera).get(path))


@pytest.fixture
def fallen_behind(cast: Cast) -> Iterator[str]:
    """The page of a clinic whose syncs completed until some hours ago."""
    schedules.save(
        cast.surf, changes_every=60, full_at=None, time_zone="Europe/London", actor=cast.bob
    )
    make_log(cast.surf, started_at=now())
    with time_machine.travel(now() + timedelta(hours=3)):
        yield f"/clinics/{cast.surf.id}"


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}"


def fail_full_sync(cast: Cast) -> SyncLog:
    return make_log(
        cast.surf,
        SyncStatus.FAILED,
        error_code="CLINIKO_UNAVAILABLE",
        error_message="Cliniko did not answer.",
    )


def test_an_overdue_clinic_with_no_worker_says_whom_to_tell(look: Look, fallen_behind: str) -> None:
    assert queue.workers_connected() == 0
    assert "Need attention 1" in look("/clinics")
    words = look(fallen_behind)
    assert f"{OVERDUE} No worker is running, so no sync can begin. Tell whoever runs" in words


def test_the_schedule_says_it_in_the_same_words(app: Flask, fallen_behind: str, cast: Cast) -> None:
    words = text_of(Visitor(app).signed_in(cast.bob).get(f"{fallen_behind}/schedule"))
    assert f"{OVERDUE} No worker is running, so no sync can begin. Tell whoever runs" in words


def test_that_no_worker_runs_is_said_once_where_a_sync_waits_for_one(
    look: Look, fallen_behind: str, cast: Cast
) -> None:
    make_log(cast.surf, SyncStatus.RUNNING, started_at=now() - timedelta(minutes=1))
    words = look(fallen_behind)
    assert words.count("No worker is running") == 1
    assert "so this sync cannot begin" in words


def test_a_sync_that_is_being_cancelled_brings_nobody_in_step(
    app: Flask, look: Look, fallen_behind: str, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "workers_connected", lambda: 1)
    log = make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    for page in (look, lambda at: text_of(Visitor(app).signed_in(cast.bob).get(f"{at}/schedule"))):
        assert f"{OVERDUE} A sync is running: when it completes" in page(fallen_behind)
    with transaction() as session:
        session.get_one(SyncLog, log.id).cancel_requested_at = now()
    assert f"{OVERDUE} Its sync history says" in look(fallen_behind)


@pytest.mark.parametrize("workers", [1, None])  # None: Redis cannot be asked
def test_an_overdue_clinic_whose_workers_are_there_or_not_known_leads_to_its_syncs(
    look: Look, fallen_behind: str, workers: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "workers_connected", lambda: workers)
    words = look(fallen_behind)
    assert f"{OVERDUE} Its sync history says what stood in the way. Where no sync" in words
    assert "tell whoever runs Patient Sync" in words


def test_an_overdue_clinic_that_is_being_synced_says_so(
    look: Look, fallen_behind: str, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "workers_connected", lambda: 1)
    make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    assert f"{OVERDUE} A sync is running: when it completes" in look(fallen_behind)


def test_a_clinic_that_is_in_step_asks_for_nothing(look: Look, path: str, cast: Cast) -> None:
    make_log(cast.surf)
    words = look(path)
    assert OVERDUE not in words
    assert "The last full sync" not in words


def test_a_failed_full_sync_stands_there_until_one_completes(
    look: Look, path: str, cast: Cast
) -> None:
    failed = fail_full_sync(cast)
    told = f"The last full sync that ended by itself, #{failed.id} , failed: "
    told += "Cliniko did not answer. CLINIKO_UNAVAILABLE"
    assert "The last full sync" not in look(path)  # its card says it

    for _ in range(6):  # so that it is none of the recent ones
        make_log(cast.surf, operation_type=OperationType.CHANGED_PATIENTS)
    make_log(
        cast.surf,
        SyncStatus.FAILED,
        error_code="SYNC_CANCELLED",
        error_message=recovery.CANCELLED.message,
    )
    assert "Full sync failed" in look("/clinics")
    assert f"{told} Other syncs do not make up for it" in look(path)

    running = make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    assert f"{told} Another one is running." in look(path)

    make_log(cast.surf, id=running.id + 1)
    assert "The last full sync" not in look(path)


def test_it_leads_to_the_failed_sync(vera: Visitor, path: str, cast: Cast) -> None:
    failed = fail_full_sync(cast)
    make_log(cast.surf, operation_type=OperationType.CHANGED_PATIENTS)
    for _ in range(5):
        make_log(cast.surf, operation_type=OperationType.CHANGED_PATIENTS)
    assert Parsed(vera.get(path).text).having(href=f"{path}/syncs/{failed.id}")


def test_held_removals_are_told_while_a_sync_runs_too(look: Look, path: str, cast: Cast) -> None:
    hold(cast.surf, 30)
    make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    assert "Removals held" in look("/clinics")
    words = look(path)
    assert "30 patients seem to be gone from Cliniko" in words
    assert "An admin can decide when the sync that is running has ended" in words


def test_a_disabled_clinic_needs_nobodys_attention(alice: Visitor, path: str, cast: Cast) -> None:
    fail_full_sync(cast)
    make_log(cast.surf, operation_type=OperationType.CHANGED_PATIENTS)
    suspension.disable(cast.surf, actor=cast.alice)
    assert "The last full sync" not in text_of(alice.get(path))


def test_while_a_sync_runs_it_is_drawn_anew_with_what_stands_beside_the_card(
    vera: Visitor, path: str, cast: Cast
) -> None:
    make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    page = Parsed(vera.get(path).text)
    (beside,) = page.having(id="beside")
    assert "#attention:outerMorph" in str(beside["hx-select-oob"])
    (shown,) = page.having(id="attention")
    assert "hidden" in shown  # there though nothing is to be told, so that it can be put in place
