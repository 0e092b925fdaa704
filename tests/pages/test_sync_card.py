"""GET /clinics/<id>/syncs/<id>/progress: one fragment for every state of a sync"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.api.rows import make_log
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.clock import iso, now
from webapp.models import SyncStatus
from webapp.sync import recovery, suspension

HALFWAY: dict[str, Any] = {
    "patients_found": 648,
    "progress_percent": 69.4,
    "estimated_remaining": "45 seconds",
    "current_page": 5,
    "total_pages": 11,
    "phase": "fetching",
}
Card = Callable[..., TestResponse]


@pytest.fixture
def card(cast: Cast, vera: Visitor) -> Card:
    """The card of a sync of Surf Rehab in this state, as a viewer sees it."""

    def card(status: SyncStatus = SyncStatus.RUNNING, **values: Any) -> TestResponse:
        row: dict[str, Any] = {
            "started_at": now() - timedelta(seconds=102),
            "worker": "w",
            "records_success": 448,
            "records_failed": 2,
        }
        row |= values
        row["progress"] = HALFWAY | values.get("progress", {})
        log = make_log(cast.surf, status, **row)
        return vera.get_fragment(f"/clinics/{cast.surf.id}/syncs/{log.id}/progress")

    return card


def test_a_running_sync_shows_how_far_it_is(card: Card) -> None:
    words = text_of(card())
    assert "Full sync Running" in words
    assert "69.4% about 45 seconds left" in words
    assert "Processed 450 of 648 Stored 448 Failed 2 see why Page 5 of 11 Elapsed 1m 42s" in words


def test_large_figures_are_parted(card: Card) -> None:
    pages = {"current_page": 1005, "total_pages": 1011}
    assert "Page 1,005 of 1,011" in text_of(card(progress=pages))


def test_the_bar_can_be_read_by_machines_and_drawn_without_styles(card: Card) -> None:
    page = Parsed(card().text)
    (bar,) = page.having(role="progressbar")
    success, failed = page.having(id="bar-success")[0], page.having(id="bar-failed")[0]

    assert (bar["aria-valuenow"], bar["aria-valuemin"], bar["aria-valuemax"]) == (
        "69.4",
        "0",
        "100",
    )
    assert success["width"] == failed["x"] == "68.90%"
    assert failed["width"] == "0.50%"
    assert not any("style" in attributes for _, attributes in page.tags)


def test_it_polls_only_while_the_sync_runs(card: Card) -> None:
    running = card()
    (polling,) = Parsed(running.text).having(id="sync-card")
    assert polling["hx-trigger"] == "every 2s"
    assert "HX-Trigger" not in running.headers


@pytest.mark.parametrize("status", [SyncStatus.COMPLETED, SyncStatus.FAILED])
def test_the_end_stops_the_polling_and_tells_the_page(card: Card, status: SyncStatus) -> None:
    ended = card(status, error_code="CLINIKO_FORBIDDEN", error_message="Ask.")
    assert "hx-get" not in ended.text
    assert ended.headers["HX-Trigger"] == "sync-finished"


def test_a_queued_sync_waits_for_a_worker(card: Card) -> None:
    words = text_of(card(started_at=now(), worker=None, progress={"phase": "queued"}))
    assert "Queued" in words
    assert "Waiting for a worker" in words
    assert "No worker is running" not in words


def test_after_half_a_minute_it_says_that_no_worker_is_there(card: Card) -> None:
    started_at = now() - timedelta(seconds=31)
    words = text_of(card(started_at=started_at, worker=None, progress={"phase": "queued"}))
    assert "No worker is running" in words
    assert "as soon as .venv/bin/python worker.py runs" in words


@pytest.mark.parametrize(("seconds", "in_vain"), [(5, False), (31, True)])
def test_a_sync_that_was_handed_over_waits_since_then(
    card: Card, seconds: int, in_vain: bool
) -> None:
    began, since = now() - timedelta(minutes=10), now() - timedelta(seconds=seconds)
    words = text_of(card(started_at=began, worker=None, lease_expires_at=since))
    assert ("No worker is running" in words) is in_vain


@pytest.mark.parametrize(
    ("values", "words", "end"),
    [
        ({"records_success": 0, "records_failed": 0}, "cannot begin", "it begins by itself"),
        # handed over before any worker had begun it
        ({"records_success": 0, "records_failed": 0, "attempt": 2}, "cannot begin", "it begins"),
        (
            {
                "records_success": 0,
                "records_failed": 0,
                "attempt": 2,
                "progress": {"phases_entered_after": {"connecting": 0.2}},
            },
            "cannot go on",
            "it goes on by itself",
        ),
        ({"attempt": 2}, "cannot go on", "it goes on by itself"),
    ],
)
def test_without_a_worker_a_sync_that_had_begun_goes_on_later_and_another_begins(
    card: Card, values: dict[str, Any], words: str, end: str
) -> None:
    since = now() - timedelta(seconds=31)
    told = text_of(card(started_at=since, worker=None, lease_expires_at=since, **values))
    assert f"No worker is running, so this sync {words}." in told
    assert end in told


def test_in_production_it_names_no_command_of_developers(app: Flask, card: Card) -> None:
    app.config["ENV"] = "production"
    started_at = now() - timedelta(seconds=31)
    words = text_of(card(started_at=started_at, worker=None, progress={"phase": "queued"}))
    assert "as soon as a worker runs" in words


def test_behind_busy_workers_it_only_waits(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.pages.card.workers_connected", lambda: 2)
    started_at = now() - timedelta(seconds=31)
    words = text_of(card(started_at=started_at, worker=None, progress={"phase": "queued"}))
    assert "Waiting for a worker" in words
    assert "No worker is running" not in words


def test_it_says_when_it_connects(card: Card) -> None:
    assert "Connecting to Cliniko" in text_of(card(progress={"phase": "connecting"}))


def test_it_says_when_it_looks_for_changes(card: Card) -> None:
    words = text_of(card(progress={"phase": "reconciling"}))
    assert "Checking that nobody is missing" in words


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("budget", "Cliniko allows 200 requests a minute; going on at"),
        ("retry", "Cliniko does not answer; trying again at"),
        ("rate_limited", "Cliniko asked us to slow down; going on at"),
        (None, "Cliniko asked us to slow down; going on at"),  # from before this was kept
    ],
)
def test_it_says_until_when_it_waits_and_for_what(
    card: Card, app: Flask, monkeypatch: pytest.MonkeyPatch, reason: str | None, sentence: str
) -> None:
    monkeypatch.setitem(app.config, "CLINIKO_RATE_LIMIT", 200)
    until = now() + timedelta(seconds=30)
    waiting = {"phase": "waiting", "waiting_until": iso(until), "waiting_for": reason}
    words = text_of(card(progress=waiting))
    assert "Waiting" in words
    assert f"{sentence} {until:%H:%M:%S} UTC ." in words


def test_a_completed_sync_says_how_long_it_took(card: Card) -> None:
    done = {"progress_percent": 100.0, "certificate": {"in_step": True}}
    words = text_of(
        card(SyncStatus.COMPLETED, records_success=648, records_failed=0, progress=done)
    )
    assert "100% All 648 patients are in step" in words
    assert "Took 4m 22s" in words


def test_it_does_not_say_all_while_some_could_not_be_asked_about(card: Card) -> None:
    certificate = {"in_step": False}
    done = {"progress_percent": 100.0, "certificate": certificate, "removals_unasked": 30}
    words = text_of(card(SyncStatus.COMPLETED, records_success=648, progress=done))
    assert "All 648" not in words
    assert "30 patients stand in no list of Cliniko and could not be asked about yet" in words


def test_it_says_of_nobody_that_they_are_in_step_where_the_certificate_does_not(card: Card) -> None:
    done = {"progress_percent": 100.0, "certificate": {"in_step": False}}
    words = text_of(
        card(SyncStatus.COMPLETED, records_success=648, records_failed=0, progress=done)
    )
    assert "in step" not in words
    assert "100% 648 patients were read" in words
    assert "The stored copy differs from what Cliniko reported." in words


@pytest.mark.parametrize(
    ("number", "said"), [(1, "counts 1 more patient than"), (3, "counts 3 more patients than")]
)
def test_it_says_how_many_patients_cliniko_counts_and_has_not_shown(
    card: Card, number: int, said: str
) -> None:
    apart = {"certificate": {"in_step": False}, "not_shown": number}
    done = {"progress_percent": 100.0} | apart
    words = text_of(
        card(SyncStatus.COMPLETED, records_success=648, records_failed=0, progress=done)
    )
    assert "100% 648 patients were read" in words
    assert f"Cliniko {said} its lists have shown" in words
    assert "The stored copy differs" not in words


def test_failed_records_are_told_apart_from_a_failed_sync(card: Card) -> None:
    words = text_of(card(SyncStatus.COMPLETED, progress={"progress_percent": 100.0}))
    assert "Completed, 2 failed" in words
    assert "2 records could not be stored" in words


def test_a_failed_sync_says_why_and_what_to_do(card: Card) -> None:
    words = text_of(
        card(
            SyncStatus.FAILED,
            error_code="CLINIKO_AUTH_FAILED",
            error_message="Cliniko does not accept the API key. Create a new key.",
        )
    )
    assert "Failed" in words
    assert "Create a new key. CLINIKO_AUTH_FAILED" in words


def test_a_cancelled_sync_is_no_failure(card: Card) -> None:
    words = text_of(card(SyncStatus.FAILED, error_code="SYNC_CANCELLED", error_message="Stopped."))
    assert "Cancelled; what was stored is kept" in words
    assert "SYNC_CANCELLED" not in words


def test_a_press_of_the_button_is_told_once(card: Card) -> None:
    told = recovery.CANCELLED.message
    words = text_of(card(SyncStatus.FAILED, error_code="SYNC_CANCELLED", error_message=told))
    assert "Cancelled; what was stored is kept" in words
    assert told not in words


def test_whose_sync_ended_with_their_clinic_disabled_is_told_so_once_it_is_enabled(
    cast: Cast, vera: Visitor
) -> None:
    log = make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    suspension.disable(cast.surf, actor=cast.alice)
    suspension.enable(cast.surf, actor=cast.alice)
    path = f"/clinics/{cast.surf.id}"
    for page in (path, f"{path}/syncs/{log.id}"):
        words = text_of(vera.get(page))
        assert "The clinic was disabled while this sync ran. What was stored" in words


def test_doubtful_removals_are_told_even_if_no_list_was_kept(card: Card) -> None:
    words = text_of(card(SyncStatus.COMPLETED, progress={"removals_held": 40}))
    assert "40 patients seemed to be gone from Cliniko" in words
    words = text_of(card(SyncStatus.COMPLETED, progress={"removals_held": 1}))
    assert "1 patient seemed to be gone from Cliniko" in words


def test_screen_readers_hear_every_quarter_only(card: Card) -> None:
    (shown,) = Parsed(card().text).having(id="sync-card")
    assert shown["data-announce"] == "Full sync: 50 percent"


@pytest.mark.parametrize(
    ("status", "values", "words"),
    [
        (SyncStatus.RUNNING, {"worker": None}, "50 percent, no worker is running"),
        (SyncStatus.RUNNING, {"progress": {"waiting_until": iso(now())}}, "50 percent, waiting"),
        (SyncStatus.COMPLETED, {}, "completed with failures"),
    ],
)
def test_screen_readers_hear_what_else_the_card_shows(
    card: Card, status: SyncStatus, values: dict[str, Any], words: str
) -> None:
    (shown,) = Parsed(card(status, **values).text).having(id="sync-card")
    assert shown["data-announce"] == f"Full sync: {words}"


def test_screen_readers_hear_that_a_sync_is_being_cancelled(card: Card) -> None:
    (shown,) = Parsed(card(cancel_requested_at=now()).text).having(id="sync-card")
    assert shown["data-announce"] == "Full sync: cancelling"
