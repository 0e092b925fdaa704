"""What gunicorn writes down of each request"""

from __future__ import annotations

import requests

from tests.support.processes import wait_until
from tests.web.conftest import Web

PROGRESS = "/clinics/1/syncs/1/progress"


def log_of(web: Web, path: str) -> str:
    """All lines, once that of one more request, to this path, is there."""
    requests.get(f"{web.url}{path}", timeout=40, allow_redirects=False)
    wait_until(lambda: path in web.log.read_text())
    return web.log.read_text()


def test_an_answered_poll_leaves_no_line(web: Web) -> None:
    browser = web.sign_in("bob@example.com")

    assert browser.get(web.url + PROGRESS, timeout=40).status_code == 200

    assert PROGRESS not in log_of(web, "/first-mark")


def test_a_poll_that_was_refused_leaves_one(web: Web) -> None:
    headers = {"HX-Request": "true"}
    answer = requests.get(web.url + PROGRESS, headers=headers, timeout=40, allow_redirects=False)

    line = next(line for line in log_of(web, "/second-mark").splitlines() if PROGRESS in line)
    assert f"GET {PROGRESS} {answer.status_code}" in line


def test_a_search_leaves_its_path_alone(web: Web) -> None:
    browser = web.sign_in("bob@example.com")

    answer = browser.get(f"{web.url}/clinics/1/patients?q=Olivia", timeout=40)

    assert answer.status_code == 200
    log = log_of(web, "/third-mark")
    assert "GET /clinics/1/patients 200" in log
    assert "Olivia" not in log
