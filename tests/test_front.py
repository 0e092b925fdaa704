"""Hosts, proxies and bodies, before the application looks at a request."""

from __future__ import annotations

import json
from io import BytesIO
from urllib.parse import urlencode

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from config import load
from tests.access.headers import wrong_headers
from tests.api.envelope import details_of
from tests.cast import PASSWORD, Cast
from tests.pages.visitor import Visitor
from webapp import create_app

EVIL = "evil.example"
ADDRESSES = [
    "/",
    "/clinics",
    "/clinics/",
    "/clinics//1",
    "/no-such-page",
    "/sign-in",
    "/static/app.css",
    "/static//app.css",
    "/api",
    "/api/v1//organizations",
    "/api/v1/organizations",
    "/api/v1/cliniko/sync/1",
]


@pytest.fixture
def named(environment: dict[str, str]) -> FlaskClient:
    """The client of an application that goes by two names."""
    hosts = {"ALLOWED_HOSTS": "clinic.example, .clinics.example"}
    return create_app(load(environment | hosts)).test_client()


@pytest.mark.parametrize(
    "host",
    [
        "clinic.example",
        "clinic.example:8443",
        "clinics.example",
        "a.clinics.example",
    ],
)
def test_it_answers_to_its_names(named: FlaskClient, host: str) -> None:
    assert named.get("/sign-in", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        EVIL,
        "localhost",
        "clinic.example.evil.example",
        "notclinics.example",
        "a.clinic.example",
        "clinic.example@evil.example",
        "clinic.example/evil.example",
        "clinic.example:99999",
        "clinic.example, evil.example",
        "a..clinics.example",
        "",
    ],
)
def test_it_answers_to_no_other_name(named: FlaskClient, host: str) -> None:
    page = named.get("/sign-in", headers={"Host": host})
    api = named.get("/api/v1/organizations", headers={"Host": host})

    assert page.status_code == 400
    assert "does not go by the name" in page.text
    assert details_of(api, 400, "VALIDATION_ERROR") == {"parameter": "Host"}


@pytest.mark.parametrize("host", ["a" * 64, f"{'a' * 64}.example:8000", ".a", "a..b", "..."])
@pytest.mark.parametrize(
    "address", ["/sign-in", "/no-such-page", "/healthz", "/static/app.css", "/api/v1/organizations"]
)
def test_a_host_that_no_name_can_be_is_refused_as_any_other(
    client: FlaskClient, named: FlaskClient, address: str, host: str
) -> None:
    for each in (client, named):
        answer = each.get(address, headers={"Host": host})

        assert answer.status_code == 400
        assert "does not go by the name" in answer.text
        assert not list(wrong_headers(answer, address))


def test_another_header_does_not_name_it(named: FlaskClient) -> None:
    forged = {
        "Host": EVIL,
        "X-Forwarded-Host": "clinic.example",
        "Forwarded": "host=clinic.example",
    }

    assert named.get("/sign-in", headers=forged).status_code == 400


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_answer_repeats_the_host(client: FlaskClient, named: FlaskClient, address: str) -> None:
    headers = {"Host": EVIL, "X-Forwarded-Host": EVIL, "X-Forwarded-Prefix": f"//{EVIL}"}
    for each, method in ((client, "GET"), (client, "POST"), (named, "GET")):
        with each.open(address, method=method, headers=headers) as answer:
            assert EVIL not in f"{answer.headers}{answer.get_data(as_text=True)}"


