"""POST /api/v1/auth/token"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Condition
from typing import Any, Literal

import jwt
import pytest
import time_machine
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from limits import RateLimitItemPerMinute
from sqlalchemy import select
from werkzeug.test import TestResponse

from config import Settings
from tests.api.envelope import details_of
from tests.cast import PASSWORD, Cast
from tests.codes import set_up
from tests.pages.visitor import Visitor, text_of
from tests.support.databases import on_both
from tests.support.quick_passwords import QUICK
from webapp.clock import now
from webapp.errors import RateLimited
from webapp.extensions import db, transaction
from webapp.limits import sign_in
from webapp.models import AuditEvent, User
from webapp.services import invitations, passwords, people, second_factor
from webapp.services.audit_events import Event
from webapp.services.second_factor import CodeKind

URL = "/api/v1/auth/token"
BOB = "bob@example.com"
MOMENT = r"\d{4}-\d\d-\d\dT[\d:]+Z"


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


@pytest.mark.parametrize("email", [BOB, "nobody@example.com"])
@pytest.mark.usefixtures("cast")
def test_the_eleventh_wrong_password_for_an_account_is_not_heard(
    client: FlaskClient, email: str
) -> None:
    for _ in range(10):
        details_of(ask(client, email, "wrong"), 401, "AUTHENTICATION_REQUIRED")

    for password in ("wrong", PASSWORD):
        answer = ask(client, email.upper(), password)
        details = details_of(answer, 429, "RATE_LIMITED")
        seconds = int(answer.headers["Retry-After"])
        assert 1 <= seconds <= 900
        wait = datetime.fromisoformat(details["retry_at"]) - now()
        assert seconds - 5 < wait.total_seconds() <= seconds + 1


@pytest.mark.usefixtures("cast")
def test_strangers_who_guess_do_not_lock_the_owner_out(client: FlaskClient) -> None:
    for guess in range(10):
        ask(client, BOB, "wrong", address=f"198.51.100.{guess // 2}")

    assert ask(client, BOB, PASSWORD, address="203.0.113.9").status_code == 200


@pytest.mark.usefixtures("cast")
def test_every_further_address_may_guess_once(client: FlaskClient) -> None:
    for _ in range(10):
        ask(client, BOB, "wrong")

    for guesser in range(3):
        address = f"198.51.100.{guesser}"
        details_of(ask(client, BOB, "wrong", address), 401, "AUTHENTICATION_REQUIRED")
        details_of(ask(client, BOB, "wrong", address), 429, "RATE_LIMITED")


@pytest.mark.usefixtures("cast")
def test_the_twenty_first_wrong_password_from_an_address_is_not_heard(client: FlaskClient) -> None:
    for guess in range(20):
        answer = ask(client, f"nobody{guess}@example.com", "wrong")
        details_of(answer, 401, "AUTHENTICATION_REQUIRED")

    details_of(ask(client, BOB, PASSWORD), 429, "RATE_LIMITED")
    assert ask(client, BOB, PASSWORD, address="192.0.2.2").status_code == 200


@pytest.mark.usefixtures("cast")
def test_one_ipv6_customer_counts_as_one_address(client: FlaskClient) -> None:
    for guess in range(20):
        ask(client, f"nobody{guess}@example.com", "wrong", address=f"2001:db8:0:{guess:x}::1")

    details_of(ask(client, BOB, PASSWORD, "2001:db8:0:ffff::1"), 429, "RATE_LIMITED")
    assert ask(client, BOB, PASSWORD, address="2001:db8:1::1").status_code == 200


def test_many_strangers_who_guess_once_each_do_not_close_an_account(
    client: FlaskClient, cast: Cast
) -> None:
    for guess in range(120):
        answer = ask(client, BOB, "wrong", address=f"198.51.100.{guess}")
        details_of(answer, 401, "AUTHENTICATION_REQUIRED")

    assert ask(client, BOB, PASSWORD, address="203.0.113.9").status_code == 200
    db.session.rollback()
    recorded = db.session.scalars(select(AuditEvent).where(AuditEvent.event == "session:refused"))
    assert [row.subject for row in recorded] == [f"person {cast.bob.id}"] * 120


def test_a_flood_of_addresses_that_nobody_has_is_not_one_of_writes(client: FlaskClient) -> None:
    for guess in range(40):
        ask(client, f"nobody{guess}@example.com", "wrong", address=f"198.51.100.{guess}")

    db.session.rollback()
    recorded = select(AuditEvent).where(AuditEvent.event == "session:refused")
    told = [row.details for row in db.session.scalars(recorded.order_by(AuditEvent.id))]
    assert told == [*[{}] * 29, {"more_may_follow": True}]


@pytest.mark.usefixtures("cast")
@pytest.mark.parametrize(
    ("written", "address", "another", "database"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.2", "sqlite"),
        ("192.0.2.1:{port}", "192.0.2.1", "192.0.2.2:50000", "sqlite"),
        ("[2001:db8::1]:{port}", "2001:db8::2", "[2001:db8:1::1]:50000", "sqlite"),
        # PostgreSQL refuses what is longer than its column.
        ("nonsense that is longer than any address: {port}", "a socket", "192.0.2.1", "postgresql"),
    ],
)
def test_however_an_address_is_written_it_is_one(
    client: FlaskClient, written: str, address: str, another: str
) -> None:
    for guess in range(20):
        told = written.format(port=50000 + guess)
        answer = ask(client, f"nobody{guess}@example.com", "wrong", address=told)
        details_of(answer, 401, "AUTHENTICATION_REQUIRED")

    details_of(ask(client, BOB, PASSWORD, address), 429, "RATE_LIMITED")
    assert ask(client, BOB, PASSWORD, another).status_code == 200


@pytest.mark.usefixtures("cast")
def test_right_passwords_use_no_guesses_up(client: FlaskClient) -> None:
    for _ in range(25):
        assert ask(client, BOB, PASSWORD).status_code == 200


@pytest.mark.parametrize("door", ["api", "page"])
def test_the_thirty_first_right_password_in_a_minute_is_not_heard(
    app: Flask, cast: Cast, door: str
) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        for number in range(30):
            # From anywhere, by either door.
            if number % 2:
                assert ask(app.test_client(), BOB, PASSWORD, f"192.0.2.{number}").status_code == 200
            else:
                answer = Visitor(app).post("/sign-in", email=BOB, password=PASSWORD)
                assert answer.status_code == 303
        signed_in = Visitor(app).signed_in(cast.bob)

        if door == "api":
            answer = ask(app.test_client(), BOB, PASSWORD)
            details_of(answer, 429, "RATE_LIMITED")
        else:
            answer = Visitor(app).post("/sign-in", email=BOB, password=PASSWORD)
            assert answer.status_code == 429
        assert "has signed in 30 times within a minute" in answer.text
        assert 1 <= int(answer.headers["Retry-After"]) <= 61  # of a clock that stands
        # A wrong one is told from it no less than before, and others are heard.
        details_of(ask(app.test_client(), BOB, "wrong"), 401, "AUTHENTICATION_REQUIRED")
        assert ask(app.test_client(), "vera@example.com", PASSWORD).status_code == 200
        assert signed_in.post("/confirm", current=PASSWORD).status_code == 303

        clock.shift(61)
        assert ask(app.test_client(), BOB, PASSWORD).status_code == 200
    db.session.rollback()
    limited = select(AuditEvent).where(AuditEvent.event == str(Event.SIGN_IN_LIMITED))
    (told,) = db.session.scalars(limited)
    assert (told.subject, told.details) == (f"person {cast.bob.id}", {"person": BOB})
    assert told.chain == cast.surf.id


@pytest.mark.parametrize("door", ["api", "page"])
def test_an_address_that_gives_the_right_password_again_and_again_costs_thirty_hashes(
    app: Flask, cast: Cast, hashes: list[str], door: str
) -> None:
    with time_machine.travel(now(), tick=False) as clock:

        def come(password: str = PASSWORD, address: str = "127.0.0.1") -> TestResponse:
            if door == "api":
                return ask(app.test_client(), BOB, password, address)
            visitor = Visitor(app)
            visitor.client.environ_base["REMOTE_ADDR"] = address
            return visitor.post("/sign-in", email=BOB, password=password)

        let_in = 200 if door == "api" else 303
        answers = [come() for _ in range(40)]
        assert [each.status_code for each in answers] == [let_in] * 30 + [429] * 10
        assert hashes.count("checked") == 30
        assert "has signed in 30 times within a minute" in answers[-1].text
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 61
        # Only there is anything told of it.
        assert come("wrong", "192.0.2.9").status_code == 401
        assert hashes.count("checked") == 31

        clock.shift(61)
        assert come().status_code == let_in
    db.session.rollback()
    limited = select(AuditEvent).where(AuditEvent.event == str(Event.SIGN_IN_LIMITED))
    told = list(db.session.scalars(limited))
    assert [(each.subject, each.chain) for each in told] == [
        (f"person {cast.bob.id}", cast.surf.id)
    ] * 10


def test_a_right_password_that_is_too_short_alone_costs_as_many(
    client: FlaskClient, cast: Cast, hashes: list[str]
) -> None:
    short = "harbour fig 9"  # chosen beside a second factor, which was reset since
    with transaction():
        cast.bob.password_hash = passwords.hashed_anew(short)
    with time_machine.travel(now(), tick=False):
        answers = [ask(client, BOB, short) for _ in range(40)]
    assert Counter(each.status_code for each in answers) == {400: 30, 429: 10}
    assert hashes.count("checked") == 30
    assert [row.result for row in awaited()] == ["refused"] * 10


@pytest.mark.usefixtures("cast")
def test_of_many_guesses_at_once_only_ten_are_told_that_they_are_wrong(app: Flask) -> None:
    def guess(_: int) -> int:
        return ask(app.test_client(), BOB, "wrong").status_code

    with ThreadPoolExecutor(8) as threads:
        answers = Counter(threads.map(guess, range(30)))

    assert answers == {401: 10, 429: 20}


@pytest.mark.usefixtures("cast")
def test_a_forwarded_address_gives_no_new_tries(client: FlaskClient) -> None:
    for guess in range(11):
        answer = client.post(
            URL,
            json={"email": BOB, "password": "wrong"},
            headers={"X-Forwarded-For": f"198.51.100.{guess}"},
        )

    details_of(answer, 429, "RATE_LIMITED")


@pytest.mark.parametrize("state", ["unknown", "known", "deactivated", "locked"])
def test_each_wrong_try_costs_one_look_at_a_hash(
    client: FlaskClient, cast: Cast, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    looks: list[str] = []
    verify = QUICK.verify

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            looks.append(str(hash))
            return verify(hash, password)

    monkeypatch.setattr(passwords, "_hasher", Counting(1, 8, 1))
    with transaction():
        cast.bob.active = state != "deactivated"
        cast.bob.failures_in_a_row = 100 if state == "locked" else 0
    email = "nobody@example.com" if state == "unknown" else BOB
    for number in range(5):
        details_of(ask(client, email, "wrong"), 401, "AUTHENTICATION_REQUIRED")
        assert len(looks) == number + 1


@pytest.mark.parametrize("door", ["api", "page"])
def test_the_right_password_of_a_closed_account_is_told_and_recorded_as_a_wrong_one(
    app: Flask, cast: Cast, door: str
) -> None:
    with transaction():
        cast.bob.failures_in_a_row = cast.vera.failures_in_a_row = 100
    visitor = Visitor(app)

    def told(email: str, password: str) -> tuple[int, str]:
        if door == "api":
            answer = ask(visitor.client, email, password)
            words = answer.get_json()["message"]
        else:
            answer = visitor.post("/sign-in", email=email, password=password)
            words = text_of(answer)
        return answer.status_code, re.sub(r"Try again in [^.]*", "", words)

    right = [told(BOB, PASSWORD) for _ in range(11)]
    visitor.client.environ_base["REMOTE_ADDR"] = "192.0.2.9"
    wrong = [told("vera@example.com", "wrong") for _ in range(11)]
    assert [status for status, _ in right] == [401] * 10 + [429]
    assert right == wrong

    db.session.rollback()
    query = select(AuditEvent).where(AuditEvent.subject.like("person %")).order_by(AuditEvent.id)
    assert [
        (row.event, row.actor, row.subject, row.details) for row in db.session.scalars(query)
    ] == [
        ("session:closed", None, f"person {user.id}", {"person": user.email})
        for user in (cast.bob, cast.vera)
        for _ in range(10)
    ]
    assert (cast.bob.failures_in_a_row, cast.vera.failures_in_a_row) == (100, 100)


@pytest.mark.parametrize("door", ["api", "page"])
def test_known_unknown_and_deactivated_people_are_told_the_same(
    app: Flask, cast: Cast, door: str
) -> None:
    people.deactivate(cast.charlie)
    visitor = Visitor(app)
    token = visitor.csrf_token()
    told: dict[str, list[tuple[int, str]]] = {}
    for _ in range(12):
        for number, email in enumerate((BOB, "nobody@example.com", "charlie@example.com")):
            if door == "api":
                answer = ask(visitor.client, email, "wrong", f"192.0.2.{number}")
            else:
                answer = visitor.client.post(
                    "/sign-in",
                    data={"email": email, "password": "wrong", "csrf_token": token},
                    environ_overrides={"REMOTE_ADDR": f"192.0.2.{number}"},
                )
            words = answer.text.replace(email, "EMAIL")
            words = re.sub(rf"\d+ (second|minute)s?|data-now=\S+|{MOMENT}", "a while", words)
            told.setdefault(email, []).append((answer.status_code, words))
    bobs, *others = told.values()
    assert [status for status, _ in bobs] == [401] * 10 + [429] * 2
    assert all(other == bobs for other in others)


def test_whoever_has_a_second_factor_sends_a_code(client: FlaskClient, cast: Cast) -> None:
    phone = set_up(cast.bob)
    missing = ask(client, BOB, PASSWORD)
    details_of(missing, 401, "AUTHENTICATION_REQUIRED")
    assert "Send `code` too" in missing.get_json()["message"]

    for code in (phone.code(), phone.recovery_codes[0]):
        body = {"email": BOB, "password": PASSWORD, "code": code}
        assert client.post(URL, json=body).status_code == 200
        again = client.post(URL, json=body)
        details_of(again, 401, "AUTHENTICATION_REQUIRED")
        assert "was used before" in again.get_json()["message"]


def test_the_sixth_wrong_code_in_five_minutes_is_not_heard(client: FlaskClient, cast: Cast) -> None:
    phone = set_up(cast.bob)
    codes = ["000000"] * 5 + [phone.code()]
    answers = [
        client.post(URL, json={"email": BOB, "password": PASSWORD, "code": code}) for code in codes
    ]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 300


def test_right_codes_use_nothing_up(client: FlaskClient, cast: Cast) -> None:
    phone = set_up(cast.bob)
    body = {"email": BOB, "password": PASSWORD}
    for code in phone.recovery_codes[:6]:
        assert client.post(URL, json=body | {"code": code}).status_code == 200


def awaited() -> list[AuditEvent]:
    """What the trail has of right passwords without a code."""
    db.session.rollback()
    of_them = select(AuditEvent).where(AuditEvent.event == str(Event.CODE_AWAITED))
    return list(db.session.scalars(of_them.order_by(AuditEvent.id)))


def test_of_right_passwords_without_a_code_as_many_are_recorded_as_of_wrong_ones(
    client: FlaskClient, cast: Cast
) -> None:
    set_up(cast.bob), set_up(cast.vera)
    for _ in range(12):
        details_of(ask(client, BOB, PASSWORD), 401, "AUTHENTICATION_REQUIRED")
    details_of(ask(client, "vera@example.com", PASSWORD), 401, "AUTHENTICATION_REQUIRED")

    *bobs, veras = awaited()
    assert len(bobs) == 10
    assert [row.details.get("more_may_follow", False) for row in bobs] == [*[False] * 9, True]
    assert (veras.details["person"], veras.result) == ("vera@example.com", "refused")


def test_whoever_has_the_code_too_is_recorded_however_often_they_come(
    client: FlaskClient, cast: Cast
) -> None:
    body, phone = {"email": BOB, "password": PASSWORD}, set_up(cast.bob)
    for code in phone.recovery_codes[:3]:
        for _ in range(5):
            ask(client, BOB, PASSWORD)
        assert client.post(URL, json=body | {"code": code}).status_code == 200

    assert len(awaited()) == 15


@on_both
def test_of_fifty_codes_sent_at_once_five_are_looked_at(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first looks are held until as many requests are under way as can be: none of them can
    have been counted by then unless it was before the look."""
    at_once, came, all_came = 12, Counter[str](), Condition()
    set_up(cast.bob)
    db.session.rollback()
    look, refuse = second_factor.accept, sign_in._refusal

    def come(how: str) -> None:
        with all_came:
            came[how] += 1
            all_came.notify_all()
            assert all_came.wait_for(lambda: came.total() >= at_once, timeout=30)

    def accept(user: User, code: str) -> CodeKind | None:
        come("looked at")
        return look(user, code)

    def refusal(resets: float, of_what: str) -> RateLimited:
        come("refused")
        return refuse(resets, of_what)

    monkeypatch.setattr(second_factor, "accept", accept)
    monkeypatch.setattr(sign_in, "_refusal", refusal)
    for name in ("RIGHT", "RIGHT_HERE"):
        monkeypatch.setattr(sign_in, name, RateLimitItemPerMinute(50, namespace=name))

    def guess(_: int) -> int:
        body = {"email": BOB, "password": PASSWORD, "code": "000000"}
        return app.test_client().post(URL, json=body).status_code

    with ThreadPoolExecutor(at_once) as threads:
        answers = Counter(threads.map(guess, range(50)))

    assert came == {"looked at": 5, "refused": 45}
    assert answers == {401: 5, 429: 45}
    db.session.rollback()
    assert db.session.get_one(User, cast.bob.id).failures_in_a_row == 5


