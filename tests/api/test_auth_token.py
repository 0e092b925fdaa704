"""POST /api/v1/auth/token"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.api.envelope import details_of
from tests.cast import PASSWORD, Cast
from webapp.clock import now
from webapp.extensions import transaction
from webapp.services import passwords, people

URL = "/api/v1/auth/token"
BOB = "bob@example.com"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, cast: Cast) -> Iterator[None]:
    """Password hashes are slow on purpose; not so where dozens of passwords are tried."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(1, 8, 1))
    passwords._nobodys_hash.cache_clear()
    people.set_password(cast.bob, PASSWORD)
    yield
    passwords._nobodys_hash.cache_clear()


def ask(client: FlaskClient, email: str, password: str, address: str = "192.0.2.1") -> TestResponse:
    body = {"email": email, "password": password}
    return client.post(URL, json=body, environ_overrides={"REMOTE_ADDR": address})


def test_a_token_opens_the_api(client: FlaskClient, cast: Cast) -> None:
    answer = ask(client, BOB, PASSWORD)

    body = answer.get_json()
    assert answer.status_code == 200
    assert list(body) == ["access_token", "token_type", "expires_in"]
    assert body["token_type"] == "Bearer"
    header = {"Authorization": f"Bearer {body['access_token']}"}
    seen = client.get("/api/v1/organizations", headers=header).get_json()
    assert [each["id"] for each in seen["organizations"]] == [cast.surf.id]


def test_expires_in_agrees_with_the_token(client: FlaskClient, cast: Cast) -> None:
    body = ask(client, BOB, PASSWORD).get_json()

    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert abs(claims["exp"] - now().timestamp() - body["expires_in"]) < 5
    assert 3500 < body["expires_in"] <= 3600


def test_the_address_may_be_written_in_any_case(client: FlaskClient, cast: Cast) -> None:
    assert ask(client, " BOB@Example.com ", PASSWORD).status_code == 200


def test_nothing_tells_whether_an_account_exists(client: FlaskClient, cast: Cast) -> None:
    with transaction():
        cast.charlie.active = False

    answers = [
        ask(client, BOB, "wrong"),
        ask(client, "nobody@example.com", "wrong"),
        ask(client, "charlie@example.com", PASSWORD),
    ]

    for answer in answers:
        details_of(answer, 401, "AUTHENTICATION_REQUIRED")
    assert len({answer.get_data() for answer in answers}) == 1


def test_a_cookie_is_neither_needed_nor_given(client: FlaskClient, cast: Cast) -> None:
    assert "Set-Cookie" not in ask(client, BOB, PASSWORD).headers


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ([], "body"),
        (None, "body"),
        ("text", "body"),
        ({}, "email"),
        ({"email": BOB}, "password"),
        ({"email": BOB, "password": ""}, "password"),
        ({"email": BOB, "password": None}, "password"),
        ({"email": BOB, "password": ["a"]}, "password"),
        ({"email": {"$ne": ""}, "password": PASSWORD}, "email"),
        ({"email": "a" * 321, "password": PASSWORD}, "email"),
        ({"email": "bob\0@example.com", "password": PASSWORD}, "email"),
        ({"email": BOB, "password": "\ud800"}, "body"),  # half a character is no JSON
        ({"email": BOB, "password": PASSWORD, "role": "admin"}, "role"),
        ({"email": BOB, "password": "a" * 5000}, "password"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(
    client: FlaskClient, cast: Cast, body: Any, parameter: str
) -> None:
    answer = client.post(URL, data=json.dumps(body), content_type="application/json")

    assert details_of(answer, 400, "VALIDATION_ERROR") == {"parameter": parameter}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"email=bob"]
)
def test_a_body_that_is_no_json_is_refused(client: FlaskClient, body: bytes) -> None:
    answer = client.post(URL, data=body, content_type="application/json")

    details_of(answer, 400, "VALIDATION_ERROR")


def test_a_form_is_refused(client: FlaskClient, cast: Cast) -> None:
    answer = client.post(URL, data={"email": BOB, "password": PASSWORD})

    details_of(answer, 415, "VALIDATION_ERROR")


