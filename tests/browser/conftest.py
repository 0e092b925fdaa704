"""A real Chromium, a real web server, a real worker in another process, and a Cliniko."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Route,
    expect,
    sync_playwright,
)

from config import ROOT
from script import tether
from simulator.server import Simulator
from tests.cast import PASSWORD, Cast
from tests.support.browser import BrowserUnavailable, launch
from tests.support.htmx_package import HtmxUnavailable, htmx_file
from tests.support.quick_passwords import quick_passwords  # noqa: F401  (a fixture)
from tests.support.web_server import web_server
from webapp.htmx import HTMX_URL
from webapp.models import User


@dataclass(frozen=True)
class Live:
    """The system, running."""

    url: str
    cast: Cast


class Visitor:
    """Somebody at a browser: a page, and every complaint that the browser made meanwhile."""

    def __init__(self, page: Page, live: Live) -> None:
        self.page = page
        self.live = live
        self.complaints: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self._note("error", str(error)))

    def open(self, path: str) -> None:
        """Type an address of the system."""
        self.page.goto(self.live.url + path)

    def press(self, name: str) -> None:
        """Press the button with these words."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def sees(self, *words: str) -> None:
        """Wait until each of these words can be seen."""
        for each in words:
            expect(self.page.get_by_text(each).filter(visible=True).first).to_be_visible()

    def sign_in(self, user: User) -> None:
        """Sign in as a person does."""
        self.open("/sign-in")
        self.page.get_by_label("E-mail address").fill(user.email)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.press("Sign in")
        self.page.wait_for_url("**/clinics")

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)


expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The machine's Chromium, for the whole run."""
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright)
        except BrowserUnavailable as reason:
            pytest.skip(str(reason))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def htmx(request: pytest.FixtureRequest) -> bytes:
    """What the CDN would serve."""
    cache = request.config.cache
    assert cache is not None
    try:
        return htmx_file(cache.mkdir("htmx"))
    except HtmxUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def live(app: Flask, cast: Cast) -> Iterator[Live]:
    """The web server, without a worker yet."""
    with web_server(app) as url:
        yield Live(url, cast)


@pytest.fixture
def worker(live: Live, environment: dict[str, str]) -> Iterator[None]:
    """A worker in a process of its own, as `python worker.py` starts it."""
    with subprocess.Popen(
        [sys.executable, "worker.py"],
        cwd=ROOT,
        env=tether.environ(os.environ | environment),
        stderr=subprocess.DEVNULL,
    ) as process:
        yield
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()  # or it takes the jobs of the tests that follow


@pytest.fixture
def go_on(cliniko: Simulator) -> Iterator[threading.Event]:
    """Every sync of all patients halts behind the living ones, until this is set."""
    go_on = threading.Event()

    def halt(path: str, params: dict[str, list[str]], _number: int) -> None:
        if path == "/patients" and "updated_at" in str(params):  # the catch-up
            go_on.wait(60)

    cliniko.before_request = halt
    yield go_on
    go_on.set()


@pytest.fixture
def visit(browser: Browser, live: Live, htmx: bytes) -> Iterator[Callable[..., Visitor]]:
    """Opens a browser window, `cdn` being what the CDN answers; None: it does not.

    Other options are Playwright's.
    """
    contexts: list[BrowserContext] = []

    def visit(*, cdn: bytes | None = htmx, **options: Any) -> Visitor:
        context = browser.new_context(**options)
        contexts.append(context)
        context.route(lambda url: not url.startswith(live.url), lambda route: route.abort())
        if cdn is not None:
            context.route(HTMX_URL, _serve(cdn))
        context.set_default_timeout(20_000)
        return Visitor(context.new_page(), live)

    yield visit
    for context in contexts:
        context.close()


def _serve(content: bytes) -> Callable[[Route], None]:
    headers = {"Access-Control-Allow-Origin": "*", "Content-Type": "application/javascript"}
    return lambda route: route.fulfill(body=content, headers=headers)