def origin(settings: dict[str, str], **headers: str) -> tuple[str | None, str]:
    """The address and the scheme that the application sees of a request with these headers."""
    app = create_app(load(settings))
    seen: list[tuple[str | None, str]] = []
    app.before_request(lambda: seen.append((request.remote_addr, request.scheme)))
    app.test_client().get(
        "/healthz", headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
    return seen[0]


@pytest.mark.parametrize(
    ("proxies", "forwarded_for", "seen"),
    [
        ("0", "203.0.113.7", "127.0.0.1"),
        ("1", "203.0.113.7", "203.0.113.7"),
        ("1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("2", "198.51.100.1, 203.0.113.7, 192.0.2.4", "203.0.113.7"),
        ("0", None, "127.0.0.1"),
        ("1", None, "127.0.0.1"),
        ("1", "", "unknown"),
        ("2", "203.0.113.7", "unknown"),
        ("1", '"198.51.100.1, 203.0.113.7', "203.0.113.7"),
        ("1", '"\\, 203.0.113.7', "203.0.113.7"),
        ("2", '198.51.100.1", "203.0.113.7, 192.0.2.4', "unknown"),
        ("2", '198.51.100.1, ", 203.0.113.7, 192.0.2.4', "203.0.113.7"),
        ("1", "203.0.113.7:51234", "203.0.113.7"),
        ("1", "2a02:db8:0:0::7", "2a02:db8::7"),
        ("1", "[2a02:db8::7]:51234", "2a02:db8::7"),
        ("1", "[2a02:db8::7]", "2a02:db8::7"),
        ("1", "fe80::1%eth0", "fe80::1"),
        ("1", "::ffff:203.0.113.7", "203.0.113.7"),
        ("1", "unix:", "unknown"),
        ("1", "[2a02:db8::7", "unknown"),
        ("1", "a" * 46, "unknown"),
    ],
)
def test_so_many_proxies_are_believed_and_no_more(
    environment: dict[str, str], proxies: str, forwarded_for: str | None, seen: str
) -> None:
    settings = environment | {"TRUSTED_PROXIES": proxies}
    told = {} if forwarded_for is None else {"X_Forwarded_For": forwarded_for}

    address, _ = origin(settings, **told, X_Real_IP="198.51.100.1", Forwarded="for=198.51.100.1")

    assert address == seen


@pytest.mark.parametrize(
    ("proxies", "forwarded_proto", "seen"),
    [
        ("0", "https", "http"),
        ("1", "https", "https"),
        ("1", "http, https", "https"),
        ("1", '", https', "https"),
        ("1", "https, http", "http"),
        ("1", "HTTPS", "https"),
        ("1", "gopher", "http"),
        ("2", "https, http", "https"),
        ("2", "https", "http"),
    ],
)
def test_a_proxy_tells_of_tls(
    environment: dict[str, str], proxies: str, forwarded_proto: str, seen: str
) -> None:
    settings = environment | {"TRUSTED_PROXIES": proxies}

    _, scheme = origin(settings, X_Forwarded_Proto=forwarded_proto)

    assert scheme == seen


# As gunicorn hands bodies over: it ends them itself, and does not say whether they were whole.
TERMINATED = {"wsgi.input_terminated": True}


@pytest.mark.parametrize(("missing", "status"), [(0, 200), (1, 400)])
def test_json_that_breaks_off_is_refused(
    client: FlaskClient, cast: Cast, missing: int, status: int
) -> None:
    body = json.dumps({"email": "bob@example.com", "password": PASSWORD}).encode()

    answer = client.post(
        "/api/v1/auth/token",
        input_stream=BytesIO(body),
        content_type="application/json",
        environ_overrides=TERMINATED | {"CONTENT_LENGTH": str(len(body) + missing)},
    )

    assert answer.status_code == status


def test_half_a_form_is_not_taken_for_the_whole(app: Flask, cast: Cast) -> None:
    bob = Visitor(app).signed_in(cast.bob)
    path = f"/clinics/{cast.surf.id}/settings/name"
    form = urlencode({"csrf_token": bob.csrf_token(), "name": "Surf Rehab Manly"}).encode()

    answer = bob.client.post(
        path,
        input_stream=BytesIO(form[:-6]),
        content_type="application/x-www-form-urlencoded",
        environ_overrides=TERMINATED | {"CONTENT_LENGTH": str(len(form))},
    )

    assert answer.status_code == 400
    assert "Surf Rehab</h1>" in bob.get(f"/clinics/{cast.surf.id}").text
