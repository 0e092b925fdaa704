"""What gunicorn writes down of each request"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import requests

from tests.support.processes import wait_until
from tests.web.conftest import Web
from tests.web.wire import exchange

PROGRESS = "/clinics/1/syncs/1/progress"


def lines_after(web: Web, path: str) -> list[dict[str, Any]]:
    """All lines, once that of one more request, to this path, is there."""
    requests.get(f"{web.url}{path}", timeout=40, allow_redirects=False)
    wait_until(lambda: path in web.log.read_text())
    return [json.loads(line) for line in web.log.read_text().splitlines()]


def paths(lines: list[dict[str, Any]]) -> list[str]:
    return [line["path"] for line in lines if line["event"] == "request"]


def test_an_answered_poll_leaves_no_line(web: Web) -> None:
    browser = web.sign_in("bob@example.com")

    assert browser.get(web.url + PROGRESS, timeout=40).status_code == 200

    assert PROGRESS not in paths(lines_after(web, "/first-mark"))


def test_a_poll_that_was_refused_leaves_one(web: Web) -> None:
    headers = {"HX-Request": "true"}
    answer = requests.get(web.url + PROGRESS, headers=headers, timeout=40, allow_redirects=False)

    line = next(line for line in lines_after(web, "/second-mark") if line.get("path") == PROGRESS)
    assert (line["method"], line["status"]) == ("GET", answer.status_code)


def test_a_line_says_when_who_and_which_request(web: Web) -> None:
    answer = requests.get(f"{web.url}/healthz?third", timeout=40)

    line = next(
        line
        for line in lines_after(web, "/third-mark")
        if line.get("request_id") == answer.headers["X-Request-ID"]
    )
    age = datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])
    assert 0 <= age.total_seconds() < 60
    assert (line["level"], line["path"], line["ip"]) == ("info", "/healthz", "127.0.0.1")


def test_a_search_leaves_its_path_alone(web: Web) -> None:
    browser = web.sign_in("bob@example.com")

    answer = browser.get(f"{web.url}/clinics/1/patients?q=Olivia", timeout=40)

    assert answer.status_code == 200
    assert "/clinics/1/patients" in paths(lines_after(web, "/fourth-mark"))
    assert "Olivia" not in web.log.read_text()


def test_nobody_can_write_a_line_of_their_own(web: Web) -> None:
    forged = '/a\n{"event": "forged"}\r\x1b[31m\u2028'
    encoded = "/" + "".join(f"%{byte:02x}" for byte in forged[1:].encode())
    for request in (f"GET {encoded}", "GET /b?c"):
        said = f"{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        exchange(web.address, said.encode())

    lines = lines_after(web, "/fifth-mark")
    assert forged in paths(lines)
    assert "forged" not in [line["event"] for line in lines]
    assert web.log.read_text().isascii()


def test_a_request_that_cannot_be_read_is_not_repeated(web: Web) -> None:
    for path in ("/api/v1/cliniko/active-patients/1?search=Olivia Nguyen", "/?a=Olivia\x1b[31m"):
        assert exchange(web.address, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())[0] == 400

    lines = lines_after(web, "/sixth-mark")
    refusals = [line for line in lines if line["event"] == "Invalid request from ip=127.0.0.1"]
    assert len(refusals) == 2
    assert not [line for line in refusals if "request_id" in line]  # it has none
    assert "Olivia" not in web.log.read_text()