def test_a_code_beside_a_wrong_password_is_not_looked_at(client: FlaskClient, cast: Cast) -> None:
    code = set_up(cast.bob).code()
    wrong = client.post(URL, json={"email": BOB, "password": "wrong", "code": code})
    assert wrong.get_json()["message"] == "The e-mail address or the password is wrong."
    right = client.post(URL, json={"email": BOB, "password": PASSWORD, "code": code})
    assert right.status_code == 200


def test_a_code_that_nobody_needs_is_not_looked_at(client: FlaskClient, cast: Cast) -> None:
    body = {"email": BOB, "password": PASSWORD, "code": "000000"}
    assert client.post(URL, json=body).status_code == 200


def test_where_it_is_required_a_manager_without_one_gets_no_token_and_a_viewer_does(
    app: Flask, client: FlaskClient, cast: Cast
) -> None:
    app.config["SECOND_FACTOR"] = "required"
    refused = ask(client, BOB, PASSWORD)
    details_of(refused, 401, "AUTHENTICATION_REQUIRED")
    assert "need a second factor" in refused.get_json()["message"]
    assert ask(client, "vera@example.com", PASSWORD).status_code == 200
    app.config["SECOND_FACTOR"] = "everybody"
    details_of(ask(client, "vera@example.com", PASSWORD), 401, "AUTHENTICATION_REQUIRED")


