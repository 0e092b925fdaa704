"""Takes pictures of every page, light, dark and on a phone, from a demo of its own, in a real
browser: script/pictures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from config import ROOT
from script.address import free_port
from script.serve import password_once_ready
from tests.support.browser import launch
from tests.support.htmx_package import htmx_file
from webapp.htmx import HTMX_URL
from webapp.services.demo import ADMIN

Scheme = Literal["light", "dark"]
PICTURES = ROOT / "docs" / "pictures"
DESK = ViewportSize(width=1240, height=860)
PHONE = ViewportSize(width=360, height=780)
LOOKS: dict[str, tuple[Scheme, ViewportSize]] = {
    "": ("light", DESK),
    "-dark": ("dark", DESK),
    "-phone": ("light", PHONE),
}


def main() -> int:
    """Start a demo, walk through it, and leave a picture of each page."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="pictures-") as folder,
        _demo(folder) as (url, password),
    ):
        htmx = htmx_file(Path(folder))
        with sync_playwright() as playwright:
            browser = launch(playwright)
            page = browser.new_page(viewport=DESK)
            page.route(
                HTMX_URL,
                lambda route: route.fulfill(
                    body=htmx,
                    content_type="text/javascript",
                    headers={"Access-Control-Allow-Origin": "*"},
                ),
            )
            _walk(page, url, password, folder)
            browser.close()
    return 0


def _walk(page: Page, url: str, password: str, folder: str) -> None:
    def take(name: str, *, whole: bool = True) -> None:
        for look, (scheme, size) in LOOKS.items():
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            path = PICTURES / f"{name}{look}.png"
            page.screenshot(path=path, full_page=whole, animations="disabled")
            print(f"docs/pictures/{path.name}")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(DESK)

    page.goto(url)
    take("sign-in")
    page.get_by_label("E-mail address").fill(ADMIN)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/clinics")
    page.goto(f"{url}/clinics/new")
    take("add-clinic")

    page.goto(f"{url}/clinics/1")
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    page.get_by_role("button", name="Sync all patients").click()
    expect(page.get_by_text(re.compile(r"^\d+ of 648$"))).to_be_visible()
    take("syncing")
    expect(page.get_by_text("All 648 patients are in step")).to_be_visible(timeout=30_000)
    _sync_again(folder)

    for name, path in {
        "clinic": "/clinics/1",
        "clinics": "/clinics",
        "patients": "/clinics/1/patients",
        "sync-history": "/clinics/1/syncs",
        "sync": "/clinics/1/syncs/1",
        "settings": "/clinics/1/settings",
        "changes": "/clinics/1/syncs/1/changes",
        "schedule": "/clinics/1/schedule",
        "webhooks": "/clinics/1/webhooks",
        "audit": "/audit",
    }.items():
        page.goto(url + path, wait_until="networkidle")
        take(name, whole=name not in ("patients", "changes", "audit"))
    page.goto(f"{url}/clinics/1/patients")
    page.locator("tbody a").nth(3).click()
    page.wait_for_url("**/patients/*")
    take("patient")

    page.goto(f"{url}/api-access")
    page.get_by_label("Name").fill("Nightly report")
    page.get_by_role("button", name="Make token").click()
    expect(page.get_by_text("it will not be shown again")).to_be_visible()
    page.goto(f"{url}/api-access")  # a token belongs in no picture
    take("api-access")
    page.goto(f"{url}/people")
    take("people")
    page.goto(f"{url}/account")
    take("account")
    page.goto(f"{url}/api/docs")
    take("api-docs", whole=False)


def _sync_again(folder: str) -> None:
    """A few more times, so that there is a history."""
    command = [sys.executable, "-m", "flask", "--app", "webapp", "sync", "1", "--wait"]
    environ = os.environ | {"INSTANCE_DIR": folder}
    for _ in range(7):
        subprocess.run(command, cwd=ROOT, env=environ, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _demo(folder: str) -> Iterator[tuple[str, str]]:
    """The address of a demo that runs meanwhile, and the password of its admin."""
    port = free_port()
    environ = os.environ | {"INSTANCE_DIR": folder, "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "script.serve"]
    server = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{port}", password_once_ready(server.stdout)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
