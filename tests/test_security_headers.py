"""What every answer carries: pages, API, static files, and errors of all of them."""

from __future__ import annotations

import re

import pytest
from cryptography.fernet import Fernet
from flask import Flask
from flask.testing import FlaskClient

from config import load
from tests.cast import Cast
from tests.conftest import as_user
from webapp import create_app
from webapp.htmx import HTMX_URL

ADDRESSES = [
    "/",
    "/no-such-page",
    "/static/no-such-file.css",
    "/api/v1/organizations",
    "/api/v1/cliniko/status/1",
    "/api/no-such-endpoint",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_headers_are_on_every_answer(client: FlaskClient, address: str) -> None:
    headers = client.get(address).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert headers.getlist("Content-Security-Policy") == [headers["Content-Security-Policy"]]
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost"])
def test_no_other_site_may_read_answers(app: Flask, cast: Cast, origin: str) -> None:
    answer = as_user(app, cast.bob).get("/api/v1/organizations", headers={"Origin": origin})

    assert not [name for name in answer.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118


def test_the_policy_names_every_source_exactly(client: FlaskClient) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]
    directives = dict(each.split(" ", 1) for each in policy.split("; "))

    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == f"'self' {HTMX_URL}"
    assert directives["base-uri"] == directives["frame-ancestors"] == "'none'"
    assert directives["form-action"] == directives["connect-src"] == "'self'"
    assert "unsafe" not in policy
    assert "*" not in policy
    # A source without a path would let in every package of the CDN.
    for source in re.findall(r"https?:[^ ;]*", policy):
        assert re.fullmatch(r"https://[^/]+/.+@[0-9.]+/.+\.js", source), source


def test_what_is_made_for_somebody_is_not_kept(app: Flask, cast: Cast, client: FlaskClient) -> None:
    for answer in (
        client.get("/"),
        client.get("/no-such-page"),
        client.get("/api/no-such-endpoint"),
        as_user(app, cast.bob).get(f"/api/v1/cliniko/active-patients/{cast.surf.id}"),
    ):
        assert answer.headers["Cache-Control"] == "no-store"


def test_browsers_are_told_to_use_https_in_production_only(
    client: FlaskClient, environment: dict[str, str]
) -> None:
    production = environment | {
        "ENV": "production",
        "SECRET_KEY": "Zq3vX9kLm2Rt7Yw1Bn5Hs8Jd4Fg6Pc0A",
        "CREDENTIALS_KEYS": Fernet.generate_key().decode(),
        "CLINIKO_API_URL": "https://cliniko.test/v1",
        "PUBLIC_URL": "https://patients.test",
    }
    answer = create_app(load(production)).test_client().get("/api")

    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert "Strict-Transport-Security" not in client.get("/api").headers


@pytest.mark.parametrize("given", ["a-proxy-chose-me", "A1_-b2C3", "0" * 64])
def test_the_id_that_a_proxy_has_chosen_is_kept(client: FlaskClient, given: str) -> None:
    assert client.get("/api", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "short", "0" * 65, "with space", "ümlaut-id", 'x"; a=<b>'])
def test_an_odd_id_is_replaced(client: FlaskClient, given: str) -> None:
    answer = client.get("/api", headers={"X-Request-ID": given})

    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_answer_has_an_id_of_its_own(client: FlaskClient, address: str) -> None:
    ids = {client.get(address).headers["X-Request-ID"] for _ in range(3)}

    assert len(ids) == 3


def test_an_address_that_holds_no_text_is_refused(client: FlaskClient) -> None:
    for address in ("/", "/api"):
        for query in ("next=\xff", "next=%ff", "%c3%28=1"):
            answer = client.get(address, environ_overrides={"QUERY_STRING": query})
            assert answer.status_code == 400
