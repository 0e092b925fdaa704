"""The CDN is blocked, or serves something else: the dashboard lives all the same"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import expect
from sqlalchemy import select, update

from tests.api.rows import make_log
from tests.browser.conftest import Live, Visitor
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import UserSession

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


@pytest.mark.parametrize("gone", [False, True])
def test_a_page_that_loads_itself_anew_keeps_nobody_signed_in(
    visit: Visit, live: Live, gone: bool
) -> None:
    vera = visit(cdn=None)
    vera.page.clock.install()
    vera.sign_in(live.cast.vera)
    vera.open("/clinics/1?page=2")
    seen = now() - timedelta(minutes=10)
    with transaction() as session:
        session.execute(update(UserSession).values(last_seen_at=seen))
    if gone:
        notice = '<p class="notice">Nothing is here.</p>'
        vera.page.route("**/news?*", lambda route: route.fulfill(status=404, body=notice))
    else:
        make_log(live.cast.surf)
    with vera.page.expect_navigation(wait_until="load"):
        vera.page.clock.run_for(11_000)
    expect(vera.page).to_have_url(f"{live.url}/clinics/1?page=2")  # as before
    assert vera.page.evaluate("history.state") is None
    last_seen = select(UserSession.last_seen_at)
    db.session.rollback()
    assert db.session.scalar(last_seen) == seen
    if not gone:
        vera.sees("Recent syncs")
        expect(vera.page.locator("#announcer")).not_to_be_empty()
    vera.page.reload()  # somebody is there after all
    db.session.rollback()
    assert (db.session.scalar(last_seen) or seen) > seen


def test_trouble_is_told_without_htmx_too(visit: Visit, live: Live) -> None:
    alice = visit(cdn=None)
    alice.sign_in(live.cast.alice)
    alice.open("/clinics/1")
    alice.press("Sync all patients")
    alice.page.route("**/progress", lambda route: route.abort())
    alice.sees("Patient Sync cannot be reached just now")
    alice.page.unroute("**/progress")
    expect(alice.page.locator("#toast")).to_be_hidden()


def test_a_server_that_hangs_is_told_of_and_asked_again(visit: Visit, live: Live) -> None:
    alice = visit(cdn=None)
    alice.page.add_init_script(
        "const after = AbortSignal.timeout;"
        "AbortSignal.timeout = (most) => after.call(AbortSignal, most / 10);"
    )
    alice.sign_in(live.cast.alice)
    alice.open("/clinics/1")
    alice.press("Sync all patients")
    alice.page.route("**/progress", lambda route: None)
    alice.sees("Patient Sync cannot be reached just now")
    alice.page.unroute("**/progress")
    expect(alice.page.locator("#toast")).to_be_hidden()
