"""A page that stays open goes on telling the truth, without a word or a jump that nobody needs"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from tests.api.rows import make_log, record, store
from tests.browser.conftest import Live, Visitor
from webapp.clock import iso, now
from webapp.durations import ago_words
from webapp.extensions import transaction
from webapp.models import OperationType, SyncStatus

Visit = Callable[..., Visitor]

# Seconds; half a minute more would make no other words of them.
AGES = (0, 70, 130, 3500, 3610, 7300, 47 * 3600, 49 * 3600, 100 * 86400)


@pytest.fixture
def alice(visit: Visit, live: Live) -> Visitor:
    """An admin."""
    alice = visit()
    alice.sign_in(live.cast.alice)
    return alice


def test_how_long_ago_it_was_is_true_for_as_long_as_the_page_is_open(
    alice: Visitor, live: Live
) -> None:
    surf = live.cast.surf
    make_log(surf, started_at=now() - timedelta(seconds=263))
    alice.page.clock.install()
    alice.open(f"/clinics/{surf.id}")
    expect(alice.page.locator("#sync-card header")).to_contain_text("ended just now")
    alice.page.evaluate("window.same = document.querySelector('#in-step')")
    alice.page.clock.fast_forward(8 * 60_000)
    for part, words in (("#sync-card header", "ended 8"), ("#in-step", "8"), ("#recent", "12")):
        expect(alice.page.locator(part)).to_contain_text(f"{words} min ago")
    assert alice.page.evaluate("window.same.isConnected")
    expect(alice.page.locator("#announcer")).to_be_empty()
    assert alice.complaints == []


def test_a_press_that_another_sync_was_before_is_answered_in_words_that_stay_and_are_read_out(
    alice: Visitor, live: Live
) -> None:
    surf = live.cast.surf
    make_log(surf, started_at=now() - timedelta(hours=1))
    alice.open(f"/clinics/{surf.id}")
    reads = OperationType.CHANGED_PATIENTS
    make_log(surf, SyncStatus.RUNNING, started_at=now(), operation_type=reads)

    with alice.page.expect_response(lambda answer: answer.url.endswith("/progress")):
        alice.page.click("#start-sync")

    words = "A sync of changes is running, so the full sync was not started."
    expect(alice.page.locator("#main > .notice")).to_contain_text(words)
    expect(alice.page.locator("#announcer")).to_contain_text(words)
    expect(alice.page.locator("#sync-card h2")).to_have_text("Sync of changes")
    assert alice.complaints == []


def test_a_browser_whose_clock_is_wrong_tells_the_same(alice: Visitor, live: Live) -> None:
    surf = live.cast.surf
    make_log(surf, started_at=now() - timedelta(seconds=263))
    alice.page.clock.install(time=now() - timedelta(days=3))
    alice.open(f"/clinics/{surf.id}")
    alice.page.clock.run_for(16_000)
    expect(alice.page.locator("#sync-card header")).to_contain_text("ended just now")
    alice.page.clock.fast_forward(120_000)
    expect(alice.page.locator("#sync-card header")).to_contain_text("ended 2 min ago")


def test_browser_and_server_say_it_in_the_same_words(alice: Visitor) -> None:
    alice.page.clock.install()
    alice.open("/account")
    moments = [iso(now() - timedelta(seconds=age)) for age in AGES]
    alice.page.evaluate(
        """moments => main.replaceChildren(...moments.map((moment) => {
            const time = document.createElement("time");
            time.dateTime = moment;
            time.dataset.ago = "";
            return time;
        }))""",
        moments,
    )
    alice.page.clock.run_for(15_000)
    expect(alice.page.locator("main time")).to_have_text([ago_words(age + 15) for age in AGES])


def test_what_was_said_in_a_notice_is_not_said_again(alice: Visitor) -> None:
    alice.page.clock.install()
    alice.open("/account")
    alice.page.evaluate(
        """moment => {
            const time = document.createElement("time");
            Object.assign(time, { dateTime: moment, textContent: "just now" });
            time.dataset.ago = "";
            announcer.replaceChildren(time);
        }""",
        iso(now() - timedelta(hours=1)),
    )
    alice.page.clock.run_for(15_000)
    assert alice.page.locator("#announcer time").text_content() == "just now"


def test_the_history_follows_the_syncs_and_leaves_focus_and_form_alone(
    alice: Visitor, live: Live
) -> None:
    surf = live.cast.surf
    first = make_log(surf)
    second = make_log(surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    alice.page.clock.install()
    alice.open(f"/clinics/{surf.id}/syncs")
    pill = alice.page.locator("tr", has=alice.page.locator(f"#log-{second.id}")).locator(".pill")
    expect(pill).to_have_text("Running")
    alice.page.get_by_label("Status").select_option("failed")
    link = alice.page.locator(f"#log-{first.id}")
    link.focus()

    with transaction():
        second.status, second.completed_at = SyncStatus.COMPLETED, now()
    _pass_ten_seconds(alice)
    expect(pill).to_have_text("Completed")
    expect(link).to_be_focused()

    third = make_log(surf, SyncStatus.FAILED, error_code="CLINIKO_FORBIDDEN")
    _pass_ten_seconds(alice)
    expect(alice.page.locator(f"#log-{third.id}")).to_be_visible()
    expect(alice.page.locator("tbody tr")).to_have_count(3)
    expect(link).to_be_focused()
    expect(alice.page.get_by_label("Status")).to_have_value("failed")
    expect(alice.page.locator("#announcer")).to_be_empty()
    expect(alice.page).to_have_title("Sync history · Surf Rehab · Patient Sync")

    asked: list[str] = []
    alice.page.on("request", lambda request: asked.append(request.url))
    _pass_ten_seconds(alice)
    assert [url.rpartition("/")[2] for url in asked] == [f"news?after={third.id}"]
    assert alice.complaints == []


def test_the_history_follows_the_syncs_without_htmx_too(visit: Visit, live: Live) -> None:
    alice = visit(cdn=None)
    alice.sign_in(live.cast.alice)
    alice.page.clock.install()
    alice.open(f"/clinics/{live.cast.surf.id}/syncs")
    alice.sees("No sync yet")
    log = make_log(live.cast.surf)
    alice.page.clock.run_for(10_000)
    expect(alice.page.locator(f"#log-{log.id}")).to_be_visible()


def test_all_of_a_clinics_page_keeps_up_with_its_sync(alice: Visitor, live: Live) -> None:
    surf = live.cast.surf
    make_log(surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    alice.page.clock.install()
    alice.open(f"/clinics/{surf.id}")
    tab = alice.page.get_by_role("link", name="Patients 0")
    tab.focus()
    expect(alice.page.locator("#in-step")).to_contain_text("Active0")
    store(surf, record(1, "Olivia", "Marsh"), seen_at=now() - timedelta(minutes=9))
    alice.page.clock.run_for(10_000)
    expect(alice.page.locator("#in-step")).to_contain_text("Active1")
    expect(alice.page.get_by_role("link", name="Patients 1")).to_be_focused()
    expect(alice.page.locator("#recent tbody tr")).to_have_count(2)
    expect(alice.page).to_have_title("0% Surf Rehab · Patient Sync")
    assert alice.complaints == []


@pytest.mark.parametrize(
    ("path", "link", "asks"),
    [("/clinics", "#clinic-1", "**/clinics"), ("/clinics/1", "#card-sync", "**/progress")],
    ids=["the list", "the card"],
)
def test_what_is_drawn_anew_keeps_the_focus_and_a_click_on_its_way(
    alice: Visitor, live: Live, path: str, link: str, asks: str
) -> None:
    log = make_log(live.cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    alice.page.clock.install()
    alice.open(path)
    alice.page.locator(link).focus()
    alice.page.evaluate("link => { window.pressed = document.querySelector(link); }", link)
    box = alice.page.locator(link).bounding_box()
    assert box
    alice.page.mouse.move(box["x"] + 3, box["y"] + 3)
    alice.page.mouse.down()
    for percent in (12.0, 34.0):  # the second time it is what the first has wired
        with transaction():
            log.progress = log.progress | {"progress_percent": percent}
        with alice.page.expect_response(asks):
            alice.page.clock.run_for(5_000)
        expect(alice.page.locator("main")).to_contain_text(f"{percent:.0f}")
    expect(alice.page.locator(link)).to_be_focused()
    assert alice.page.evaluate("pressed.isConnected")
    alice.page.mouse.up()
    alice.page.wait_for_url("**/clinics/1**")
    assert alice.complaints == []


def test_the_list_asks_more_often_from_when_on_something_runs(alice: Visitor, live: Live) -> None:
    alice.page.clock.install()
    alice.open("/clinics")
    log = make_log(live.cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    alice.page.clock.run_for(15_000)
    expect(alice.page.locator("#row-1 .pill")).to_have_text("Running")
    with transaction():
        log.status, log.completed_at = SyncStatus.COMPLETED, now()
    alice.page.clock.run_for(5_000)
    expect(alice.page.locator("#row-1 .pill")).to_have_text("Completed")
    expect(alice.page.locator("#clinics[hx-trigger='every 15s']")).to_be_visible()
    assert alice.complaints == []


def _pass_ten_seconds(visitor: Visitor) -> None:
    """Until the page has asked for news once more, and drawn what they were."""
    with visitor.page.expect_response("**/news*"):
        visitor.page.clock.run_for(10_000)
    visitor.page.clock.run_for(100)
