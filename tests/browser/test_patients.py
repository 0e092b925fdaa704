"""Searching and turning pages, and what is left in the browser"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import expect
from sqlalchemy import update

from tests.api.rows import record, store
from tests.browser.conftest import Live, Visitor
from webapp.clock import now
from webapp.extensions import transaction
from webapp.models import UserSession


@pytest.fixture
def bob(visit: Callable[..., Visitor], live: Live) -> Visitor:
    """The manager, with sixty patients."""
    store(live.cast.surf, *(record(n, "Olivia", f"Nguyen {n:03}") for n in range(1, 61)))
    bob = visit()
    bob.sign_in(live.cast.bob)
    bob.open("/clinics/1/patients")
    return bob


def forget_the_proof() -> None:
    """The password was entered long ago."""
    with transaction() as session:
        session.execute(update(UserSession).values(proved_at=now() - timedelta(hours=1)))


def test_the_list_follows_what_is_typed(bob: Visitor) -> None:
    search = bob.page.get_by_role("searchbox")
    search.press_sequentially("nguyen 042")
    bob.sees("of 1")
    expect(search).to_be_focused()
    expect(bob.page.locator("tbody tr")).to_have_count(1)
    assert "042" not in bob.page.url
    assert bob.complaints == []


def test_what_was_typed_is_searched_once_and_then_the_list_stands_still(bob: Visitor) -> None:
    asked: list[str] = []
    bob.page.on("request", lambda request: asked.append(request.method))
    bob.page.get_by_role("searchbox").fill("nguyen 042")
    bob.sees("of 1")
    forget_the_proof()
    bob.page.get_by_label("State").select_option("active")
    bob.page.get_by_label("Your password").fill("four")
    bob.page.get_by_role("heading", level=1).click()
    assert asked.count("POST") == 2


def test_a_password_stays_while_the_list_follows(bob: Visitor) -> None:
    forget_the_proof()
    bob.page.reload()
    password = bob.page.get_by_label("Your password")
    bob.page.get_by_role("searchbox").fill("nguyen 042")
    password.press_sequentially("four")
    bob.sees("of 1")
    expect(password).to_be_focused()
    expect(password).to_have_value("four")


def test_pages_are_turned_and_begin_at_their_top(bob: Visitor) -> None:
    bob.press("Next")
    bob.sees("of 60", "Nguyen 060")
    expect(bob.page.get_by_role("searchbox")).to_be_in_viewport()
    bob.press("Previous")
    bob.sees("Nguyen 001")
    assert bob.complaints == []


def test_back_from_a_patient_the_list_is_as_it_was_left(bob: Visitor) -> None:
    bob.page.get_by_role("searchbox").fill("olivia nguyen")
    bob.page.wait_for_url("**/patients?asked=*")
    bob.press("Next")
    bob.sees("Nguyen 060")
    bob.page.get_by_role("link", name="Olivia Nguyen 055").click()
    bob.sees("Last confirmed by a sync")
    bob.page.go_back()
    bob.sees("Nguyen 060")
    expect(bob.page.get_by_role("searchbox")).to_have_value("olivia nguyen")
    assert not re.search("olivia|nguyen", bob.page.url, re.IGNORECASE)
    bob.press("Previous")
    bob.sees("Nguyen 001")
    bob.page.reload()
    bob.sees("Nguyen 001")
    assert bob.complaints == []


def test_a_state_is_chosen_at_once(bob: Visitor) -> None:
    bob.page.get_by_label("State").select_option("archived")
    bob.sees("No patient matches")


def test_whoever_is_found_is_taken_along_as_a_file(bob: Visitor) -> None:
    bob.page.get_by_role("searchbox").press_sequentially("nguyen 042")
    with bob.page.expect_download() as download:
        bob.press("Export 1 as CSV")
    file = download.value
    assert re.fullmatch(r"patients-\d{4}-\d{2}-\d{2}\.csv", file.suggested_filename)
    lines = file.path().read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[2] for line in lines] == ["Last name", "Nguyen 042"]
    bob.open("/clinics/1/audit")
    bob.sees("exported patients", "searched the patients")
    assert bob.complaints == []


def test_nothing_of_a_patient_stays_in_the_browser(bob: Visitor) -> None:
    bob.page.get_by_role("searchbox").fill("olivia")
    bob.page.get_by_role("link", name="Olivia Nguyen 001").click()
    bob.sees("Last confirmed by a sync")
    kept = bob.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert kept == "[{},{}]"

    bob.press("Sign out")
    bob.page.wait_for_url("**/sign-in")
    bob.page.go_back()
    expect(bob.page).to_have_url(re.compile(r"/sign-in\?next="))
    expect(bob.page.get_by_text("Nguyen")).to_have_count(0)
