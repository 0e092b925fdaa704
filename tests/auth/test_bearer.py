"""Authorization: Bearer TOKEN, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from simulator.server import Simulator
from tests.auth.tokens_made_wrong import Forge
from tests.cast import PASSWORD, Cast
from webapp.auth.sessions import SESSION_KEY
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import Role
from webapp.services import people, sessions, tokens

URL = "/api/v1/organizations"
# Wrong though the signature is good: the database has to be asked about them.
KNOWN_ONLY_TO_THE_DATABASE = {
    "sub of another",
    "sub unknown",
    "epoch missing",
    "epoch of the past",
    "jti unknown",
}


@pytest.fixture
def forge(app: Flask, cast: Cast) -> Forge:
    return Forge.of(app, cast.bob)


@pytest.fixture
def queries(app: Flask, cast: Cast) -> Iterator[list[str]]:
    """Every statement that the database is asked to execute from now on."""
    seen: list[str] = []

    def note(_c: Any, _k: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    db.session.rollback()
    db.session.expunge_all()
    event.listen(db.engine, "before_cursor_execute", note)
    yield seen
    event.remove(db.engine, "before_cursor_execute", note)


@pytest.fixture
def ask(client: FlaskClient) -> Callable[[str], int]:
    """The status of the answer to a request with this Authorization header."""

    def ask(authorization: str) -> int:
        return client.get(URL, headers={"Authorization": authorization}).status_code

    return ask


def test_a_token_as_we_make_them_is_good(forge: Forge, ask: Callable[[str], int]) -> None:
    assert ask(f"Bearer {forge.token()}") == 200


def test_the_scheme_is_good_in_any_case(forge: Forge, ask: Callable[[str], int]) -> None:
    assert ask(f"bearer {forge.token()}") == 200


def test_no_wrong_token_is_good(
    forge: Forge,
    client: FlaskClient,
    cliniko: Simulator,
    queries: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bodies = {client.get(URL).get_data()}
    for wrong, token in forge.wrong_ones(cliniko.url).items():
        queries.clear()

        answer = client.get(URL, headers={"Authorization": f"Bearer {token}"})

        assert answer.status_code == 401, wrong
        assert answer.headers["WWW-Authenticate"] == "Bearer", wrong
        assert not queries or wrong in KNOWN_ONLY_TO_THE_DATABASE, wrong
        assert not token or token not in caplog.text, wrong
        bodies.add(answer.get_data())

    assert len(bodies) == 1
    assert b'"AUTHENTICATION_REQUIRED"' in bodies.pop()
    assert cliniko.requests == []


@pytest.mark.parametrize(
    "header",
    [
        "{token}",
        "Bearer",
        "Bearer ",
        "Bearer  ",
        "Basic {token}",
        "Token {token}",
        "Bearer {token} {token}",
        "Bearer {token},Bearer {token}",
        "Bearer {token}, Bearer {token}",
        'Bearer "{token}"',
        "Bearer: {token}",
        "Bearer\t{token}",
        "Bearer token={token}",
    ],
)
def test_no_other_form_of_the_header_is_good(
    forge: Forge, ask: Callable[[str], int], header: str
) -> None:
    assert ask(header.format(token=forge.token())) == 401


def test_two_headers_are_refused(client: FlaskClient, forge: Forge) -> None:
    header = ("Authorization", f"Bearer {forge.token()}")

    assert client.get(URL, headers=[header, header]).status_code == 401


def test_a_token_elsewhere_does_not_count(client: FlaskClient, forge: Forge) -> None:
    token = forge.token()
    client.set_cookie("access_token", token)
    client.set_cookie("Authorization", f"Bearer {token}")

    answer = client.get(f"{URL}?access_token={token}", headers={"X-Authorization": token})

    assert answer.status_code == 401


def test_a_session_cookie_does_not_count(client: FlaskClient, cast: Cast) -> None:
    _, secret = sessions.begin(cast.alice, address="", agent="")
    with client.session_transaction() as session:
        session[SESSION_KEY] = secret

    assert client.get(URL).status_code == 401
    post = client.post(f"/api/v1/cliniko/sync-all/{cast.surf.id}")
    assert post.status_code == 401


def test_beside_a_session_the_token_alone_decides(
    client: FlaskClient, forge: Forge, cast: Cast
) -> None:
    _, secret = sessions.begin(cast.alice, address="", agent="")
    with client.session_transaction() as session:
        session[SESSION_KEY] = secret

    good = client.get(URL, headers={"Authorization": f"Bearer {forge.token()}"})
    bad = client.get(URL, headers={"Authorization": "Bearer nonsense"})

    assert [each["id"] for each in good.get_json()["organizations"]] == [cast.surf.id]
    assert bad.status_code == 401


def test_no_answer_of_the_api_sets_a_cookie(client: FlaskClient, forge: Forge) -> None:
    for header in ({}, {"Authorization": f"Bearer {forge.token()}"}):
        assert "Set-Cookie" not in client.get(URL, headers=header).headers


def test_a_right_that_was_taken_away_is_gone_at_once(
    client: FlaskClient, forge: Forge, cast: Cast
) -> None:
    url = f"/api/v1/cliniko/active-patients/{cast.surf.id}"
    header = {"Authorization": f"Bearer {forge.token()}"}
    assert client.get(url, headers=header).status_code == 200

    with transaction():
        cast.bob.role = Role.VIEWER

    assert client.get(url, headers=header).status_code == 403


def test_who_was_switched_off_is_out_at_once(
    forge: Forge, ask: Callable[[str], int], cast: Cast
) -> None:
    with transaction():
        cast.bob.active = False

    assert ask(f"Bearer {forge.token()}") == 401


def test_another_password_ends_every_token(
    forge: Forge, ask: Callable[[str], int], cast: Cast
) -> None:
    people.set_password(cast.bob, PASSWORD)

    assert ask(f"Bearer {forge.token()}") == 401


def test_a_revoked_token_is_out_at_once(
    client: FlaskClient, ask: Callable[[str], int], cast: Cast
) -> None:
    kept, revoked = (tokens.issue(cast.bob, name=name)[0] for name in ("kept", "revoked"))
    (row,) = [row for row in tokens.of(cast.bob) if row.name == "revoked"]
    assert ask(f"Bearer {revoked}") == 200

    tokens.revoke(row.id, owner=cast.bob)

    assert (ask(f"Bearer {revoked}"), ask(f"Bearer {kept}")) == (401, 200)


def test_whoever_could_sign_for_us_cannot_prolong_a_token(
    forge: Forge, ask: Callable[[str], int]
) -> None:
    later = now() + timedelta(hours=2)
    moment = int(later.timestamp())
    longer = forge.token(iat=moment - 60, nbf=moment - 60, exp=moment + 600)

    with time_machine.travel(later):
        assert ask(f"Bearer {longer}") == 401


def test_what_is_signed_for_another_use_is_no_token(
    client: FlaskClient, ask: Callable[[str], int], cast: Cast
) -> None:
    page = client.get("/sign-in").text
    csrf = re.search(r'name="csrf_token" value="([^"]+)"', page)
    session = client.get_cookie("session")
    assert csrf is not None
    assert session is not None

    assert (ask(f"Bearer {csrf[1]}"), ask(f"Bearer {session.value}")) == (401, 401)


def test_another_clinic_counts_from_the_next_request_on(
    client: FlaskClient, forge: Forge, cast: Cast
) -> None:
    header = {"Authorization": f"Bearer {forge.token()}"}
    with transaction():
        cast.bob.organization_id = cast.northside.id

    seen = client.get(URL, headers=header).get_json()["organizations"]
    assert [each["id"] for each in seen] == [cast.northside.id]


@pytest.mark.parametrize("end", ["disabled_at", "deleted_at"])
def test_nobody_of_a_clinic_that_is_disabled_or_deleted_is_let_in(
    client: FlaskClient, cast: Cast, forge: Forge, end: str
) -> None:
    """Of one that is deleted nobody is active, but for who came to it at that moment."""
    header = {"Authorization": f"Bearer {forge.token()}"}
    with transaction():
        setattr(cast.surf, end, now())

    answer = client.get(URL, headers=header)
    assert (answer.status_code, answer.get_json()["error_code"]) == (403, "ORGANIZATION_DISABLED")


def test_after_a_rotation_old_tokens_live_on_until_the_old_key_is_removed(
    app: Flask, ask: Callable[[str], int], cast: Cast
) -> None:
    config = app.config
    old, _ = tokens.issue(cast.bob)
    config["SECRET_KEY_FALLBACKS"] = [config["SECRET_KEY"]]
    config["SECRET_KEY"] = "another secret, as long as the first one was"
    new, _ = tokens.issue(cast.bob)

    kids = [jwt.get_unverified_header(token)["kid"] for token in (old, new)]
    assert kids[0] != kids[1]
    assert (ask(f"Bearer {old}"), ask(f"Bearer {new}")) == (200, 200)
    config["SECRET_KEY_FALLBACKS"] = []
    assert (ask(f"Bearer {old}"), ask(f"Bearer {new}")) == (401, 200)


def test_one_query_finds_the_token_and_its_owner(
    ask: Callable[[str], int], forge: Forge, queries: list[str]
) -> None:
    token = forge.token()
    ask(f"Bearer {token}")
    db.session.rollback()
    queries.clear()

    assert ask(f"Bearer {token}") == 200

    about_people = [each for each in queries if "users" in each or "api_tokens" in each]
    assert len(about_people) == 1
    assert not any(each.startswith(("UPDATE", "INSERT", "DELETE")) for each in queries)


def test_another_secret_ends_every_token(app: Flask, ask: Callable[[str], int], cast: Cast) -> None:
    token, _ = tokens.issue(cast.bob)
    app.config["SECRET_KEY"] = "another secret, as long as the first one was"

    assert ask(f"Bearer {token}") == 401


def test_a_token_lasts_until_its_end_and_no_longer(forge: Forge, ask: Callable[[str], int]) -> None:
    moment = int(now().timestamp())

    almost = forge.token(exp=moment - 20)  # clocks differ a little: 30 seconds are let pass
    past = forge.token(exp=moment - 40)

    assert (ask(f"Bearer {almost}"), ask(f"Bearer {past}")) == (200, 401)


def test_a_token_for_a_year_is_the_longest(forge: Forge, ask: Callable[[str], int]) -> None:
    moment = int(now().timestamp())

    end = moment + int(timedelta(days=366).total_seconds())
    year = forge.token(iat=moment, nbf=moment, exp=end)
    longer = forge.token(iat=moment, nbf=moment, exp=end + 1)

    assert (ask(f"Bearer {year}"), ask(f"Bearer {longer}")) == (200, 401)
