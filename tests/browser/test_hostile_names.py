"""Names that try to be markup, read by a real browser: text, and nothing else happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from flask import Flask

from tests.api.rows import hold, make_log, record, store
from tests.browser.conftest import Live, Visitor
from tests.corpus import HOSTILE
from tests.support.web_server import web_server
from webapp.extensions import transaction
from webapp.htmx import HTMX_URL
from webapp.models import Organization, Patient, SyncLog, SyncStatus, User
from webapp.services import tokens

Visit = Callable[..., Visitor]
PER_PAGE = 50
# What a page asks for by itself: its files, and the polls of a card.
OWN = {"/static/app.css", "/static/app.js", "/static/favicon.svg", urlsplit(HTMX_URL).path}
PAGES = [
    "/clinics",
    "/clinics/1",
    "/clinics/1/patients/1",
    "/clinics/1/settings",
    "/clinics/1/syncs",
    "/clinics/1/syncs/1",
    "/clinics/2/syncs/2/removals",
    "/people",
    "/account",
    "/api-access",
]
GADGETS = '<b hx-get="/clinics" hx-trigger="load" hx-on:click="ran = 1" id="planted">'


def name_of(number: int) -> str:
    """Each hostile text once, behind a number that keeps the order."""
    return f"{number:03} {HOSTILE[number]}"


@pytest.fixture
def hostile(live: Live) -> None:
    """A patient for each text, and gadgets wherever else a name can stand."""
    surf = live.cast.surf
    store(surf, *(record(1000 + n, "x", name_of(n)) for n in range(len(HOSTILE))))
    hold(live.cast.northside, 1)
    make_log(surf, SyncStatus.FAILED, error_code="INTERNAL_ERROR")
    tokens.issue(live.cast.alice, name="Morning report")
    with transaction() as session:
        session.query(Organization).update({"name": GADGETS, "cliniko_name": GADGETS})
        session.query(User).filter(User.role == "viewer").update({"email": GADGETS})
        session.query(SyncLog).update({"error_message": GADGETS})
        session.query(Patient).filter(Patient.id == 1).update({"email": GADGETS, "phone": GADGETS})


@pytest.fixture
def alice(visit: Visit, live: Live, hostile: None) -> Visitor:
    alice = visit()
    alice.sign_in(live.cast.alice)
    return alice


@pytest.fixture
def asked(alice: Visitor) -> Iterator[list[str]]:
    """The path of every request that a page makes by itself."""
    asked: list[str] = []
    page = alice.page
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    yield asked
    assert alice.complaints == []


def test_every_patient_is_called_what_they_are_called(alice: Visitor, asked: list[str]) -> None:
    alice.open("/clinics/1/patients")
    seen: list[str] = []
    for first in range(0, len(HOSTILE), PER_PAGE):
        if first:
            alice.press("Next")
        alice.sees(f"x {first:03} ")
        names = alice.page.locator("#patients tbody .name")
        seen += names.evaluate_all("cells => cells.map(cell => cell.textContent)")
        # The link of each, its name set apart, and nothing that came with a name.
        assert names.locator("*").count() == names.locator("a, a > bdi").count()

    expected = [f"x {name_of(number)}" for number in range(len(HOSTILE))]
    assert [in_one_line(name) for name in seen] == [in_one_line(name) for name in expected]
    assert set(asked) <= OWN | {"/clinics/1/patients"}


def test_no_page_runs_or_asks_for_what_stands_in_a_name(alice: Visitor, asked: list[str]) -> None:
    for path in PAGES:
        asked.clear()
        alice.open(path)
        alice.page.wait_for_load_state("networkidle")
        assert set(asked) <= OWN | {path}
        assert alice.page.locator("#planted").count() == 0, path
        assert alice.page.evaluate("window.ran") is None, path


def test_another_site_cannot_show_a_page_in_a_frame_of_its_own(visit: Visit, live: Live) -> None:
    mallory = visit()
    site = Flask("mallory")
    frame = f'<iframe src="{live.url}/sign-in"></iframe><p>Win a prize</p>'
    site.add_url_rule("/", "prize", lambda: frame)
    with web_server(site) as url:
        mallory.page.route(f"{url}/**", lambda route: route.continue_())
        mallory.page.goto(url)
        mallory.sees("Win a prize")
        mallory.page.wait_for_load_state("networkidle")
        (shown,) = mallory.page.frames[1:]
        assert shown.get_by_text("Sign in").count() == 0
        assert [each for each in mallory.complaints if "frame-ancestors 'none'" in each]


def in_one_line(text: str) -> str:
    return " ".join(text.split())
