"""What gunicorn writes down of each request"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from tests.support.gunicorn_server import gunicorn
from tests.support.processes import wait_until
from tests.web.conftest import Web
from tests.web.wire import exchange

PROGRESS = "/clinics/1/syncs/1/progress"
REFUSAL = "Invalid request from ip=127.0.0.1"


Line = dict[str, Any]


def lines_of(web: Web) -> list[Line]:
    return [json.loads(line) for line in web.log.read_text().splitlines()]


def the_line(web: Web, wanted: Callable[[Line], bool]) -> Line:
    """The first such line. It is written after the answer, so it may be a moment late."""
    wait_until(lambda: any(map(wanted, lines_of(web))))
    return next(filter(wanted, lines_of(web)))


def of_path(path: str) -> Callable[[Line], bool]:
    return lambda line: line["event"] == "request" and line["path"] == path


def test_an_answered_poll_leaves_no_line(web: Web) -> None:
    browser = web.sign_in("bob@example.com")

    assert browser.get(web.url + PROGRESS, timeout=40).status_code == 200

    requests.get(f"{web.url}/first-mark", timeout=40)
    the_line(web, of_path("/first-mark"))
    assert not any(map(of_path(PROGRESS), lines_of(web)))


def test_a_poll_of_the_api_leaves_one_when_something_has_changed(web: Web) -> None:
    first = web.ask("GET", "/cliniko/sync-logs/1", to="bob")
    known = {"If-None-Match": first.headers["ETag"]}
    again = web.ask("GET", "/cliniko/sync-logs/1", to="bob", headers=known)
    assert (first.status_code, again.status_code) == (200, 304)

    requests.get(f"{web.url}/second-mark", timeout=40)
    the_line(web, of_path("/second-mark"))
    told = {line.get("request_id") for line in lines_of(web)}
    assert first.headers["X-Request-ID"] in told
    assert again.headers["X-Request-ID"] not in told


def test_a_poll_that_was_refused_leaves_one(web: Web) -> None:
    headers = {"HX-Request": "true"}
    answer = requests.get(web.url + PROGRESS, headers=headers, timeout=40, allow_redirects=False)

    line = the_line(web, of_path(PROGRESS))
    assert (line["method"], line["status"]) == ("GET", answer.status_code)


def test_a_line_says_when_who_and_which_request(web: Web) -> None:
    answer = requests.get(f"{web.url}/healthz?third", timeout=40)

    line = the_line(web, lambda line: line.get("request_id") == answer.headers["X-Request-ID"])
    age = datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])
    assert 0 <= age.total_seconds() < 60
    assert (line["level"], line["path"], line["ip"]) == ("info", "/healthz", "127.0.0.1")


def test_a_search_leaves_its_path_alone(web: Web) -> None:
    browser = web.sign_in("bob@example.com")

    answer = browser.get(f"{web.url}/clinics/1/patients?q=Olivia", timeout=40)

    assert answer.status_code == 200
    the_line(web, of_path("/clinics/1/patients"))
    assert "Olivia" not in web.log.read_text()


def test_an_error_past_every_handler_leaves_the_path_and_no_query(
    environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "web.log"
    with gunicorn(environment, log, "tests.support.broken:create_app()") as address:
        for start in ("", "http://127.0.0.1"):
            request = f"GET {start}/broken?search=Olivia HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            assert exchange(address, request.encode())[0] == 500

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = [line["event"] for line in lines if "nobody has caught this" in str(line)]
    assert told == [
        "Error handling request GET /broken",
        "Error handling request GET http://127.0.0.1/broken",
    ]
    assert "Olivia" not in log.read_text()


def test_nobody_can_write_a_line_of_their_own(web: Web) -> None:
    forged = '/a\n{"event": "forged"}\r\x1b[31m\u2028'
    encoded = "/" + "".join(f"%{byte:02x}" for byte in forged[1:].encode())
    for request in (f"GET {encoded}", "GET /b?c"):
        said = f"{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        exchange(web.address, said.encode())

    the_line(web, of_path(forged))
    the_line(web, of_path("/b"))
    assert "forged" not in [line["event"] for line in lines_of(web)]
    assert web.log.read_text().isascii()


def test_a_request_that_cannot_be_read_is_not_repeated(web: Web) -> None:
    for path in ("/api/v1/cliniko/active-patients/1?search=Olivia Nguyen", "/?a=Olivia\x1b[31m"):
        assert exchange(web.address, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())[0] == 400

    def refusals() -> list[Line]:
        return [line for line in lines_of(web) if line["event"] == REFUSAL]

    wait_until(lambda: len(refusals()) == 2)
    assert not [line for line in refusals() if "request_id" in line]  # it has none
    assert "Olivia" not in web.log.read_text()
