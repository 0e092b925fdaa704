"""The limits on reading: 60, 120, 120 and 10 requests a minute for one person and one clinic.

Those on messages to webhooks stand in `test_webhooks.py`."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from tests.api.envelope import details_of
from tests.cast import Cast
from tests.conftest import as_user
from webapp.clock import iso, now
from webapp.limits import RATES

LIMITS = [
    ("sync-logs", 60),
    ("status", 120),
    ("active-patients", 120),
    ("test-connection", 10),
]


@pytest.mark.parametrize(("endpoint", "limit"), LIMITS)
def test_so_many_pass_and_the_next_is_told_when(
    bob: FlaskClient, cast: Cast, endpoint: str, limit: int
) -> None:
    url = f"/api/v1/cliniko/{endpoint}/{cast.surf.id}"
    start = (now() + timedelta(minutes=1)).replace(microsecond=0)
    with time_machine.travel(start, tick=False) as clock:
        for left in reversed(range(limit)):
            answer = bob.get(url)
            assert answer.status_code == 200
            assert answer.headers["X-RateLimit-Limit"] == str(limit)
            assert answer.headers["X-RateLimit-Remaining"] == str(left)
            assert int(answer.headers["X-RateLimit-Reset"]) == start.timestamp() + 60
            assert "Retry-After" not in answer.headers
        clock.shift(20)

        answer = bob.get(url)

        details = details_of(answer, 429, "RATE_LIMITED")
        assert details == {
            "organization_id": cast.surf.id,
            "retry_at": iso(start + timedelta(seconds=60)),
        }
        assert answer.get_json()["message"] == "Too many requests. Try again in 40 seconds."
        assert answer.headers["Retry-After"] == "40"
        assert answer.headers["X-RateLimit-Remaining"] == "0"
        assert int(answer.headers["X-RateLimit-Reset"]) == start.timestamp() + 60
        clock.shift(41)
        assert bob.get(url).status_code == 200


def test_every_endpoint_in_the_table_of_rates_exists(app: Flask) -> None:
    assert set(RATES) <= set(app.view_functions)


def exhaust(client: FlaskClient, cast: Cast) -> None:
    """Use up a person's connection tests of Surf Rehab."""
    for _ in range(10):
        assert client.get(f"/api/v1/cliniko/test-connection/{cast.surf.id}").status_code == 200


def test_everybody_has_a_limit_of_their_own(
    bob: FlaskClient, alice: FlaskClient, cast: Cast
) -> None:
    exhaust(bob, cast)

    assert bob.get(f"/api/v1/cliniko/test-connection/{cast.surf.id}").status_code == 429
    assert alice.get(f"/api/v1/cliniko/test-connection/{cast.surf.id}").status_code == 200


def test_every_clinic_and_every_endpoint_has_a_limit_of_its_own(
    alice: FlaskClient, cast: Cast
) -> None:
    exhaust(alice, cast)

    other_clinic = alice.get(f"/api/v1/cliniko/test-connection/{cast.northside.id}")
    other_endpoint = alice.get(f"/api/v1/cliniko/status/{cast.surf.id}")
    assert (other_clinic.status_code, other_endpoint.status_code) == (200, 200)


def test_a_new_token_gives_no_new_allowance(app: Flask, bob: FlaskClient, cast: Cast) -> None:
    exhaust(bob, cast)

    again = as_user(app, cast.bob)

    assert again.get(f"/api/v1/cliniko/test-connection/{cast.surf.id}").status_code == 429


@pytest.mark.parametrize(("endpoint", "limit"), LIMITS)
def test_refusals_use_nothing_up_and_tell_of_the_limit(
    charlie: FlaskClient, client: FlaskClient, cast: Cast, endpoint: str, limit: int
) -> None:
    url = f"/api/v1/cliniko/{endpoint}/"
    answers = [
        client.get(f"{url}{cast.surf.id}"),
        charlie.get(f"{url}{cast.surf.id}"),
        charlie.get(f"{url}abc"),
    ]

    assert [answer.status_code for answer in answers] == [401, 403, 400]
    for answer in answers:
        assert answer.headers["X-RateLimit-Limit"] == str(limit)
        assert answer.headers["X-RateLimit-Remaining"] == str(limit)
        assert int(answer.headers["X-RateLimit-Reset"]) > now().timestamp()
    own = charlie.get(f"{url}{cast.northside.id}")
    assert own.headers["X-RateLimit-Remaining"] == str(limit - 1)


def test_a_request_that_is_not_understood_counts_all_the_same(bob: FlaskClient, cast: Cast) -> None:
    url = f"/api/v1/cliniko/sync-logs/{cast.surf.id}"

    assert bob.get(f"{url}?limit=none").headers["X-RateLimit-Remaining"] == "59"
    assert bob.get(url).headers["X-RateLimit-Remaining"] == "58"
    assert bob.get(f"{url}/999").headers["X-RateLimit-Remaining"] == "59"
    assert bob.get(f"{url}/999").headers["X-RateLimit-Remaining"] == "58"


def test_of_many_at_once_exactly_so_many_pass(app: Flask, cast: Cast) -> None:
    url = f"/api/v1/cliniko/test-connection/{cast.surf.id}"
    client = as_user(app, cast.bob)
    header = {"Authorization": client.environ_base["HTTP_AUTHORIZATION"]}

    def ask(_: int) -> int:
        return app.test_client().get(url, headers=header).status_code

    with ThreadPoolExecutor(8) as threads:
        answers = Counter(threads.map(ask, range(30)))

    assert answers == {200: 10, 429: 20}


def test_endpoints_without_a_limit_do_not_tell_of_one(bob: FlaskClient) -> None:
    assert "X-RateLimit-Limit" not in bob.get("/api/v1/organizations").headers


def test_how_many_guesses_are_left_is_told_to_nobody(client: FlaskClient, cast: Cast) -> None:
    guess = {"email": cast.bob.email, "password": "wrong"}
    answers = [client.post("/api/v1/auth/token", json=guess) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert not any("X-RateLimit-Limit" in answer.headers for answer in answers)