@pytest.mark.usefixtures("cast")
def test_a_thousand_failures_in_five_minutes_are_told_in_the_log_once(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert (sign_in.OVERALL.amount, sign_in.OVERALL.get_expiry()) == (1000, 300)
    monkeypatch.setattr(sign_in, "OVERALL", RateLimitItemPerMinute(4, 5, namespace="few"))
    for number in range(7):
        assert "many_failed_sign_ins" not in caplog.text or number > 4
        ask(client, f"nobody{number}@example.com", "wrong", f"198.51.100.{number}")
    assert caplog.text.count("many_failed_sign_ins") == 1


@pytest.mark.usefixtures("cast")
def test_what_was_counted_outlasts_a_restart(
    client: FlaskClient, settings: Settings, factory: Callable[[Settings], Flask]
) -> None:
    for _ in range(10):
        ask(client, BOB, "wrong")
    details_of(ask(factory(settings).test_client(), BOB, PASSWORD), 429, "RATE_LIMITED")


def test_slow_guesses_from_everywhere_end_with_the_hundredth_and_are_told(
    client: FlaskClient, cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    guesses = 0
    while "account_locked" not in caplog.text and guesses < 200:
        with time_machine.travel(now() + timedelta(minutes=16 * (guesses // 9)), tick=False):
            answer = ask(client, BOB, "wrong", address=f"198.51.{guesses // 200}.{guesses % 200}")
            details_of(answer, 401, "AUTHENTICATION_REQUIRED")
        guesses += 1
    assert guesses == 100
    with time_machine.travel(now() + timedelta(days=1), tick=False):
        details_of(ask(client, BOB, PASSWORD), 401, "AUTHENTICATION_REQUIRED")
        invitations.accept(invitations.renew(cast.bob), "seven surfers ate warm papayas")
        assert ask(client, BOB, "seven surfers ate warm papayas").status_code == 200
