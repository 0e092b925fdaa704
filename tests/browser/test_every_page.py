"""Every page: no complaint of the browser, nothing that axe objects to, no scrolling sideways"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import expect
from sqlalchemy import update

from tests.api.rows import hold, make_log, record, refuse, store
from tests.browser.conftest import Live, Visitor
from tests.cast import PASSWORD
from tests.codes import code_of
from webapp.clock import now
from webapp.extensions import transaction
from webapp.models import (
    SUBSCRIBABLE,
    DeliveryState,
    OperationType,
    Organization,
    PauseReason,
    SyncStatus,
    UserSession,
    WebhookEvent,
)
from webapp.services import invitations, organizations
from webapp.services.webhooks import endpoints, outbox
from webapp.sync.changes import ChangeCounts
from webapp.sync.progress import Progress

PAGES = [
    "/sign-in",
    "/api/docs",
    "/clinics",
    "/api-access",
    "/people",
    "/people/2/role",
    "/account",
    "/account/second-factor",
    "/audit",
    "/audit?who=nobody",
    "/clinics/new",
    "/clinics/1",
    "/clinics/1/patients",
    "/clinics/1/patients/1",
    "/clinics/1/schedule",
    "/clinics/1/audit",
    "/clinics/1/settings",
    "/clinics/1/syncs",
    "/clinics/1/syncs/1/changes",
    "/clinics/1/syncs/2",
    "/clinics/1/syncs/3",
    "/clinics/1/webhooks",
    "/clinics/1/webhooks/1",
    "/clinics/2",
    "/clinics/2/syncs/5",
    "/clinics/2/syncs/5/removals",
    "/clinics/3",
]
LONG = "Harbour" * 25

# Values that have no room beside their word, and numbers that do not stand in one line.
SQUEEZED = """() => [...document.querySelectorAll(".kv dd, .figures dd")].filter((value) => {
    const text = document.createRange();
    text.selectNodeContents(value);
    const number = value.matches(".kv:not(.wide-kv) .num, .figures dd")
        && !value.textContent.includes(" ");
    const lines = new Set([...text.getClientRects()].map((line) => Math.round(line.bottom)));
    const share = value.clientWidth / value.closest("dl").clientWidth;
    return (value.closest(".kv") && share < 0.3) || (number && lines.size > 1)
        || value.scrollWidth > value.clientWidth;
}).map((value) => value.textContent)"""


@pytest.fixture
def filled(live: Live) -> None:
    """A running sync, one that failed, failed records, held removals, a patient, a webhook with
    messages, and very long names."""
    surf = live.cast.surf
    webhook(surf)
    store(surf, record(1, LONG, LONG, email=f"{LONG}@example.com", phones=((LONG, "0" * 90),)))
    refuse(surf, 40)
    many = {"added": 1_234_567, "updated": 28_400, "fields": {"date_of_birth": 1_234_567}}
    told = {"changes": ChangeCounts().to_json() | many, "requests_made": 12_345}
    make_log(
        surf,
        SyncStatus.RUNNING,
        started_at=now(),
        worker="w",
        records_success=1,
        progress=Progress(OperationType.FULL_PATIENTS).metadata() | told,
    )
    hold(live.cast.northside, 60)
    make_log(
        live.cast.northside, SyncStatus.FAILED, error_code="INTERNAL_ERROR", error_message=LONG
    )
    organizations.add(LONG)


def webhook(clinic: Organization) -> None:
    """One that was stopped, with a message that waits, one that failed and one that arrived."""
    address = f"https://hooks.example.com/{LONG}"
    endpoint, _ = endpoints.add(clinic, address, SUBSCRIBABLE, actor=None)
    attempts: list[dict[str, Any]] = [
        {"at": "2026-03-02T09:30:00Z", "status": None, "problem": "timed_out", "ms": 15_000},
        {"at": "2026-03-02T09:30:20Z", "status": 500, "problem": None, "ms": 87},
    ]
    with transaction():
        endpoint.paused_at, endpoint.paused_because = now(), PauseReason.EXHAUSTED
        for state in DeliveryState:
            delivery = outbox.put_for(endpoint, WebhookEvent.SYNC_FAILED, {"message": LONG})
            delivery.state, delivery.attempts = state, attempts


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_people_with_any_eyes_and_hands_can_use_it(
    visit: Callable[..., Visitor], live: Live, scheme: str
) -> None:
    alice = visit(color_scheme=scheme)
    alice.open(PAGES[0])
    assert_accessible(alice, scheme)
    alice.sign_in(live.cast.alice)
    for path in PAGES[1:]:
        alice.open(path)
        assert_accessible(alice, scheme)
    assert alice.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_anybody_can_choose_a_password(
    visit: Callable[..., Visitor], live: Live, scheme: str
) -> None:
    nina = visit(color_scheme=scheme, viewport={"width": 360, "height": 700})
    nina.open(f"/invitation?secret={invitations.renew(live.cast.bob)}")
    assert_narrow_and_accessible(nina, scheme)
    nina.page.get_by_label("Password").fill("four words that only Bob has")
    nina.press("Save and sign in")
    nina.sees("you are signed in")
    assert nina.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_anybody_can_set_up_a_second_factor_and_sign_in_with_it(
    visit: Callable[..., Visitor], live: Live, scheme: str
) -> None:
    bob = visit(color_scheme=scheme, viewport={"width": 360, "height": 700})
    bob.sign_in(live.cast.bob)
    bob.open("/account/second-factor")
    bob.page.get_by_label("Your password").fill(PASSWORD)
    bob.press("Set it up")
    bob.sees("Scan it with your phone")
    assert_narrow_and_accessible(bob, scheme)
    assert bob.page.evaluate("document.querySelector('.qr').naturalWidth") > 100
    key = bob.page.locator("dd.token").inner_text().replace(" ", "")
    bob.page.get_by_label("The code that the app shows").fill(code_of(key))
    bob.press("Turn it on")
    bob.sees("Your recovery codes")
    assert_narrow_and_accessible(bob, scheme)
    codes = bob.page.get_by_label("Codes", exact=True).input_value().split()
    bob.open("/account/second-factor")
    bob.press("Remove")
    bob.sees("Sign in with the password alone?")
    assert_narrow_and_accessible(bob, scheme)

    again = visit(color_scheme=scheme, viewport={"width": 360, "height": 700})
    again.open("/sign-in")
    again.page.get_by_label("E-mail address").fill(live.cast.bob.email)
    again.page.get_by_label("Password").fill(PASSWORD)
    again.press("Sign in")
    again.sees("Your code")
    assert_narrow_and_accessible(again, scheme)
    again.page.get_by_label("Code", exact=True).fill(codes[0])
    again.press("Sign in")
    again.sees("9 are left")
    assert bob.complaints == again.complaints == []


@pytest.mark.usefixtures("filled")
def test_no_screen_scrolls_sideways_or_breaks_values_into_letters(
    visit: Callable[..., Visitor], live: Live
) -> None:
    alice = visit()
    alice.sign_in(live.cast.alice)
    for path in [*PAGES[1:], "/nothing"]:
        alice.open(path)
        for width in (1240, 1000, 768, 360, 320):
            assert_fits(alice, width)
            assert alice.page.evaluate(SQUEEZED) == [], (path, width)


@pytest.mark.usefixtures("filled")
def test_a_file_and_the_password_for_it_fit_on_any_screen(
    visit: Callable[..., Visitor], live: Live
) -> None:
    alice = visit()
    alice.sign_in(live.cast.alice)
    with transaction() as session:
        session.execute(update(UserSession).values(proved_at=now() - timedelta(hours=1)))
    for path in ("/clinics/1/patients", "/audit", "/clinics/1/audit"):
        alice.open(path)
        expect(alice.page.get_by_label("Your password")).to_be_visible()
        for width in (1000, 360, 320):
            assert_fits(alice, width)


@pytest.mark.usefixtures("filled")
def test_a_narrow_screen_hides_nothing_that_stands_nowhere_else(
    visit: Callable[..., Visitor], live: Live
) -> None:
    alice = visit(viewport={"width": 360, "height": 700})
    alice.sign_in(live.cast.alice)
    for path, words in {
        "/clinics": "Last synced",
        "/people": "Clinic",
        "/audit": "By way of",
        "/clinics/1/patients": "Born",
        "/clinics/1/syncs": "What",
    }.items():
        alice.open(path)
        cells = alice.page.locator(f"td.wide[data-label='{words}']")
        expect(cells.first).to_be_visible()
        label = cells.first.evaluate("cell => getComputedStyle(cell, '::before').content")
        assert words in label


def test_who_has_the_system_choose_the_colours_can_tell_things_apart(
    visit: Callable[..., Visitor], live: Live
) -> None:
    surf = live.cast.surf
    entered = {"connecting": 0.2, "fetching": 1.0, "reconciling": 200.0, "finished": 262.0}
    told = Progress(OperationType.FULL_PATIENTS).metadata() | {"phases_entered_after": entered}
    log = make_log(surf, progress=told)
    alice = visit(forced_colors="active")
    alice.sign_in(live.cast.alice)
    alice.open(f"/clinics/{surf.id}/syncs/{log.id}")

    def looks(selector: str, style: str) -> list[str]:
        of_each = f"all => all.map((each) => getComputedStyle(each).{style})"
        found: list[str] = alice.page.locator(selector).evaluate_all(of_each)
        return found

    keys = looks(".key", "backgroundColor")
    assert len(keys) == len(set(keys)) > 2
    current = looks(".tabs a[aria-current]", "borderBottomColor")
    assert len({*current, *looks(".tabs a:not([aria-current])", "borderBottomColor")}) == 2
    assert looks(".topbar nav a[aria-current]", "textDecorationLine") == ["underline"]
    assert looks(".bar", "borderTopStyle") == ["solid"]


def test_a_list_on_paper_begins_below_its_heading(
    visit: Callable[..., Visitor], live: Live
) -> None:
    store(live.cast.surf, *(record(number, "Olive", f"Marsh{number}") for number in range(1, 51)))
    alice = visit()
    alice.sign_in(live.cast.alice)
    alice.open("/clinics/1/patients")
    alice.page.emulate_media(media="print")
    breaks = "element => getComputedStyle(element).breakInside"
    assert alice.page.locator(".card:has(tbody)").evaluate(breaks) == "auto"
    assert alice.page.locator("tbody tr").first.evaluate(breaks) == "avoid"
    for pressed in (".topbar", "form.pager"):
        assert not alice.page.locator(pressed).is_visible()
    assert alice.page.locator("nav.pager").is_visible()


def test_what_is_planted_in_a_page_does_not_run(visit: Callable[..., Visitor], live: Live) -> None:
    alice = visit()
    alice.sign_in(live.cast.alice)
    alice.page.evaluate(
        """() => {
            document.body.insertAdjacentHTML("beforeend", `
                <img src="data:," onerror="window.ran = 1">
                <b hx-on:click="window.ran = 2" style="color: red">press</b>
                <i data-hx-get="/clinics" data-hx-trigger="load" data-hx-target="main">x</i>
                <u hx-get="https://evil.example/" hx-trigger="click">elsewhere</u>`);
            htmx.process(document.body, true);
        }"""
    )
    asked: list[str] = []
    alice.page.on("request", lambda request: asked.append(request.url))
    alice.page.get_by_text("press").click()
    alice.page.get_by_text("elsewhere").click()
    alice.sees("Patient Sync cannot be reached just now")
    assert alice.page.evaluate("window.ran") is None
    # The browser tells of what the policy refused, and asks for nothing else; our icon may be late.
    assert {urlsplit(url).path for url in asked} <= {"/csp-report", "/static/favicon.svg"}


def assert_narrow_and_accessible(visitor: Visitor, scheme: str) -> None:
    assert_accessible(visitor, scheme)
    assert_fits(visitor, 360)


def assert_fits(visitor: Visitor, width: int) -> None:
    visitor.page.set_viewport_size({"width": width, "height": 700})
    wide = visitor.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, visitor.page.url


def assert_accessible(visitor: Visitor, scheme: str = "light") -> None:
    """Nothing that axe objects to; in the dark, where all but the colours is the same, to them."""
    options: dict[str, Any] = {"rules": {"target-size": {"enabled": True}}}
    if scheme == "dark":
        options = {"runOnly": ["color-contrast"]}
    found = Axe().run(visitor.page, options=options)
    assert found.violations_count == 0, found.generate_report()
