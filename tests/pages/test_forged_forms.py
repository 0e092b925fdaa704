"""A form that another site makes a browser send is refused, whichever form, in whatever dress."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.routing import Rule

from config import Settings, load
from tests.api.rows import hold
from tests.cast import Cast
from tests.pages.visitor import Visitor
from tests.support.sqlite_state import SqliteState
from webapp import create_app
from webapp.extensions import db
from webapp.security import REPORTS
from webapp.services import tokens
from webapp.services.webhooks import endpoints

WEBHOOK = "https://receiver.example.com/syncs"
# Refusals are recorded, and that somebody is there.
NOTED = ("audit_", "sqlite_", "user_sessions")
FIELDS = {"name": "Forged", "email": "mallory@example.com", "role": "admin", "days": "30"}


@dataclass(frozen=True)
class Tokens:
    """What a forger could have got hold of."""

    good: str  # of this very session
    of_somebody_else: str
    of_the_session_before: str
    of_another_server: str


Forgery = Callable[[Tokens], dict[str, Any]]
FORGERIES: dict[str, Forgery] = {
    "no token": lambda _: {"data": FIELDS},
    "an empty token": lambda _: form(""),
    "nonsense": lambda _: form("nonsense"),
    "a token cut short": lambda known: form(known.good[:-1]),
    "a token with a letter changed": lambda known: form(changed(known.good)),
    "somebody else's": lambda known: form(known.of_somebody_else),
    "that of the session before": lambda known: form(known.of_the_session_before),
    "that of another server": lambda known: form(known.of_another_server),
    "a good one in the address": lambda known: {
        "data": FIELDS,
        "query_string": {"csrf_token": known.good},
    },
    "a good one in a cookie": lambda known: {
        "data": FIELDS,
        "headers": {"Cookie": f"csrf_token={known.good}"},
    },
    "a good one in a body of plain text": lambda known: {
        "data": urlencode(FIELDS | {"csrf_token": known.good}),
        "content_type": "text/plain",
    },
    "a good one in JSON": lambda known: {"json": FIELDS | {"csrf_token": known.good}},
    "another method in a header": lambda _: {
        "data": FIELDS,
        "headers": {"X-HTTP-Method-Override": "GET", "X-Method-Override": "GET"},
    },
    "another method in a field": lambda _: {"data": FIELDS | {"_method": "GET"}},
    "as if by htmx": lambda _: {"data": FIELDS, "headers": {"HX-Request": "true"}},
}


def changed(token: str) -> str:
    """With another letter in its middle, where each one counts."""
    middle = len(token) // 2
    letter = "B" if token[middle] == "A" else "A"
    return token[:middle] + letter + token[middle + 1 :]


def form(token: str) -> dict[str, Any]:
    return {"data": FIELDS | {"csrf_token": token}}


def forms(app: Flask) -> list[Rule]:
    """Every page that takes something in, but for the one that changes nothing."""
    return [
        rule
        for rule in app.url_map.iter_rules()
        if "POST" in (rule.methods or ()) and not rule.rule.startswith(("/api/", REPORTS))
    ]


def ask(client: FlaskClient, path: str, **request: Any) -> int:
    return Context().run(client.post, path, **request).status_code


@pytest.fixture
def known(
    app: Flask, cast: Cast, alice: Visitor, bob: Visitor, environment: dict[str, str]
) -> Tokens:
    another_server = create_app(
        load(environment | {"SECRET_KEY": "another key, that signs others"})
    )
    before = alice.csrf_token()
    alice.post("/sign-out")
    alice.signed_in(cast.alice)
    return Tokens(
        alice.csrf_token(), bob.csrf_token(), before, Visitor(another_server).csrf_token()
    )


@pytest.fixture
def places(cast: Cast) -> dict[str, Any]:
    """Something for every id in an address, so that only the token stands in the way."""
    held = hold(cast.surf, 3)
    webhook, _ = endpoints.add(cast.surf, WEBHOOK, ["sync.failed"], actor=None)
    endpoints.send_test(webhook, actor=None)
    tokens.issue(cast.alice, name="Morning report")
    ids = {"org_id": cast.surf.id, "sync_id": held.id, "user_id": cast.vera.id}
    return ids | {
        "token_id": 1,
        "session_id": 1,
        "webhook_id": 1,
        "delivery_id": 1,
        "patient_id": 1,
    }


@pytest.fixture
def paths(app: Flask, places: dict[str, Any]) -> list[str]:
    built = [rule.build(places, append_unknown=False) for rule in forms(app)]
    return [path for _, path in filter(None, built)]


def test_every_form_without_its_own_token_is_refused_and_changes_nothing(
    alice: Visitor, known: Tokens, paths: list[str], app: Flask, database_url: str
) -> None:
    assert len(paths) == len(forms(app)) > 15
    state = SqliteState(database_url)
    before = state.cells(but_for=NOTED)
    let_in = []
    for path in paths:
        for name, forgery in FORGERIES.items():
            # Whoever is signed in already is led on.
            refusal = 303 if path.startswith("/sign-in") else 400
            if ask(alice.client, path, **forgery(known)) != refusal:
                let_in.append((path, name))
        assert state.cells(but_for=NOTED) == before, path
    assert let_in == []


def test_its_own_token_lets_a_form_in(alice: Visitor, cast: Cast, paths: list[str]) -> None:
    """Else nothing was shown above."""
    for path in paths:
        alice.signed_in(cast.alice)
        assert alice.post(path, **FIELDS).status_code != 400, path


def test_cookies_and_tokens_of_forms_are_signed_with_256_bits(alice: Visitor) -> None:
    cookie = alice.client.get_cookie("session")
    assert cookie is not None
    for signed in (cookie.value, alice.csrf_token()):
        signature = signed.rpartition(".")[2]
        assert len(urlsafe_b64decode(f"{signature}=")) * 8 == 256


def test_what_is_signed_in_a_token_of_forms_has_160_bits(alice: Visitor) -> None:
    value = json.loads(urlsafe_b64decode(alice.csrf_token().partition(".")[0] + "=="))
    assert len(bytes.fromhex(value)) * 8 == 160


NEW_KEY = "another key, that signs from now on"


def test_a_page_from_before_a_rotation_sends_its_form_until_the_old_key_is_removed(
    bob: Visitor, cast: Cast, settings: Settings
) -> None:
    path, token = f"/clinics/{cast.surf.id}/settings/name", bob.csrf_token()
    cookie = bob.client.get_cookie("session")
    assert cookie is not None

    def name_after_sending(*fallbacks: str) -> str:
        app = create_app(replace(settings, secret_key=NEW_KEY, secret_key_fallbacks=fallbacks))
        client = app.test_client()
        client.set_cookie("session", cookie.value)
        ask(client, path, data={"name": "Surf and Ski", "csrf_token": token})
        with app.app_context():
            db.engine.dispose()
        db.session.rollback()
        return cast.surf.name

    assert name_after_sending() == "Surf Rehab"
    assert name_after_sending("a key from long ago") == "Surf Rehab"
    assert name_after_sending(settings.secret_key, "a key from long ago") == "Surf and Ski"


def test_after_a_rotation_forms_are_signed_with_the_new_key(cast: Cast, settings: Settings) -> None:
    old_key = settings.secret_key
    rotated = replace(settings, secret_key=NEW_KEY, secret_key_fallbacks=(old_key,))
    token = Visitor(create_app(rotated)).csrf_token()

    assert URLSafeTimedSerializer(NEW_KEY, salt="wtf-csrf-token").loads(token)
    with pytest.raises(BadSignature):
        URLSafeTimedSerializer(old_key, salt="wtf-csrf-token").loads(token)


def test_no_other_method_reaches_what_a_form_does(
    alice: Visitor, paths: list[str], known: Tokens, database_url: str
) -> None:
    state = SqliteState(database_url)
    before = state.cells(but_for=NOTED)
    override = {"X-HTTP-Method-Override": "POST", "X-CSRFToken": known.good}
    for path in paths:
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            query = FIELDS | {"_method": "POST", "csrf_token": known.good}
            Context().run(
                alice.client.open, path, method=method, query_string=query, headers=override
            )
        assert state.cells(but_for=NOTED) == before, path


@pytest.mark.parametrize(
    "referrer",
    [
        None,
        "https://evil.example/",
        "http://localhost/",
        "https://localhost.evil.example/",
        "https://[",
        "https://localhost:99999/",
    ],
)
def test_over_https_a_form_says_that_it_comes_from_here(
    alice: Visitor, known: Tokens, referrer: str | None
) -> None:
    headers = {} if referrer is None else {"Referer": referrer}
    request = form(known.good) | {"base_url": "https://localhost", "headers": headers}
    assert ask(alice.client, "/account/sign-out-everywhere", **request) == 400

    request["headers"] = {"Referer": "https://localhost/account"}
    assert ask(alice.client, "/account/sign-out-everywhere", **request) == 303
