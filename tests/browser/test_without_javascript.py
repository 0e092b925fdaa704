"""JavaScript is off: the same pages work by forms, and a running sync refreshes itself"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Live, Visitor


@pytest.fixture
def alice(visit: Callable[..., Visitor], live: Live) -> Visitor:
    alice = visit(java_script_enabled=False)
    alice.sign_in(live.cast.alice)
    alice.page.get_by_role("link", name="Surf Rehab").click()
    return alice


@pytest.mark.usefixtures("worker")
def test_a_sync_is_started_watched_and_its_patients_searched(
    alice: Visitor, go_on: threading.Event
) -> None:
    alice.press("Sync all patients")
    expect(alice.page.locator(".pct")).to_have_text(re.compile(r"^9\d\.\d%$"))
    go_on.set()
    alice.sees("All 648 patients are in step")
    expect(alice.page.locator("meta[http-equiv=refresh]")).to_have_count(0)

    alice.page.get_by_role("link", name="Patients 648").click()
    alice.press("Next")
    alice.sees("of 648")
    alice.page.get_by_label("State").select_option("deleted")
    alice.press("Search")
    alice.sees("of 5")
    alice.page.get_by_role("cell").get_by_role("link").first.click()
    alice.page.go_back()
    alice.page.reload()
    alice.sees("of 5")
    assert "deleted" not in alice.page.url


@pytest.mark.usefixtures("worker")
def test_a_sync_is_cancelled_after_being_asked_once(alice: Visitor, go_on: threading.Event) -> None:
    alice.press("Sync all patients")
    alice.press("Cancel sync")
    alice.press("Cancel the sync")
    alice.sees("Cancelled; what was stored is kept")


def test_the_connection_is_tested_by_a_form(alice: Visitor) -> None:
    alice.press("Test connection")
    expect(alice.page.locator("#connection")).to_contain_text("Connected")


def test_a_token_is_made_and_revoked_and_no_button_is_dead(alice: Visitor) -> None:
    alice.open("/api-access")
    alice.page.get_by_label("Name").fill("Report")
    alice.press("Make token")
    alice.sees("it will not be shown again")
    expect(alice.page.get_by_role("button", name="Copy token")).to_have_count(0)
    alice.open("/api-access")
    alice.press("Revoke Report")
    alice.press("Revoke the token")
    alice.sees("The token was revoked")
