"""Issuing tokens. What is no token is tested with the API, in tests/auth/test_bearer.py."""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest
import time_machine
from flask import Flask

from tests.cast import Cast
from webapp.clock import now
from webapp.errors import AuthenticationRequired
from webapp.services import tokens


def test_a_token_names_its_owner(app: Flask, cast: Cast) -> None:
    token, _ = tokens.issue(cast.bob)

    assert tokens.user_of(token) is cast.bob


def test_a_token_says_who_asks_and_nothing_of_what_they_may(app: Flask, cast: Cast) -> None:
    token, expires = tokens.issue(cast.bob)

    claims = jwt.decode(token, options={"verify_signature": False})
    assert set(claims) == {"iss", "aud", "sub", "iat", "nbf", "exp", "jti", "epoch"}
    assert (claims["sub"], claims["exp"]) == (str(cast.bob.id), expires)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "at+jwt"}


def test_no_two_tokens_are_the_same(app: Flask, cast: Cast) -> None:
    assert tokens.issue(cast.bob)[0] != tokens.issue(cast.bob)[0]


def test_a_token_lasts_an_hour_unless_said_otherwise(app: Flask, cast: Cast) -> None:
    start = now()
    hour, _ = tokens.issue(cast.bob)
    day, _ = tokens.issue(cast.bob, lifetime=timedelta(days=1))

    with time_machine.travel(start + timedelta(minutes=59), tick=False):
        assert tokens.user_of(hour) is cast.bob
    with time_machine.travel(start + timedelta(minutes=62), tick=False):
        assert tokens.user_of(day) is cast.bob
        with pytest.raises(AuthenticationRequired):
            tokens.user_of(hour)


def test_no_token_lasts_longer_than_a_year(app: Flask, cast: Cast) -> None:
    token, expires = tokens.issue(cast.bob, lifetime=timedelta(days=5000))

    assert expires - now().timestamp() <= timedelta(days=366).total_seconds()
    assert tokens.user_of(token) is cast.bob


def test_a_token_holds_no_secret(app: Flask, cast: Cast) -> None:
    token, _ = tokens.issue(cast.bob)

    header_and_claims = str(jwt.decode_complete(token, options={"verify_signature": False}))
    assert app.config["SECRET_KEY"] not in header_and_claims
    assert cast.bob.email not in header_and_claims
