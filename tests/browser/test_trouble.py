"""What was pressed and failed, what was pressed twice, what polls for something that is closed"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from tests.api.rows import record, store
from tests.browser.conftest import Live, Visitor
from webapp.extensions import db
from webapp.services import tokens
from webapp.sync import suspension

Visit = Callable[..., Visitor]

OUR_WORDS = '<p class="notice bad">Nothing was changed: the audit cannot be written to.</p>'


@pytest.fixture
def bob(visit: Visit, live: Live) -> Visitor:
    """The manager of Surf Rehab, who looks at it."""
    bob = visit()
    bob.sign_in(live.cast.bob)
    bob.open("/clinics/1")
    return bob


def refuse_presses(visitor: Visitor, answer: Callable[[Route], None]) -> None:
    """Whatever is sent gets this answer; whatever is only asked for comes as always."""
    visitor.page.route(
        "**/*", lambda route: answer(route) if route.request.method == "POST" else route.fallback()
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda route: route.abort(), "That did not work, or the answer did not come back."),
        (lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"), "That did not work"),
        (lambda route: route.fulfill(status=503, body=OUR_WORDS), "Nothing was changed: the audit"),
    ],
    ids=["no answer", "a proxy", "ours"],
)
def test_a_press_that_failed_is_told_as_one_and_stays_while_the_page_goes_on(
    bob: Visitor, answer: Callable[[Route], None], words: str
) -> None:
    bob.press("Sync all patients")
    bob.press("Cancel sync")
    refuse_presses(bob, answer)
    bob.press("Cancel the sync")
    bob.sees(words)
    for _ in range(2):
        with bob.page.expect_response("**/progress"):
            pass
    expect(bob.page.locator("#toast")).to_contain_text(words)
    expect(bob.page.get_by_text("goes on by itself")).to_have_count(0)


def test_a_press_that_failed_is_not_outshouted_by_what_fails_by_itself(bob: Visitor) -> None:
    bob.press("Sync all patients")
    bob.press("Cancel sync")
    bob.page.clock.install()
    refuse_presses(bob, lambda route: route.abort())
    bob.press("Cancel the sync")
    bob.sees("That did not work")
    bob.page.evaluate(
        """() => {
            window.said = [];
            new MutationObserver(() => said.push(announcer.textContent))
                .observe(announcer, { childList: true });
            window.drawn = 0;
            new MutationObserver(() => { drawn += 1; }).observe(toast, { childList: true });
        }"""
    )
    bob.page.route("**/progress", lambda route: route.abort())
    for _ in range(2):
        _pass_two_seconds(bob)
    expect(bob.page.locator("#toast")).to_contain_text("That did not work")

    bob.page.clock.run_for(10_000)  # it has passed; the trouble has not
    trouble = "Patient Sync cannot be reached just now. This page goes on by itself."
    for _ in range(3):
        _pass_two_seconds(bob)
    expect(bob.page.locator("#toast")).to_have_text(trouble)
    expect(bob.page.locator("#announcer")).to_have_text(trouble)
    assert bob.page.evaluate("drawn") == 1
    assert bob.page.evaluate("said.filter(Boolean)").count(trouble) == 1


def _pass_two_seconds(visitor: Visitor) -> None:
    """Until the card has asked once more, in vain."""
    with visitor.page.expect_event("requestfailed"):
        visitor.page.clock.run_for(2_000)
    visitor.page.clock.run_for(200)


@pytest.mark.parametrize(
    "answer",
    [lambda route: route.abort(), lambda route: route.fulfill(status=502, body="Bad")],
    ids=["no answer", "a proxy"],
)
def test_a_page_that_could_not_draw_itself_at_the_end_of_its_sync_tries_again(
    bob: Visitor, work: Callable[[], None], answer: Callable[[Route], None]
) -> None:
    bob.press("Sync all patients")
    bob.sees("Cancel sync")
    bob.page.route("**/clinics/1", answer, times=1)
    work()
    bob.sees("Patient Sync cannot be reached just now", "All 648 patients are in step")
    expect(bob.page.get_by_role("link", name="Patients 648")).to_be_visible()
    expect(bob.page.locator("#toast")).to_be_hidden()


@pytest.mark.parametrize("with_htmx", [True, False])
def test_nobody_goes_on_asking_about_a_clinic_that_was_disabled(
    visit: Visit, live: Live, htmx: bytes, with_htmx: bool
) -> None:
    bob = visit(cdn=htmx if with_htmx else None)
    bob.sign_in(live.cast.bob)
    bob.open("/clinics/1")
    bob.press("Sync all patients")
    bob.sees("Queued")

    suspension.disable(live.cast.surf, actor=live.cast.alice)
    bob.sees("disabled")
    expect(bob.page.locator("[hx-trigger^=every]")).to_have_count(0)


def test_a_second_click_makes_no_second_token_and_the_first_is_shown(
    bob: Visitor, live: Live
) -> None:
    bob.open("/api-access")
    bob.page.get_by_label("Name").fill("Report")
    bob.page.get_by_role("button", name="Make token").dblclick()
    bob.sees("it will not be shown again")
    db.session.rollback()
    assert len(tokens.of(live.cast.bob)) == 1


def test_who_turns_pages_by_keyboard_stays_where_they_were(bob: Visitor, live: Live) -> None:
    store(live.cast.surf, *(record(n, "Same", f"Name{n:03}") for n in range(1, 121)))
    bob.open("/clinics/1/patients")
    turn = bob.page.get_by_role("button", name="Next")
    turn.focus()
    bob.page.keyboard.press("Enter")
    bob.sees("Name051")
    expect(turn).to_be_focused()


def test_without_javascript_the_page_of_a_running_sync_can_be_made_to_keep_still(
    visit: Visit, live: Live
) -> None:
    bob = visit(java_script_enabled=False)
    bob.sign_in(live.cast.bob)
    bob.open("/clinics/1")
    bob.press("Sync all patients")
    follows = bob.page.locator("meta[http-equiv=refresh]")
    expect(follows).to_have_count(1)
    bob.page.get_by_role("link", name="Keep it still").click()
    expect(follows).to_have_count(0)
    bob.page.get_by_role("link", name="Follow the sync again").click()
    expect(follows).to_have_count(1)
