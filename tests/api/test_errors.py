"""Every road to an error leads through the one shape of `envelope.py`."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from tests.api.envelope import details_of
from tests.cast import Cast
from webapp.api.error_codes import STATUS
from webapp.errors import ErrorCode
from webapp.sync import history

API = "/api/v1/cliniko"
GETS = ("test-connection", "sync-logs", "status", "active-patients")
POSTS = ("sync-all", "sync", "cancel")
ENDPOINTS = [("GET", name) for name in GETS] + [("POST", name) for name in POSTS]
NO_IDS = [
    "abc",
    "0",
    "01",
    "-1",
    "+1",
    "1.0",
    "1e3",
    "9" * 17,
    "9223372036854775808",
    "%20",
    "1%20",
    "1%0A",
    "1%00",
    "%EF%BC%91%EF%BC%92%EF%BC%93",  # full-width digits
    "%D9%A1",  # an Arabic digit
    "%ff",
    "%2e%2e",
    "1;x",
    "1'--",
    "null",
    "a" * 5000,
]


@pytest.mark.parametrize(("method", "name"), ENDPOINTS)
def test_without_a_token(client: FlaskClient, method: str, name: str) -> None:
    for org_id in ("1", "abc", "999"):
        answer = client.open(f"{API}/{name}/{org_id}", method=method)
        details_of(answer, 401, "AUTHENTICATION_REQUIRED")


@pytest.mark.parametrize(("method", "name"), ENDPOINTS)
def test_an_id_that_is_none(alice: FlaskClient, vera: FlaskClient, method: str, name: str) -> None:
    for org_id in NO_IDS:
        for client in (alice, vera):
            answer = client.open(f"{API}/{name}/{org_id}", method=method)
            assert details_of(answer, 400, "INVALID_ORGANIZATION_ID") == {}, org_id


@pytest.mark.parametrize(("method", "name"), ENDPOINTS)
def test_a_clinic_that_does_not_exist(alice: FlaskClient, method: str, name: str) -> None:
    answer = alice.open(f"{API}/{name}/999", method=method)

    assert details_of(answer, 404, "ORGANIZATION_NOT_FOUND") == {"organization_id": 999}


@pytest.mark.parametrize(("method", "name"), ENDPOINTS)
def test_another_clinic_looks_the_same_whether_it_exists_or_not(
    charlie: FlaskClient, cast: Cast, method: str, name: str
) -> None:
    bodies = []
    for org_id in (cast.surf.id, 999):
        answer = charlie.open(f"{API}/{name}/{org_id}", method=method)
        details = details_of(answer, 403, "INSUFFICIENT_PERMISSIONS")
        assert details == {"organization_id": org_id}
        bodies.append(answer.get_data(as_text=True).replace(str(org_id), "ID"))

    assert bodies[0] == bodies[1]


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/v1",
        "/api/v2/cliniko/status/1",
        "/api/v1/cliniko/status",
        "/api/v1/cliniko/status/",
        "/api/v1/cliniko/status/1/",
        "/api/v1/cliniko/status/1/2",
        "/api/v1/cliniko/STATUS/1",
        "/api/v1/cliniko/a%2Fb",
        "/api/<script>",
    ],
)
def test_an_unknown_address(client: FlaskClient, path: str) -> None:
    details_of(client.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize(("method", "name"), ENDPOINTS)
def test_a_method_that_is_not_allowed(bob: FlaskClient, method: str, name: str) -> None:
    wrong = "POST" if method == "GET" else "GET"
    for other in (wrong, "PUT", "DELETE", "PATCH"):
        answer = bob.open(f"{API}/{name}/1", method=other)
        details_of(answer, 405, "METHOD_NOT_ALLOWED")
        assert method in answer.headers["Allow"]


def test_a_method_override_changes_nothing(bob: FlaskClient, cast: Cast) -> None:
    headers = {"X-HTTP-Method-Override": "POST"}

    answer = bob.get(f"{API}/sync-all/{cast.surf.id}?_method=POST", headers=headers)

    details_of(answer, 405, "METHOD_NOT_ALLOWED")


class Canary(Exception):
    """Something that nobody expected, with content that nobody may see."""

    def __init__(self) -> None:
        super().__init__("SELECT api_key FROM organizations WHERE name = 'canary'")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Makes every view fail in its service."""

    def fail(*_: Any, **__: Any) -> None:
        raise Canary

    for name in ("summary", "find", "get"):
        monkeypatch.setattr(history, name, fail)
    monkeypatch.setattr("webapp.services.patients.find", fail)
    monkeypatch.setattr("webapp.services.connection.test_connection", fail)
    monkeypatch.setattr("webapp.api.organizations.visible_to", fail)
    monkeypatch.setattr("webapp.api.syncs.start_once", fail)
    monkeypatch.setattr("webapp.api.syncs.cancel_sync", fail)
    monkeypatch.setattr("webapp.services.people.authenticate", fail)
    return monkeypatch


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{API}/status/1"),
        ("GET", f"{API}/sync-logs/1"),
        ("GET", f"{API}/sync-logs/1/1"),
        ("GET", f"{API}/active-patients/1"),
        ("GET", f"{API}/test-connection/1"),
        ("GET", "/api/v1/organizations"),
        ("POST", f"{API}/sync-all/1"),
        ("POST", f"{API}/cancel/1"),
        ("POST", "/api/v1/auth/token"),
    ],
)
def test_what_nobody_expected_is_logged_and_not_told(
    alice: FlaskClient, method: str, path: str
) -> None:
    body = {"email": "bob@example.com", "password": "any"} if "token" in path else None

    answer = alice.open(path, method=method, json=body)

    details_of(answer, 500, "INTERNAL_ERROR")
    told = answer.get_data(as_text=True) + str(answer.headers)
    assert not re.search("canary|SELECT|Traceback|webapp/|\\.py", told)