def test_a_body_above_a_mebibyte_is_refused(client: FlaskClient) -> None:
    body = json.dumps({"email": BOB, "password": "a" * 1024 * 1024})

    answer = client.post(URL, data=body, content_type="application/json")

    details_of(answer, 413, "PAYLOAD_TOO_LARGE")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("email", [BOB, "nobody@example.com"])
def test_the_eleventh_wrong_password_for_an_account_is_not_heard(
    client: FlaskClient, email: str
) -> None:
    for _ in range(10):
        details_of(ask(client, email, "wrong"), 401, "AUTHENTICATION_REQUIRED")

    for password in ("wrong", PASSWORD):
        answer = ask(client, email.upper(), password)
        details_of(answer, 429, "RATE_LIMITED")
        assert 1 <= int(answer.headers["Retry-After"]) <= 900


@pytest.mark.usefixtures("quick")
def test_strangers_who_guess_do_not_lock_the_owner_out(client: FlaskClient) -> None:
    for guess in range(10):
        ask(client, BOB, "wrong", address=f"198.51.100.{guess // 2}")

    assert ask(client, BOB, PASSWORD, address="203.0.113.9").status_code == 200


@pytest.mark.usefixtures("quick")
def test_every_further_address_may_guess_once(client: FlaskClient) -> None:
    for _ in range(10):
        ask(client, BOB, "wrong")

    for guesser in range(3):
        address = f"198.51.100.{guesser}"
        details_of(ask(client, BOB, "wrong", address), 401, "AUTHENTICATION_REQUIRED")
        details_of(ask(client, BOB, "wrong", address), 429, "RATE_LIMITED")


@pytest.mark.usefixtures("quick")
def test_the_twenty_first_wrong_password_from_an_address_is_not_heard(client: FlaskClient) -> None:
    for guess in range(20):
        answer = ask(client, f"nobody{guess}@example.com", "wrong")
        details_of(answer, 401, "AUTHENTICATION_REQUIRED")

    details_of(ask(client, BOB, PASSWORD), 429, "RATE_LIMITED")
    assert ask(client, BOB, PASSWORD, address="192.0.2.2").status_code == 200


@pytest.mark.usefixtures("quick")
def test_one_ipv6_customer_counts_as_one_address(client: FlaskClient) -> None:
    for guess in range(20):
        ask(client, f"nobody{guess}@example.com", "wrong", address=f"2001:db8::{guess:x}")

    details_of(ask(client, BOB, PASSWORD, "2001:db8::ffff"), 429, "RATE_LIMITED")
    assert ask(client, BOB, PASSWORD, address="2001:db8:0:1::1").status_code == 200


@pytest.mark.usefixtures("quick")
def test_an_ipv4_address_that_is_written_as_ipv6_is_one_address(client: FlaskClient) -> None:
    for guess in range(20):
        ask(client, f"nobody{guess}@example.com", "wrong", address="::ffff:192.0.2.1")

    details_of(ask(client, BOB, PASSWORD, "192.0.2.1"), 429, "RATE_LIMITED")
    assert ask(client, BOB, PASSWORD, "::ffff:192.0.2.2").status_code == 200


@pytest.mark.usefixtures("quick")
def test_right_passwords_use_nothing_up(client: FlaskClient) -> None:
    for _ in range(25):
        assert ask(client, BOB, PASSWORD).status_code == 200


@pytest.mark.usefixtures("quick")
def test_of_many_guesses_at_once_only_ten_are_told_that_they_are_wrong(app: Flask) -> None:
    def guess(_: int) -> int:
        return ask(app.test_client(), BOB, "wrong").status_code

    with ThreadPoolExecutor(8) as threads:
        answers = Counter(threads.map(guess, range(30)))

    assert answers == {401: 10, 429: 20}


@pytest.mark.usefixtures("quick")
def test_a_forwarded_address_gives_no_new_tries(client: FlaskClient) -> None:
    for guess in range(11):
        answer = client.post(
            URL,
            json={"email": BOB, "password": "wrong"},
            headers={"X-Forwarded-For": f"198.51.100.{guess}"},
        )

    details_of(answer, 429, "RATE_LIMITED")
