"""The CDN is blocked, or serves something else: the dashboard lives all the same"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Live, Visitor

Visit = Callable[..., Visitor]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("altered", [False, True])
def test_progress_is_live_without_htmx(
    visit: Visit, live: Live, htmx: bytes, go_on: threading.Event, altered: bool
) -> None:
    alice = visit(cdn=htmx + b"\n" if altered else None)
    alice.sign_in(live.cast.alice)
    alice.open("/clinics/1")
    assert alice.page.evaluate("typeof htmx") == "undefined"

    alice.press("Sync all patients")
    expect(alice.page.locator(".pct")).to_have_text(re.compile(r"^9\d\.\d%$"))
    go_on.set()
    alice.sees("All 648 patients are in step")
    expect(alice.page.get_by_role("link", name="Patients 648")).to_be_visible()


def test_the_focus_stays_where_it_was_without_htmx(visit: Visit, live: Live) -> None:
    alice = visit(cdn=None)
    alice.sign_in(live.cast.alice)
    alice.open("/clinics/1")
    alice.press("Sync all patients")
    link = alice.page.locator("#card-sync")
    link.focus()
    link.evaluate("link => { link.dataset.old = true }")
    expect(alice.page.locator("#card-sync:not([data-old])")).to_be_focused()


def test_each_part_of_a_page_is_asked_for_as_often_as_it_says(visit: Visit, live: Live) -> None:
    alice = visit(cdn=None)
    alice.page.clock.install()
    alice.sign_in(live.cast.alice)
    asked: list[str] = []
    alice.page.on("request", lambda request: asked.append(request.resource_type))
    alice.page.clock.run_for(12_000)
    assert "fetch" not in asked
    with alice.page.expect_request("**/clinics"):
        alice.page.clock.run_for(4_000)


def test_trouble_is_told_without_htmx_too(visit: Visit, live: Live) -> None:
    alice = visit(cdn=None)
    alice.sign_in(live.cast.alice)
    alice.open("/clinics/1")
    alice.press("Sync all patients")
    alice.page.route("**/progress", lambda route: route.abort())
    alice.sees("Patient Sync cannot be reached just now")
    alice.page.unroute("**/progress")
    expect(alice.page.locator("#toast")).to_be_hidden()
