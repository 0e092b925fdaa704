"""The whole main job without a mouse: sign in, sync, watch, cancel or not, and find a patient"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Live, Visitor
from tests.cast import PASSWORD

MOST_STEPS = 60


def tab_to(page: Page, words: str) -> None:
    """Press Tab until what has the focus is called so, as a person would who looks for it."""
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        # At once, for a poll may put another in its place; the page itself is nothing to press.
        name, outline = page.evaluate(
            """() => {
                const focused = document.activeElement ?? document.body;
                const name = focused.getAttribute("aria-label") ?? focused.innerText;
                return [focused.matches("body, main") ? "" : name,
                        getComputedStyle(focused).outlineStyle];
            }"""
        )
        if words in name:
            assert outline != "none", f"the focus cannot be seen on {words}"
            return
    raise AssertionError(f"no way to {words} by keyboard")


def test_a_form_that_was_refused_is_where_the_focus_is(
    visit: Callable[..., Visitor], live: Live
) -> None:
    alice = visit()
    alice.sign_in(live.cast.alice)
    alice.open("/people")
    page = alice.page
    page.get_by_label("E-mail address", exact=True).fill("bob@example.com")
    page.get_by_label("Clinic", exact=True).select_option("Surf Rehab")
    alice.press("Make the link")
    alice.sees("exists already")
    expect(page.get_by_label("E-mail address", exact=True)).to_be_focused()

    page.get_by_label("E-mail address", exact=True).fill("nina@example.com")
    page.get_by_label("Role", exact=True).select_option("admin")
    alice.press("Make the link")
    alice.sees("An admin belongs to no clinic")
    expect(page.get_by_label("Clinic", exact=True)).to_be_focused()
    expect(page.get_by_label("Clinic", exact=True)).to_be_in_viewport()


def test_what_a_form_is_answered_with_is_said(visit: Callable[..., Visitor], live: Live) -> None:
    alice = visit()
    alice.sign_in(live.cast.alice)
    alice.open("/clinics/1/settings")
    alice.press("Save name")
    expect(alice.page.locator("#announcer")).to_have_text("The name was saved.")


@pytest.mark.usefixtures("worker")
def test_the_main_job_is_done_by_keyboard_alone(
    visit: Callable[..., Visitor], live: Live, go_on: threading.Event
) -> None:
    bob = visit()
    page, keys = bob.page, bob.page.keyboard
    bob.open("/")
    expect(page.get_by_label("E-mail address")).to_be_focused()
    keys.type(live.cast.bob.email)
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    page.wait_for_url("**/clinics")

    tab_to(page, "Surf Rehab")
    keys.press("Enter")
    page.wait_for_url("**/clinics/1")
    tab_to(page, "Sync all patients")
    keys.press("Enter")
    bob.sees("Cancel sync")

    page.locator("main").focus()
    tab_to(page, "Cancel sync")
    keys.press("Enter")
    expect(page.get_by_role("button", name="Keep syncing")).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()

    go_on.set()
    bob.sees("All 648 patients are in step")
    page.locator("main").focus()
    tab_to(page, "Patients 648")
    keys.press("Enter")
    page.wait_for_url("**/patients")
    tab_to(page, "Search patients")
    keys.type("zzqxj")
    bob.sees("No patient matches")
    assert bob.complaints == []


@pytest.mark.usefixtures("worker", "go_on")
def test_the_focus_stays_on_the_page_when_what_had_it_is_gone(
    visit: Callable[..., Visitor], live: Live
) -> None:
    bob = visit()
    bob.sign_in(live.cast.bob)
    bob.open("/clinics/1")
    bob.press("Sync all patients")
    bob.press("Cancel sync")
    bob.page.get_by_role("button", name="Cancel the sync").focus()
    bob.page.keyboard.press("Enter")
    bob.sees("Cancelled; what was stored is kept")
    expect(bob.page.locator("main")).to_be_focused()
    expect(bob.page.locator("#announcer")).to_have_text("Full sync: cancelled")
