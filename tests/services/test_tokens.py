"""Issuing tokens. What is no token is tested with the API, in tests/auth/test_bearer.py."""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from tests.cast import Cast
from tests.support.databases import on_both
from webapp.clock import now
from webapp.errors import AuthenticationRequired, NotFound, ValidationError
from webapp.extensions import db
from webapp.models import ApiToken, AuditEvent, User
from webapp.services import people, tokens
from webapp.services.audit_events import Event


def test_a_token_names_its_owner(cast: Cast) -> None:
    token, _ = tokens.issue(cast.bob)

    assert tokens.row_of(token).user is cast.bob


def test_a_token_says_who_asks_and_nothing_of_what_they_may(app: Flask, cast: Cast) -> None:
    token, expires = tokens.issue(cast.bob)

    claims = jwt.decode(token, options={"verify_signature": False})
    assert set(claims) == {"iss", "aud", "sub", "iat", "nbf", "exp", "jti", "epoch"}
    assert (claims["sub"], claims["exp"]) == (str(cast.bob.id), expires)
    header = jwt.get_unverified_header(token)
    assert header == {"alg": "HS256", "typ": "at+jwt", "kid": header["kid"]}
    assert app.config["SECRET_KEY"][:8] not in header["kid"]


def test_whoever_was_signed_out_meanwhile_gets_none(cast: Cast) -> None:
    person = people.by_email("bob@example.com")
    assert person is not None
    with db.engine.begin() as somebody_else:
        somebody_else.execute(update(User).where(User.id == person.id).values(session_epoch=1))
    with pytest.raises(AuthenticationRequired):
        tokens.issue(person)
    assert db.session.scalar(select(func.count()).select_from(ApiToken)) == 0


def test_no_two_tokens_are_the_same(cast: Cast) -> None:
    assert tokens.issue(cast.bob)[0] != tokens.issue(cast.bob)[0]


def test_a_token_lasts_an_hour_unless_said_otherwise(cast: Cast) -> None:
    start = now()
    hour, _ = tokens.issue(cast.bob)
    day, _ = tokens.issue(cast.bob, lifetime=timedelta(days=1))

    with time_machine.travel(start + timedelta(minutes=59), tick=False):
        assert tokens.row_of(hour).user is cast.bob
    with time_machine.travel(start + timedelta(minutes=62), tick=False):
        assert tokens.row_of(day).user is cast.bob
        with pytest.raises(AuthenticationRequired):
            tokens.row_of(hour)


def test_no_token_lasts_longer_than_a_year(cast: Cast) -> None:
    token, expires = tokens.issue(cast.bob, lifetime=timedelta(days=5000))

    assert expires - now().timestamp() <= timedelta(days=366).total_seconds()
    assert tokens.row_of(token).user is cast.bob


def test_a_token_holds_no_secret(app: Flask, cast: Cast) -> None:
    token, _ = tokens.issue(cast.bob)

    header_and_claims = str(jwt.decode_complete(token, options={"verify_signature": False}))
    assert app.config["SECRET_KEY"] not in header_and_claims
    assert cast.bob.email not in header_and_claims


def test_a_name_stands_for_one_living_token(cast: Cast) -> None:
    tokens.issue(cast.bob, name="report")
    with pytest.raises(ValidationError) as refusal:
        tokens.issue(cast.bob, name=" report ")
    assert refusal.value.parameter == "name"
    tokens.issue(cast.vera, name="report")

    (row,) = tokens.of(cast.bob)
    tokens.revoke(row.id, owner=cast.bob)
    tokens.issue(cast.bob, name="report")


@pytest.mark.parametrize("name", ["", "  ", "a" * 101, "a\0b", "a\u202eb"])
def test_a_name_is_words(cast: Cast, name: str) -> None:
    with pytest.raises(ValidationError):
        tokens.issue(cast.bob, name=name)


def test_nobody_revokes_the_token_of_another(cast: Cast) -> None:
    token, _ = tokens.issue(cast.bob, name="report")
    (row,) = tokens.of(cast.bob)

    with pytest.raises(NotFound):
        tokens.revoke(row.id, owner=cast.vera)
    assert tokens.row_of(token).user is cast.bob

    tokens.revoke(row.id, owner=None)
    with pytest.raises(AuthenticationRequired):
        tokens.row_of(token)


def test_its_use_is_noted_once_a_minute(cast: Cast) -> None:
    start = now().replace(microsecond=0)
    with time_machine.travel(start, tick=False) as clock:
        token, _ = tokens.issue(cast.bob, name="report")
        (row,) = tokens.of(cast.bob)
        assert row.last_used_at is None
        noted = []
        for _ in range(4):
            clock.shift(30)
            tokens.row_of(token)
            noted.append(tokens.of(cast.bob)[0].last_used_at)

    seconds = [(moment - start).total_seconds() for moment in noted if moment]
    assert seconds == [30, 30, 30, 120]


def test_a_use_that_cannot_be_noted_does_no_harm(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, _ = tokens.issue(cast.bob)

    def locked() -> None:
        raise OperationalError("UPDATE", {}, Exception("database is locked"))

    monkeypatch.setattr(tokens, "transaction", locked)
    assert tokens.row_of(token).user.email == "bob@example.com"


def test_what_has_expired_is_forgotten_in_time(cast: Cast) -> None:
    tokens.issue(cast.bob)
    tokens.issue(cast.bob, name="report", lifetime=timedelta(days=1))
    with time_machine.travel(now() + timedelta(days=2)):
        tokens.issue(cast.bob)
        assert [row.state for row in tokens.of(cast.bob)] == ["expired", "active"]
        assert rows() == 2
    with time_machine.travel(now() + timedelta(days=32)):
        tokens.issue(cast.bob)
        assert rows() == 1


@on_both
def test_no_two_in_the_trail_have_one_id(cast: Cast) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        for _ in range(3):
            tokens.issue(cast.bob)
            clock.shift(timedelta(hours=2))  # the next one sweeps it away
    issued = select(AuditEvent.subject).where(AuditEvent.event == str(Event.TOKEN_ISSUED))
    assert len(set(db.session.scalars(issued))) == 3
    assert rows() == 1


def test_another_password_ends_them_in_the_list_too(cast: Cast) -> None:
    token, _ = tokens.issue(cast.bob, name="report")
    people.set_password(cast.bob, "another good password")

    with pytest.raises(AuthenticationRequired):
        tokens.row_of(token)
    assert [row.state for row in tokens.of(cast.bob)] == ["revoked"]


def rows() -> int:
    return db.session.scalar(select(func.count()).select_from(ApiToken)) or 0
