"""What every answer carries: pages, API, static files, and errors of all of them."""

from __future__ import annotations

import re

import pytest
from cryptography.fernet import Fernet
from flask import Flask
from flask.testing import FlaskClient

from config import load
from tests.access.headers import POLICY, policies_of, wrong_headers
from tests.cast import Cast
from tests.conftest import as_user
from tests.pages.visitor import Visitor
from webapp import create_app

ADDRESSES = [
    "/",
    "/no-such-page",
    "/static/no-such-file.css",
    "/static/app.css",
    "/api/v1/organizations",
    "/api/v1/cliniko/status/1",
    "/api/no-such-endpoint",
]


# As everybody, for every route and method, in tests/access; here what does not occur there.
@pytest.mark.parametrize("address", ADDRESSES)
def test_the_headers_are_on_every_answer(client: FlaskClient, address: str) -> None:
    with client.get(address) as answer:
        assert list(wrong_headers(answer, address)) == []


def test_the_headers_are_on_a_file_that_has_not_changed(client: FlaskClient) -> None:
    with client.get("/static/app.css") as first:
        known = {"If-None-Match": first.headers["ETag"]}
    with client.get("/static/app.css", headers=known) as again:
        assert again.status_code == 304
        assert list(wrong_headers(again, "/static/app.css")) == []


@pytest.mark.parametrize("path", ["/clinics", "/api/v1/organizations"])
def test_the_headers_are_on_our_own_mistakes(
    app: Flask, cast: Cast, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret of the house")

    for module in ("services.organizations", "api.organizations"):
        monkeypatch.setattr(f"webapp.{module}.visible_to", fail)
    program = as_user(app, cast.bob)
    answer = Visitor(app).signed_in(cast.bob).get(path) if "api" not in path else program.get(path)

    assert answer.status_code == 500
    assert list(wrong_headers(answer, path)) == []


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://localhost",
        "http://localhost.evil.example",
        "http://evillocalhost",
        "http://localhost:8001",
        "*",
        "",
    ],
)
def test_no_other_site_may_read_answers(app: Flask, cast: Cast, origin: str) -> None:
    program = as_user(app, cast.bob)
    asks_first = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    for answer in (
        program.get("/api/v1/organizations", headers={"Origin": origin}),
        program.post("/api/v1/auth/token", headers={"Origin": origin}, json={}),
        program.options(f"/api/v1/cliniko/sync-all/{cast.surf.id}", headers=asks_first),
        Visitor(app).signed_in(cast.bob).get("/clinics", headers={"Origin": origin}),
    ):
        assert not [name for name in answer.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118


def test_the_policy_names_every_source_exactly(client: FlaskClient) -> None:
    (policy,) = policies_of(client.get("/sign-in"))

    assert policy == POLICY
    for sources in policy.values():
        for source in sources.split():
            # A source without a path would let in every package of the CDN.
            exact = r"'self'|'none'|/[a-z-]+|https://[^/*]+/[^*]+@[0-9.]+/[^*]+\.js"
            assert re.fullmatch(exact, source), source


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
def test_the_id_that_a_proxy_has_chosen_is_kept(
    app: Flask, client: FlaskClient, given: str
) -> None:
    app.config["TRUSTED_PROXIES"] = 1
    assert client.get("/api", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


def test_the_id_that_a_stranger_has_chosen_is_replaced(client: FlaskClient) -> None:
    given = "chosen-by-a-stranger"
    assert client.get("/api", headers={"X-Request-ID": given}).headers["X-Request-ID"] != given


@pytest.mark.parametrize("given", ["", "short", "0" * 65, "with space", "ümlaut-id", 'x"; a=<b>'])
def test_an_odd_id_is_replaced(app: Flask, client: FlaskClient, given: str) -> None:
    app.config["TRUSTED_PROXIES"] = 1
    answer = client.get("/api", headers={"X-Request-ID": given})

    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_answer_has_an_id_of_its_own(client: FlaskClient, address: str) -> None:
    ids = set()
    for _ in range(3):
        with client.get(address) as answer:
            ids.add(answer.headers["X-Request-ID"])

    assert len(ids) == 3


def test_an_address_that_holds_no_text_is_refused(client: FlaskClient) -> None:
    for address in ("/", "/api"):
        for query in ("next=\xff", "next=%ff", "%c3%28=1"):
            answer = client.get(address, environ_overrides={"QUERY_STRING": query})
            assert answer.status_code == 400
