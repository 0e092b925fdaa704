"""How long one stays signed in, what a copied cookie is worth, and the sessions on GET /account"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from tests.api.rows import make_log
from tests.cast import PASSWORD, Cast
from tests.codes import set_up
from tests.pages.visitor import Parsed, Visitor, text_of
from tests.support.databases import on_both
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import Role, SecondFactor, SyncLog, SyncStatus, User, UserSession
from webapp.services import invitations, people, roles, sessions

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Version/18.5 Mobile Safari/604.1"


@pytest.fixture
def log(clock: time_machine.Traveller, cast: Cast) -> SyncLog:
    """A sync of Surf Rehab that a worker is at, for as long as the test lasts."""
    return make_log(
        cast.surf,
        SyncStatus.RUNNING,
        started_at=now(),
        worker="w",
        lease_expires_at=now() + timedelta(days=1),
    )


def polls(log: SyncLog) -> list[str]:
    """What open pages ask for by themselves."""
    clinic = f"/clinics/{log.organization_id}"
    return [f"{clinic}/syncs/{log.id}/progress", f"{clinic}/syncs/news", "/clinics", clinic]


def sign_in(app: Flask, **headers: str) -> Visitor:
    """Bob, by the form."""
    visitor = Visitor(app)
    for name, value in headers.items():
        visitor.client.environ_base[f"HTTP_{name}"] = value
    answer = visitor.post("/sign-in", email="bob@example.com", password=PASSWORD)
    assert answer.status_code == 303
    return visitor


def is_signed_in(visitor: Visitor) -> bool:
    """Looking is no sign of life."""
    return visitor.get_fragment("/clinics").status_code == 200


def session_rows() -> list[UserSession]:
    db.session.rollback()
    return list(db.session.query(UserSession).order_by(UserSession.id))


def test_polls_keep_nobody_signed_in(
    clock: time_machine.Traveller, log: SyncLog, bob: Visitor
) -> None:
    for second in range(0, 15 * 60, 2):
        assert bob.get_fragment(polls(log)[0]).status_code == 200, second
        clock.shift(2)
    for path in polls(log):
        answer = bob.get_fragment(path)
        assert answer.status_code == 401
        assert answer.headers["HX-Redirect"] == "/sign-in"
        assert answer.text == ""


def test_no_page_that_looks_after_itself_does(
    clock: time_machine.Traveller, log: SyncLog, bob: Visitor
) -> None:
    clock.shift(timedelta(minutes=14))
    for path in [*polls(log), "/account/session"]:
        assert bob.get_fragment(path).status_code == 200
    assert bob.get(f"/clinics/{log.organization_id}?watching=1").status_code == 200
    clock.shift(timedelta(minutes=1))
    assert not is_signed_in(bob)


@pytest.mark.parametrize(
    "act",
    [
        lambda bob: bob.get("/clinics"),
        lambda bob: bob.get("/clinics/999"),
        lambda bob: bob.post("/clinics/1/patients", search="Olivia"),
        lambda bob: bob.post_fragment("/clinics/1/patients", search="Olivia"),
        lambda bob: bob.post_fragment("/account/session"),
    ],
    ids=["a page", "a refused page", "a form", "a form by htmx", "the button"],
)
def test_whatever_somebody_does_keeps_them_signed_in(
    clock: time_machine.Traveller, bob: Visitor, act: Callable[[Visitor], object]
) -> None:
    clock.shift(timedelta(minutes=14))
    act(bob)
    clock.shift(timedelta(minutes=14))
    assert is_signed_in(bob)
    clock.shift(timedelta(minutes=1))
    assert not is_signed_in(bob)


def test_twelve_hours_are_the_most(clock: time_machine.Traveller, bob: Visitor) -> None:
    for _ in range(6 * 12 - 1):
        clock.shift(timedelta(minutes=10))
        assert bob.get("/clinics").status_code == 200
    clock.shift(timedelta(minutes=10))
    assert bob.get("/clinics").status_code == 303


def lasts(answer: TestResponse) -> tuple[int, int]:
    """What the session at hand has left."""
    told = answer.get_json()
    assert set(told) == {"seconds", "most", "whose", "csrf"}
    return told["seconds"], told["most"]


def test_the_page_asks_how_long_is_left(clock: time_machine.Traveller, bob: Visitor) -> None:
    assert Parsed(bob.get("/clinics").text).having(id="idle")[0]["data-seconds"] == "900"
    clock.shift(timedelta(minutes=13))
    twelve_hours = 12 * 60 * 60
    left = (120, twelve_hours - 13 * 60)
    assert lasts(bob.get_fragment("/account/session")) == left
    assert lasts(bob.get_fragment("/account/session")) == left
    stayed = (900, twelve_hours - 13 * 60)
    assert lasts(bob.post_fragment("/account/session")) == stayed
    assert bob.post("/account/session").headers["Location"] == "/clinics"


def test_the_page_asks_whose_session_it_is_and_is_not_told_who_that_is(
    app: Flask, cast: Cast
) -> None:
    marks = []
    for user in (cast.bob, cast.bob, cast.vera):
        visitor = Visitor(app)
        visitor.post("/sign-in", email=user.email, password=PASSWORD)
        mark = Parsed(visitor.get("/clinics").text).having(id="idle")[0]["data-whose"]
        assert mark is not None
        for ask in (visitor.get_fragment, visitor.post_fragment):
            assert ask("/account/session").get_json()["whose"] == mark
        marks.append(mark)
    assert marks[0] == marks[1] != marks[2]
    assert all(re.fullmatch("[0-9a-f]{16}", mark) for mark in marks)
    old, new = app.config["SECRET_KEY"], "another secret, as long as the first one was"
    app.config["SECRET_KEY"] = new
    assert sessions.mark_of(cast.bob) != marks[0]
    # Two servers of which one has the newer key must not send pages to and fro.
    app.config["SECRET_KEY_FALLBACKS"] = [old]
    assert sessions.mark_of(cast.bob) == marks[0]


def test_the_page_is_told_the_token_of_its_forms_once_all_else_was_signed_out(
    app: Flask, bob: Visitor
) -> None:
    earlier = bob.csrf_token()
    bob.post("/account/sign-out-everywhere")
    refused = bob.client.post("/account/session", data={"csrf_token": earlier})
    assert refused.status_code == 400
    answer = bob.get_fragment("/account/session")
    sent = bob.client.post("/account/session", data={"csrf_token": answer.get_json()["csrf"]})
    assert sent.status_code == 303
    # No other site can read it, and no browser keeps it.
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_who_comes_back_too_late_is_told_why(clock: time_machine.Traveller, bob: Visitor) -> None:
    clock.shift(timedelta(minutes=15))
    assert bob.get("/clinics/1").headers["Location"] == "/sign-in?next=/clinics/1"
    assert "Your session has ended" in text_of(bob.get("/sign-in"))


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("by_htmx", [True, False])
def test_what_a_page_asks_for_too_late_leads_back_to_the_page(
    clock: time_machine.Traveller, bob: Visitor, method: str, by_htmx: bool
) -> None:
    clock.shift(timedelta(minutes=15))
    page = "/clinics/1/patients"
    headers = {"Referer": f"http://localhost{page}?page=2"}
    if by_htmx:
        headers["HX-Request"] = "true"
    answer = bob.client.open("/account/session", method=method, headers=headers)
    asked_for = page if by_htmx or method == "POST" else "/account/session"
    leads_to = answer.headers["HX-Redirect" if by_htmx else "Location"]
    assert leads_to == f"/sign-in?next={asked_for}"


@pytest.mark.parametrize("header", ["Location", "HX-Redirect"])
def test_who_sends_a_form_too_late_is_told_that_it_was_not_done(
    clock: time_machine.Traveller, bob: Visitor, header: str
) -> None:
    clock.shift(timedelta(minutes=15))
    send = bob.post if header == "Location" else bob.post_fragment
    to_sign_in = send("/clinics/1/settings/name", name="X").headers[header]
    assert "What you sent last was not done." in text_of(bob.get(to_sign_in))
    for harmless in ("/account/session", "/sign-out"):
        to_sign_in = send(harmless).headers.get(header, "/sign-in")
        assert "What you sent last" not in text_of(bob.get(to_sign_in))


def test_who_signs_out_is_not_told_so(bob: Visitor, visitor: Visitor) -> None:
    bob.post("/sign-out")
    for each in (bob, visitor):
        assert "Your session has ended" not in text_of(each.get("/sign-in"))


ENDS: dict[str, Callable[[Visitor, Cast], object]] = {
    "signed out": lambda visitor, cast: visitor.post("/sign-out"),
    "signed in anew": lambda visitor, cast: visitor.post(
        "/sign-in", email="bob@example.com", password=PASSWORD
    ),
    "another password": lambda visitor, cast: visitor.post(
        "/account/password", current=PASSWORD, password="quite another password"
    ),
    "signed out everywhere else": lambda visitor, cast: visitor.post(
        "/account/sign-out-everywhere"
    ),
    "a link that was used": lambda visitor, cast: invitations.accept(
        invitations.renew(cast.bob), "quite another password"
    ),
    "a password by command": lambda visitor, cast: people.set_password(
        cast.bob, "quite another password"
    ),
    "another role": lambda visitor, cast: roles.change(cast.bob, Role.VIEWER, cast.surf.id),
    "deactivated": lambda visitor, cast: people.deactivate(cast.bob),
    "ended by an admin": lambda visitor, cast: people.end_sessions(cast.bob),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_copied_cookie_is_worth_nothing_afterwards(app: Flask, cast: Cast, how: str) -> None:
    visitor, thief = sign_in(app), Visitor(app)
    cookie = visitor.client.get_cookie("session")
    assert cookie is not None
    token = visitor.csrf_token()
    thief.client.set_cookie("session", cookie.value)
    assert is_signed_in(thief)

    ENDS[how](visitor, cast)

    thief.client.set_cookie("session", cookie.value)
    assert thief.get("/clinics").status_code == 303
    assert thief.get_fragment("/clinics").headers["HX-Redirect"] == "/sign-in"
    form = thief.client.post("/clinics/1/settings/name", data={"name": "X", "csrf_token": token})
    assert form.headers["Location"] == "/sign-in?refused=1"


def test_signing_in_takes_another_session_and_another_token_of_forms(
    app: Flask, cast: Cast
) -> None:
    """A cookie that somebody planted is worth nothing, whoever signs in with it."""
    visitor = Visitor(app)
    visitor.get("/sign-in")
    planted = visitor.client.get_cookie("session")
    assert planted is not None
    with visitor.client.session_transaction() as kept:
        before = kept["csrf_token"]
    visitor.post("/sign-in", email="bob@example.com", password=PASSWORD)
    visitor.get("/clinics")
    with visitor.client.session_transaction() as kept:
        assert kept["csrf_token"] != before
    attacker = Visitor(app)
    attacker.client.set_cookie("session", planted.value)
    assert not is_signed_in(attacker)
    again = visitor.client.get_cookie("session")
    visitor.post("/sign-in", email="bob@example.com", password=PASSWORD)
    attacker.client.set_cookie("session", again.value if again else "")
    assert not is_signed_in(attacker)


def test_a_session_id_in_an_address_is_ignored(cast: Cast, visitor: Visitor) -> None:
    _, secret = sessions.begin(cast.bob, address="", agent="")
    for name in ("session", "_user_id", "sid"):
        assert visitor.get(f"/clinics?{name}={secret}").status_code == 303


def test_two_tabs_end_together(bob: Visitor) -> None:
    """They share the cookie; the second finds its form refused and nothing done."""
    token = bob.csrf_token()
    bob.post("/sign-out")
    answer = bob.client.post("/clinics/1/settings/name", data={"name": "X", "csrf_token": token})
    assert answer.headers["Location"] == "/sign-in?refused=1"


def test_the_account_lists_where_one_is_signed_in(app: Flask, cast: Cast) -> None:
    here = sign_in(app, USER_AGENT=FIREFOX)
    sign_in(app, USER_AGENT=PHONE)
    words = text_of(here.get("/account"))
    assert "Where you are signed in 2" in words
    assert "Firefox on Linux just now" in words
    assert "Safari on iPhone just now" in words
    assert "127.0.0.1 This one" in words
    assert words.count("This one") == 1


def test_one_session_is_ended_and_the_others_stay(app: Flask, cast: Cast) -> None:
    here, phone, other = sign_in(app), sign_in(app, USER_AGENT=PHONE), sign_in(app)
    row = next(row for row in session_rows() if row.agent == PHONE)
    answer = here.post(f"/account/sessions/{row.id}/end")
    assert answer.headers["Location"] == "/account"
    assert "The session was ended" in text_of(here.get("/account"))
    assert [is_signed_in(each) for each in (here, phone, other)] == [True, False, True]


def test_a_session_of_somebody_else_is_not_there(bob: Visitor, vera: Visitor) -> None:
    theirs = session_rows()[-1].id
    for session_id in (theirs, 9999, "abc", 0):
        assert bob.post(f"/account/sessions/{session_id}/end").status_code == 404
    assert is_signed_in(vera)


def test_a_new_password_gives_this_browser_another_session(app: Flask, cast: Cast) -> None:
    here = sign_in(app)
    here.post("/account/password", current=PASSWORD, password="quite another password")
    first, second = session_rows()
    assert first.secret_digest != second.secret_digest
    assert is_signed_in(here)
    assert "Where you are signed in 1" in text_of(here.get("/account"))


def test_signing_out_everywhere_else_begins_no_limit_anew(
    clock: time_machine.Traveller, bob: Visitor
) -> None:
    """No password was entered for it."""
    (before,) = session_rows()
    begun, proved, secret = before.created_at, before.proved_at, before.secret_digest
    clock.shift(timedelta(minutes=10))
    bob.post("/account/sign-out-everywhere")
    (after,) = session_rows()
    assert (after.created_at, after.proved_at) == (begun, proved)
    assert after.secret_digest != secret
    assert is_signed_in(bob)


def test_an_ended_session_is_not_brought_back_by_ending_the_others(cast: Cast) -> None:
    row, _ = sessions.begin(cast.bob, address="", agent="")
    sessions.end(row.id, owner=cast.bob)
    assert sessions.of_secret(sessions.end_others(row)) is None


@pytest.mark.parametrize("path", ["/account", "/sign-in"])
def test_the_words_say_what_the_limits_are(
    bob: Visitor, clock: time_machine.Traveller, path: str
) -> None:
    minutes, hours = sessions.IDLE // timedelta(minutes=1), sessions.LIFETIME // timedelta(hours=1)
    if path == "/sign-in":
        clock.shift(sessions.IDLE)
    words = text_of(bob.get(path))
    assert f"nothing was done for {minutes} minutes" in words
    assert path == "/sign-in" or f"after {hours} hours at the latest" in words


def test_a_session_that_was_ended_stays_so_for_a_click_that_came_at_once(
    bob: Visitor, cast: Cast, clock: time_machine.Traveller
) -> None:
    clock.shift(timedelta(minutes=5))
    (row,) = (row for row in session_rows() if row.user_id == cast.bob.id)
    with transaction():
        row.ended_at = now()
    sessions.note_activity(row)
    assert not is_signed_in(bob)


@on_both
@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/account/sign-out-everywhere", {}),
        ("/account/password", {"current": PASSWORD, "password": "a password of the thief"}),
        ("/account/second-factor", {"current": PASSWORD}),
        ("/account/second-factor/recovery-codes", {"current": PASSWORD}),
        ("/account/second-factor/remove", {"current": PASSWORD}),
    ],
)
def test_what_was_ended_while_a_request_was_on_its_way_does_nothing_any_more(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch, path: str, data: dict[str, str]
) -> None:
    """A thief has Bob's session; an admin ends it in the moment before their request is done."""
    if path.endswith(("codes", "remove")):
        set_up(cast.bob)
    thief = Visitor(app).signed_in(cast.bob)
    bob_id, before = cast.bob.id, cast.bob.password_hash
    changing = people.changing

    def end_everything() -> None:
        with app.app_context():
            people.end_sessions(db.session.get_one(User, bob_id))

    def a_moment_later(*said: Any, **details: Any) -> Any:
        monkeypatch.setattr(people, "changing", changing)
        other = threading.Thread(target=end_everything)
        other.start()
        other.join()
        return changing(*said, **details)

    monkeypatch.setattr(people, "changing", a_moment_later)
    answer = thief.post(path, **data)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?refused=1")
    assert not is_signed_in(thief)
    db.session.rollback()
    assert cast.bob.password_hash == before
    assert db.session.scalar(select(func.count()).select_from(SecondFactor)) == (
        1 if path.endswith(("codes", "remove")) else 0
    )
