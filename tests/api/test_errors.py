"""Every road to an error leads through the one shape of `envelope.py`.

Who is refused what stands in `tests/access`; what gunicorn answers by itself, in `tests/web`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.test import TestResponse

from simulator.server import Simulator
from tests.access.table import Door, routes
from tests.api.envelope import details_of
from tests.api.roads import (
    API,
    OF_NO_CLINIC,
    ROADS,
    TOKEN,
    WITH_RETRY_AFTER,
    Canary,
    Stage,
)
from tests.cast import Cast
from webapp.api.error_codes import ONLY_IN_SYNC_LOGS, STATUS
from webapp.errors import ErrorCode
from webapp.extensions import db

ENDPOINTS = [
    (method, route.rule.replace("<org_id>", "{org}").replace("<sync_log_id>", "1"))
    for route in routes()
    if route.is_api and route.door is Door.TOKEN
    for method in route.methods
]
TECHNICAL = re.compile(r"canary|SELECT|INSERT|Traceback|sqlite|webapp/|\.py")


def told(answer: TestResponse) -> str:
    """All that the client gets to see."""
    return f"{answer.headers}{answer.get_data(as_text=True)}"


@pytest.fixture
def stage(
    app: Flask,
    cast: Cast,
    cliniko: Simulator,
    alice: FlaskClient,
    bob: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    return Stage(app, cast, cliniko, alice, bob, monkeypatch.setitem)


def test_every_error_code_has_a_status_and_a_road() -> None:
    assert set(STATUS) == set(ErrorCode)
    assert all(400 <= status < 600 for status in STATUS.values())
    assert set(ROADS) | ONLY_IN_SYNC_LOGS == set(ErrorCode)


@pytest.mark.parametrize("code", ROADS)
def test_every_road_leads_to_the_one_shape(stage: Stage, code: ErrorCode) -> None:
    answer = ROADS[code](stage)

    details = details_of(answer, STATUS[code], code)
    assert ("organization_id" in details) == (code not in OF_NO_CLINIC)
    assert not TECHNICAL.search(told(answer))
    assert ("Retry-After" in answer.headers) == (code in WITH_RETRY_AFTER)
    assert ("Allow" in answer.headers) == (code == ErrorCode.METHOD_NOT_ALLOWED)


JSON = {"content_type": "application/json"}
HTTP = [
    ("GET", "/api", {}, 404),
    ("GET", "/api/", {}, 404),
    ("GET", "/api/v1", {}, 404),
    ("GET", "/api/v1/", {}, 404),
    ("POST", "/api", {"headers": {"Sec-Fetch-Site": "cross-site"}}, 404),
    ("POST", "/api/v1/nothing", {}, 404),
    ("GET", "/api/v2/cliniko/status/1", {}, 404),
    ("GET", "/api/v1/cliniko/status", {}, 404),
    ("GET", "/api/v1/cliniko/status/", {}, 404),
    ("GET", "/api/v1/cliniko/status/1/", {}, 404),
    ("GET", "/api/v1/cliniko/status/1/2", {}, 404),
    ("GET", "/api/v1/cliniko/STATUS/1", {}, 404),
    ("GET", "/api/V1/cliniko/status/1", {}, 404),
    ("GET", "/api/v1/cliniko/a%2Fb", {}, 404),
    ("GET", "/api/v1//cliniko/status/1", {}, 404),
    ("GET", "/api/v1/../v1/cliniko/status/1", {}, 404),
    ("GET", "/api/%2e%2e/clinics", {}, 404),
    ("GET", "/api/v1/organizations.", {}, 404),
    ("GET", "/api/v1/organizations;x", {}, 404),
    ("GET", "/api/v1/organizations%00", {}, 404),
    ("GET", "/api/<script>", {}, 404),
    ("PROPFIND", "/api/v1/organizations", {}, 405),
    ("TRACE", "/api/v1/organizations", {}, 405),
    ("GET", "/api/v1/cliniko/sync-all/1?_method=POST", {}, 405),
    ("GET", TOKEN, {"headers": {"X-HTTP-Method-Override": "POST"}}, 405),
    ("GET", "/api", {"environ_overrides": {"QUERY_STRING": "a=\xff"}}, 400),
    ("GET", "/api/v1/cliniko/active-patients/1?search=%00", {}, 400),
    ("GET", "/api/v1/cliniko/sync-logs/1?limit=1&limit=2", {}, 400),
    ("POST", TOKEN, {"data": "email=a"}, 415),
    ("POST", TOKEN, {"data": "{}", "content_type": "text/plain"}, 415),
    ("POST", TOKEN, {"data": "", **JSON}, 400),
    ("POST", TOKEN, {"data": "{", **JSON}, 400),
    ("POST", TOKEN, {"data": "[]", **JSON}, 400),
    ("POST", TOKEN, {"data": "[" * 100_000, **JSON}, 400),
    ("POST", TOKEN, {"data": b'{"email": "\xff", "password": "x"}', **JSON}, 400),
    ("POST", TOKEN, {"data": r'{"email": "a\u0000", "password": "x"}', **JSON}, 400),
    ("POST", TOKEN, {"data": r'{"email": "\ud800", "password": "x"}', **JSON}, 400),
    ("POST", TOKEN, {"json": {"email": "bob@example.com", "password": "wrong"}}, 401),
]
CODES = {
    400: "VALIDATION_ERROR",
    401: "AUTHENTICATION_REQUIRED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    415: "VALIDATION_ERROR",
}


@pytest.mark.parametrize(("method", "path", "options", "status"), HTTP)
def test_every_misunderstanding_has_the_one_shape(
    bob: FlaskClient, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    answer = bob.open(path, method=method, **options)

    details_of(answer, status, CODES[status])
    assert ("Allow" in answer.headers) == (status == 405)
    assert not TECHNICAL.search(told(answer))


def test_two_slashes_in_front_are_one(client: FlaskClient) -> None:
    for path, status in [("//api/v1/organizations", 401), ("//api/nothing", 404)]:
        answer = client.get("/", environ_overrides={"PATH_INFO": path})
        details_of(answer, status, CODES[status])


NO_IDS = [
    *("abc", "0", "01", "-1", "+1", "1.0", "1e3", "9" * 17, "9223372036854775808"),
    *("%20", "1%20", "1%0A", "1%00", "%ff", "%2e%2e", "1;x", "1'--", "null", "a" * 5000),
    "%EF%BC%91%EF%BC%92%EF%BC%93",  # full-width digits
    "%D9%A1",  # an Arabic digit
]


@pytest.mark.parametrize(("method", "path"), [each for each in ENDPOINTS if "{org}" in each[1]])
def test_an_id_that_is_none(alice: FlaskClient, vera: FlaskClient, method: str, path: str) -> None:
    for org_id in NO_IDS:
        for client in (alice, vera):
            answer = client.open(path.format(org=org_id), method=method)
            assert details_of(answer, 400, "INVALID_ORGANIZATION_ID") == {}, org_id


def test_head_and_options_have_no_envelope_to_send(bob: FlaskClient, cast: Cast) -> None:
    path = f"{API}/status/{cast.surf.id}"
    good, bad, told_ = bob.head(path), bob.head(f"{API}/status/abc"), bob.options(path)

    assert (good.status_code, good.data) == (200, b"")
    assert (bad.status_code, bad.data, bad.mimetype) == (400, b"", "application/json")
    assert (told_.status_code, told_.data) == (200, b"")
    assert set(told_.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert all(answer.headers["X-Request-ID"] for answer in (good, bad, told_))


@contextmanager
def broken_database(*, spared: str) -> Iterator[None]:
    """Every statement is a mistake of ours, but for those with this word in them."""

    def fail(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if spared not in statement:
            raise Canary

    event.listen(db.engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        event.remove(db.engine, "before_cursor_execute", fail)


@pytest.mark.parametrize(
    ("method", "path", "spared"),
    [*((*endpoint, "api_tokens") for endpoint in ENDPOINTS), ("POST", TOKEN, "nothing")],
)
def test_what_nobody_expected_is_logged_under_the_id_of_the_request_and_not_told(
    alice: FlaskClient,
    cast: Cast,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    spared: str,
) -> None:
    url = path.format(org=cast.surf.id)
    body = {"email": "alice@example.com", "password": "any"} if path == TOKEN else None

    with broken_database(spared=spared):
        answer = alice.open(url, method=method, json=body)

    details_of(answer, 500, "INTERNAL_ERROR")
    assert not TECHNICAL.search(told(answer))
    (entry,) = [each for each in caplog.records if "request_failed" in each.getMessage()]
    assert isinstance(entry.msg, dict)
    assert entry.msg["request_id"] == answer.headers["X-Request-ID"]
    assert isinstance(entry.msg["exc_info"], Canary)


def test_a_failure_in_a_hook_after_the_view_has_the_shape_too(
    app: Flask, alice: FlaskClient
) -> None:
    @app.after_request
    def fail(_: Any) -> Any:
        raise Canary

    app.config["PROPAGATE_EXCEPTIONS"] = False  # as in production
    answer = alice.get("/api/v1/organizations")

    # The hooks that give the id have not run, so this is not the whole shape.
    assert (answer.status_code, answer.get_json()["error_code"]) == (500, "INTERNAL_ERROR")
    assert not TECHNICAL.search(told(answer))