def test_the_log_tells_what_it_was_under_the_id_of_the_request(
    alice: FlaskClient, broken: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer = alice.get(f"{API}/status/1", headers={"X-Request-ID": "given-by-a-proxy"})

    entry = next(r for r in caplog.records if "request_failed" in r.getMessage())
    assert answer.headers["X-Request-ID"] == "given-by-a-proxy"
    assert isinstance(entry.msg, dict)
    assert entry.msg["request_id"] == "given-by-a-proxy"
    assert isinstance(entry.msg["exc_info"], Canary)


def test_a_database_that_is_away_is_no_riddle(
    alice: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT canary", {}, Exception("database is locked"))

    monkeypatch.setattr(history, "summary", fail)

    answer = alice.get(f"{API}/status/1")

    details_of(answer, 503, "DATABASE_UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "canary" not in answer.get_data(as_text=True)


def test_a_failure_in_a_hook_after_the_view_has_the_shape_too(
    app: Flask, alice: FlaskClient
) -> None:
    @app.after_request
    def fail(_: Any) -> Any:
        raise Canary

    app.config["PROPAGATE_EXCEPTIONS"] = False  # as in production
    answer = alice.get("/api/v1/organizations")

    body = json.loads(answer.get_data())
    assert (answer.status_code, body["error_code"]) == (500, "INTERNAL_ERROR")
    assert "canary" not in answer.get_data(as_text=True)


def test_every_error_code_has_a_status() -> None:
    assert set(STATUS) == set(ErrorCode)
    assert all(400 <= status < 600 for status in STATUS.values())


def test_a_head_request_is_answered_without_a_body(bob: FlaskClient, cast: Cast) -> None:
    good, bad = bob.head(f"{API}/status/{cast.surf.id}"), bob.head(f"{API}/status/abc")

    assert (good.status_code, good.get_data()) == (200, b"")
    assert (bad.status_code, bad.get_data()) == (400, b"")
