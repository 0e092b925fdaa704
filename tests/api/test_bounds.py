"""Numbers, words and moments behind the question mark have bounds, at every endpoint alike."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from tests.api.envelope import details_of
from tests.api.rows import make_log
from tests.cast import Cast
from tests.conftest import as_user
from tests.corpus import HOSTILE
from webapp.api.openapi import operations
from webapp.services.webhooks import endpoints

OTHER_DIGITS = ["\uff11\uff10", "\u0661"]
NO_NUMBERS = [
    *OTHER_DIGITS,
    "-1",
    "+1",
    "1.0",
    "1e3",
    "0x1",
    "abc",
    "NaN",
    "",
    " 1",
    "1 ",
    "\uff11\uff10",
    "\u0661",
]
LONG = "1" * 10_000  # a rule that tries every way of reading it would not end


def limited(app: Flask, cast: Cast) -> list[tuple[str, set[str]]]:
    """Every endpoint that takes parameters, with their names."""
    webhook, _ = endpoints.add(
        cast.surf, "https://receiver.example.com/syncs", ["sync.failed"], actor=None
    )
    ids = {"orgId": cast.surf.id, "syncLogId": make_log(cast.surf).id, "webhookId": webhook.id}
    return [
        (path.format_map(ids), set(definition.query.model_fields))
        for path, _, _, definition in operations(app)
        if definition.query is not None
    ]


@pytest.fixture
def alice(app: Flask, cast: Cast) -> FlaskClient:
    alice = as_user(app, cast.alice)
    alice.get("/api/v1/organizations")  # the first request sets much up
    return alice


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return Redis.from_url(redis_url)


def refused(alice: FlaskClient, redis: Redis, path: str, **query: str | list[str]) -> None:
    redis.flushdb()  # so that no limit is met
    (name,) = query
    answer = alice.get(path, query_string=query)
    assert details_of(answer, 400, "VALIDATION_ERROR")["parameter"] == name, (path, query)


def test_what_is_no_number_is_refused(
    app: Flask, alice: FlaskClient, cast: Cast, redis: Redis
) -> None:
    for path, names in limited(app, cast):
        for name in names & {"limit", "offset", "after_id", "cursor"}:
            for value in [*NO_NUMBERS, "-" + LONG, LONG + "x"]:
                refused(alice, redis, path, **{name: value})
        refused(alice, redis, path, limit="0")
        for name in names & {"offset", "after_id", "cursor"}:
            refused(alice, redis, path, **{name: LONG})


def test_a_limit_of_ten_thousand_digits_is_the_highest(
    app: Flask, alice: FlaskClient, cast: Cast
) -> None:
    for path, _ in limited(app, cast):
        assert alice.get(path, query_string={"limit": LONG}).status_code == 200


def test_what_is_given_twice_is_refused(
    app: Flask, alice: FlaskClient, cast: Cast, redis: Redis
) -> None:
    for path, names in limited(app, cast):
        for name in names:
            refused(alice, redis, path, **{name: ["1", "1"]})


def test_no_hostile_text_is_a_choice_or_a_moment(
    app: Flask, alice: FlaskClient, cast: Cast, redis: Redis
) -> None:
    for path, names in limited(app, cast):
        for name in names - {"search"}:
            for text in HOSTILE:
                refused(alice, redis, path, **{name: text})


def test_a_search_takes_every_text_as_it_is(alice: FlaskClient, cast: Cast, redis: Redis) -> None:
    for text in HOSTILE:
        redis.flushdb()
        path = f"/api/v1/cliniko/active-patients/{cast.surf.id}"
        answer = alice.get(path, query_string={"search": text[:100]})
        assert (answer.status_code, answer.get_json()["patients"]) == (200, []), text
