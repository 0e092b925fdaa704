"""Held removals by clicks: looked at, asked about, confirmed or kept"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import expect

from tests.api.rows import hold, make_log
from tests.browser.conftest import Live, Visitor
from webapp.clock import now
from webapp.models import SyncStatus

Visit = Callable[..., Visitor]


@pytest.fixture
def held(live: Live) -> None:
    """Sixty patients of Surf Rehab seem to be gone."""
    hold(live.cast.surf, 60)


def alice_at(live: Live, visitor: Visitor) -> Visitor:
    """An admin who looks at Surf Rehab."""
    visitor.sign_in(live.cast.alice)
    visitor.page.get_by_role("link", name="Surf Rehab").click()
    return visitor


@pytest.mark.usefixtures("held")
def test_an_admin_is_asked_once_before_they_are_marked(visit: Visit, live: Live) -> None:
    alice = alice_at(live, visit())
    alice.sees("60 patients seem to be gone from Cliniko")
    alice.press("Mark them deleted")
    dialog = alice.page.get_by_role("dialog", name="Mark 60 patients deleted?")
    expect(dialog.get_by_role("button", name="Change nothing")).to_be_focused()
    assert Axe().run(alice.page).violations_count == 0
    alice.press("Change nothing")
    expect(dialog).to_be_hidden()

    alice.press("Mark them deleted")
    alice.press("Mark 60 patients deleted")
    alice.sees("60 patients were marked deleted", "An admin confirmed it")
    expect(alice.page.locator("#in-step")).to_contain_text("Deleted in Cliniko60")
    expect(alice.page.get_by_role("button", name="Mark them deleted")).to_have_count(0)
    expect(alice.page.locator("#announcer")).to_have_text("60 patients were marked deleted.")
    assert alice.complaints == []


@pytest.mark.usefixtures("held")
def test_a_decision_that_comes_too_late_is_refused_in_words_that_stay(
    visit: Visit, live: Live
) -> None:
    alice = alice_at(live, visit())
    alice.page.locator("#card-sync").click()
    alice.page.wait_for_url("**/syncs/2")  # whole: a form sent before htmx is there loads a page
    make_log(live.cast.surf, SyncStatus.RUNNING, started_at=now(), worker="w")
    alice.press("Keep them")
    alice.sees("Nothing was changed; decide when it has ended.")
    expect(alice.page.locator("#sync-card")).not_to_contain_text("Running")
    refused = "A sync of this clinic is running"
    expect(alice.page.locator("main > .notice.warn")).to_contain_text(refused)
    expect(alice.page.locator("#announcer")).to_contain_text(refused)
    assert alice.complaints == []


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without"])
def test_they_are_kept_and_marked_after_all(visit: Visit, live: Live, scripts: bool) -> None:
    alice = alice_at(live, visit(java_script_enabled=scripts))
    alice.press("Keep them")
    alice.sees("60 patients were kept", "decided on")
    alice.page.get_by_role("link", name="See who they are").click()
    alice.sees("Olivia Nguyen 001", "of 60")

    alice.press("Mark them deleted after all")
    alice.press("Mark 60 patients deleted")
    alice.sees("60 patients were marked deleted")
    assert alice.page.url.endswith("/clinics/1")
    assert alice.complaints == []
