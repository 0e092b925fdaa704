"""The main job, by clicks: sign in, press "Sync all patients", watch, and look at the patients"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from simulator.account import ClinikoAccount
from tests.api.rows import make_log, refuse
from tests.browser.conftest import Live, Visitor
from webapp.clock import now
from webapp.extensions import transaction
from webapp.models import OperationType, SyncOrigin, SyncStatus
from webapp.sync.progress import Progress
from webapp.sync.start import start_sync

Visit = Callable[..., Visitor]


@pytest.fixture
def alice(visit: Visit, live: Live) -> Visitor:
    """An admin who looks at Surf Rehab."""
    alice = visit()
    alice.sign_in(live.cast.alice)
    alice.page.get_by_role("link", name="Surf Rehab").click()
    alice.page.wait_for_url("**/clinics/1")  # whole: a form sent before htmx is there loads a page
    return alice


@pytest.mark.usefixtures("worker")
def test_648_patients_arrive_while_somebody_watches(alice: Visitor, go_on: threading.Event) -> None:
    alice.press("Sync all patients")
    alice.sees("Cancel sync")  # the buttons follow the card
    expect(alice.page.locator(".pct")).to_have_text(re.compile(r"^9\d\.\d%$"))
    expect(alice.page.locator("#sync-card")).to_contain_text("602 of 648")
    expect(alice.page.locator("#sync-card")).to_contain_text("left this minute")
    expect(alice.page).to_have_title(re.compile(r"^9\d% Surf Rehab · Patient Sync$"))

    go_on.set()
    alice.sees("All 648 patients are in step")
    expect(alice.page.get_by_role("link", name="Patients 648")).to_be_visible()
    expect(alice.page.locator("#in-step")).to_contain_text("602")
    expect(alice.page.locator("#recent .pill.completed")).to_be_visible()
    expect(alice.page.get_by_role("button", name="Cancel sync")).to_have_count(0)
    expect(alice.page.locator("#sync-card[hx-trigger]")).to_have_count(0)
    expect(alice.page).to_have_title("Surf Rehab · Patient Sync")
    alice.sees("The only sync until now: completed")

    alice.page.get_by_role("link", name="Patients 648").click()
    alice.sees("of 648")
    assert alice.complaints == []


@pytest.mark.usefixtures("worker", "go_on")
def test_nothing_on_the_page_moves_while_the_card_polls(alice: Visitor) -> None:
    alice.press("Sync all patients")
    alice.sees("Cancel sync")
    expect(alice.page.locator(".pct")).to_have_text(re.compile(r"^9\d\.\d%$"))
    alice.page.evaluate(
        """() => {
            window.shifted = 0;
            new PerformanceObserver((list) => {
                for (const entry of list.getEntries()) window.shifted += entry.value;
            }).observe({ type: "layout-shift" });
        }"""
    )
    for _ in range(3):
        with alice.page.expect_response("**/progress"):
            pass
    alice.page.evaluate("() => new Promise(requestAnimationFrame)")
    assert alice.page.evaluate("window.shifted") == 0


@pytest.mark.usefixtures("worker")
def test_a_sync_can_be_cancelled_after_being_asked_once(
    alice: Visitor, go_on: threading.Event
) -> None:
    alice.press("Sync all patients")
    alice.press("Cancel sync")
    alice.press("Keep syncing")
    expect(alice.page.get_by_role("dialog")).to_be_hidden()
    alice.press("Cancel sync")
    alice.press("Cancel the sync")
    alice.sees("Cancelled; what was stored is kept")
    expect(alice.page.get_by_role("button", name="Cancel sync")).to_have_count(0)
    assert alice.complaints == []


def test_a_second_press_in_another_window_shows_the_same_sync(
    alice: Visitor, visit: Visit, live: Live
) -> None:
    bob = visit()
    bob.sign_in(live.cast.bob)
    bob.open("/clinics/1")
    alice.press("Sync all patients")
    alice.sees("#1")
    bob.press("Sync all patients")
    expect(bob.page.locator("#sync-card")).to_contain_text("#1")
    bob.sees("Cancel sync")


@pytest.mark.usefixtures("worker")
def test_a_sync_that_was_started_elsewhere_is_seen_by_open_pages(
    alice: Visitor, visit: Visit, live: Live, go_on: threading.Event
) -> None:
    bob = visit()
    bob.sign_in(live.cast.bob)  # the clinics page
    bob.sees("Never synced")
    start_sync(live.cast.surf, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)
    alice.sees("Cancel sync")
    expect(alice.page).to_have_title(re.compile(r"^\d+% Surf Rehab"))
    expect(bob.page.locator("td .pill.running")).to_be_visible()

    go_on.set()
    alice.sees("All 648 patients are in step")
    expect(bob.page.locator("td .pill.completed")).to_be_visible()
    assert alice.complaints == bob.complaints == []


def test_the_button_keeps_the_focus_and_the_page_announces_what_happens(alice: Visitor) -> None:
    button = alice.page.get_by_role("button", name="Sync all patients")
    button.focus()
    alice.page.keyboard.press("Enter")
    alice.sees("Cancel sync")
    expect(button).to_be_focused()
    expect(alice.page.locator("#announcer")).to_have_text("Full sync: 0 percent")


def test_what_stands_there_at_first_is_no_news(
    alice: Visitor, work: Callable[[], None], live: Live
) -> None:
    start_sync(live.cast.surf, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)
    work()
    alice.page.clock.install()
    alice.open("/clinics/1")
    alice.sees("All 648 patients are in step")
    with alice.page.expect_response("**/news*"):
        alice.page.clock.fast_forward(11_000)
    alice.page.clock.run_for(1000)
    expect(alice.page.locator("#announcer")).to_be_empty()


def test_what_was_pressed_is_answered_each_time(alice: Visitor, work: Callable[[], None]) -> None:
    alice.press("Sync all patients")
    alice.sees("Queued")
    work()
    expect(alice.page.get_by_role("link", name="Patients 648")).to_be_visible()
    announcer = alice.page.locator("#announcer")
    for _ in range(2):
        alice.press("Test connection")
        expect(announcer).to_have_text("Cliniko connection: connected")
        announcer.evaluate("announcer => announcer.replaceChildren()")
    alice.press("Sync all patients")
    expect(announcer).to_contain_text("synced less than five minutes ago")


def test_all_of_the_page_of_a_running_sync_keeps_up_with_it(alice: Visitor, live: Live) -> None:
    surf = live.cast.surf
    log = make_log(surf, SyncStatus.RUNNING, started_at=now(), worker="w", records_success=1)
    alice.page.clock.install()
    alice.open(f"/clinics/{surf.id}/syncs/{log.id}")
    alice.sees("None so far.")
    with transaction():
        told = Progress(OperationType.FULL_PATIENTS).metadata()
        log.progress = told | {"requests_made": 7, "progress_percent": 12.0}
        log.records_failed = 1
    refuse(surf, 1, log)
    alice.page.clock.run_for(2_500)
    alice.page.get_by_role("link", name="see why").click()
    alice.page.clock.run_for(10_000)
    expect(alice.page.locator("#failures")).to_contain_text("date_of_birth")
    expect(alice.page.locator("#about")).to_contain_text(re.compile(r"Requests\s*7"))
    region = alice.page.get_by_role("region", name="Records that failed")
    region.focus()
    with alice.page.expect_response(f"**/syncs/{log.id}"):
        alice.page.clock.run_for(10_000)
    alice.page.clock.run_for(100)
    expect(region).to_be_focused()
    expect(alice.page).to_have_title("12% Sync #1 · Surf Rehab · Patient Sync")
    assert alice.complaints == []


def test_trouble_on_the_way_is_told_quietly_and_passes_by_itself(alice: Visitor) -> None:
    alice.press("Sync all patients")
    alice.page.route("**/progress", lambda route: route.abort())
    alice.sees("Patient Sync cannot be reached just now")
    alice.page.unroute("**/progress")
    expect(alice.page.locator("#toast")).to_be_hidden()
    expect(alice.page.locator("#sync-card")).to_contain_text("Queued")


def test_an_error_of_a_proxy_is_not_drawn_into_the_page(alice: Visitor) -> None:
    alice.press("Sync all patients")
    alice.page.route(
        "**/progress", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>")
    )
    alice.sees("Patient Sync cannot be reached just now")
    expect(alice.page.get_by_text("Bad gateway")).to_have_count(0)


def test_an_ended_session_leaves_for_the_sign_in(alice: Visitor, live: Live) -> None:
    alice.press("Sync all patients")
    alice.sees("Queued")
    with transaction():
        live.cast.alice.session_epoch += 1
    alice.page.wait_for_url(re.compile(r"/sign-in\?next=/clinics/1$"))


def test_too_early_is_said_in_the_card(alice: Visitor, work: Callable[[], None]) -> None:
    alice.press("Sync all patients")
    alice.sees("Queued")
    work()
    alice.sees("All 648 patients are in step")
    alice.press("Sync all patients")
    alice.sees("synced less than five minutes ago")


def test_the_connection_can_be_tested_in_place(alice: Visitor) -> None:
    expect(alice.page.locator("#first-steps .done")).to_have_count(2)
    alice.press("Test connection")
    expect(alice.page.locator("#first-steps .done")).to_have_count(3)
    connection = alice.page.locator("#connection")
    expect(connection).to_contain_text("Connected")
    expect(connection).to_contain_text(re.compile("Active patients there\\s*602"))
    assert alice.complaints == []


@pytest.mark.usefixtures("worker")
def test_what_changed_is_synced_by_the_button_beside_it(
    alice: Visitor, live: Live, surf_account: ClinikoAccount, go_on: threading.Event
) -> None:
    go_on.set()
    start_sync(live.cast.surf, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)
    alice.open("/clinics/1")
    alice.sees("All 648 patients are in step")
    surf_account.create(first_name="Noah", last_name="Nowhere-Else")

    alice.press("Sync changes")
    alice.sees("1 change since")
    alice.page.locator("#sync-card").get_by_role("link", name=re.compile("#")).click()
    alice.page.get_by_role("link", name="See who").click()
    alice.page.get_by_role("link", name="Noah Nowhere-Else").click()

    expect(alice.page.locator("#history")).to_contain_text("Added")
    assert alice.complaints == []
