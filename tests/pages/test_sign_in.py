"""GET and POST /sign-in, POST /sign-out, and what a session is worth."""

from __future__ import annotations

from contextvars import Context
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import create_engine

from tests.cast import PASSWORD, Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from tests.support.databases import on_both
from tests.support.read_only import only_to_be_read
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import Role
from webapp.services import people

BOB = "bob@example.com"
WRONG = "The e-mail address or the password is wrong."


def sign_in(visitor: Visitor, email: str = BOB, password: str = PASSWORD, **fields: str) -> str:
    """Where the visitor is led to."""
    answer = visitor.post("/sign-in", email=email, password=password, **fields)
    assert answer.status_code == 303, text_of(answer)
    return answer.headers["Location"]


def is_signed_in(visitor: Visitor) -> bool:
    return visitor.get("/clinics").status_code == 200


def test_it_leads_to_the_clinics(visitor: Visitor, cast: Cast) -> None:
    assert sign_in(visitor) == "/clinics"
    assert "bob@example.com" in text_of(visitor.get("/clinics"))


def test_an_address_is_the_same_in_any_case(visitor: Visitor, cast: Cast) -> None:
    assert sign_in(visitor, email=" Bob@Example.COM ") == "/clinics"


def test_the_address_stays_in_the_form_and_the_password_does_not(
    visitor: Visitor, cast: Cast
) -> None:
    answer = visitor.post("/sign-in", email=BOB, password="a wrong password indeed")
    assert answer.status_code == 401
    assert WRONG in text_of(answer)
    assert Parsed(answer.text).having(name="email")[0]["value"] == BOB
    assert "value" not in Parsed(answer.text).having(name="password")[0]
    assert not is_signed_in(visitor)


@pytest.mark.parametrize(
    "email", ["nobody@example.com", "gone@example.com", "nul\0@example.com", ""]
)
def test_unknown_people_get_the_answer_of_a_wrong_password(
    visitor: Visitor, cast: Cast, email: str
) -> None:
    people.create("gone@example.com", PASSWORD, role=Role.ADMIN)
    gone = people.by_email("gone@example.com")
    assert gone is not None
    with transaction():
        gone.active = False

    answer = visitor.post("/sign-in", email=email, password=PASSWORD)
    assert answer.status_code == 401
    assert WRONG in text_of(answer)


def test_after_ten_wrong_passwords_nobody_listens_for_a_while(visitor: Visitor, cast: Cast) -> None:
    for _ in range(10):
        assert visitor.post("/sign-in", email=BOB, password="wrong").status_code == 401

    refused = visitor.post("/sign-in", email=BOB, password=PASSWORD)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 15 * 60
    assert "Too many failed attempts" in text_of(refused)
    assert not is_signed_in(visitor)


def test_the_api_and_the_dashboard_count_together(visitor: Visitor, cast: Cast) -> None:
    for _ in range(10):
        visitor.client.post("/api/v1/auth/token", json={"email": BOB, "password": "wrong"})
    assert visitor.post("/sign-in", email=BOB, password=PASSWORD).status_code == 429


def test_a_session_takes_nothing_over_from_before(visitor: Visitor, cast: Cast) -> None:
    with visitor.client.session_transaction() as session:
        session["planted"] = "by a stranger"
    sign_in(visitor)
    with visitor.client.session_transaction() as session:
        assert "planted" not in session


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    visitor: Visitor, cast: Cast
) -> None:
    answer = visitor.post("/sign-in", email=BOB, password=PASSWORD)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


@pytest.mark.parametrize(
    ("with_cookie", "words"),
    [
        (False, "Your browser sent no cookie with this form. Send it again; if it stays, allow"),
        (True, "This form was open for too long. Send it again."),
    ],
    ids=["no cookie", "another token"],
)
def test_a_form_without_its_token_signs_nobody_in_and_stands_there_again_with_the_reason(
    visitor: Visitor, cast: Cast, with_cookie: bool, words: str
) -> None:
    if with_cookie:
        visitor.csrf_token()
    form = {"email": BOB, "password": PASSWORD, "next": "/clinics/1", "csrf_token": "old"}
    refused = visitor.client.post("/sign-in", data=form)
    assert refused.status_code == 400
    assert words in text_of(refused)
    assert PASSWORD not in refused.text
    fields = {each.get("name"): each.get("value") for each in Parsed(refused.text).having()}
    assert (fields["email"], fields["next"]) == (BOB, "/clinics/1")
    assert not is_signed_in(visitor)


def test_a_code_without_its_cookie_begins_again_with_the_reason(
    visitor: Visitor, cast: Cast
) -> None:
    refused = visitor.client.post("/sign-in/code", data={"code": "123456"})
    assert refused.status_code == 400
    assert "Sign in" in text_of(refused)
    assert "Your browser sent no cookie with this form." in text_of(refused)


def test_whoever_signs_out_once_more_leaves_no_page_to_the_next_person(
    visitor: Visitor, cast: Cast
) -> None:
    at = {"Referer": "http://localhost/clinics/1/patients/7"}
    again = visitor.client.post("/sign-out", data={"csrf_token": "of another tab"}, headers=at)
    assert again.headers["Location"] == "/sign-in"


def test_whoever_has_signed_in_at_another_tab_is_led_on_as_who_they_are(
    visitor: Visitor, cast: Cast
) -> None:
    second_tab = visitor.csrf_token()
    sign_in(visitor)
    form = {"email": "alice@example.com", "password": PASSWORD, "csrf_token": second_tab}

    def led_to(next_path: str) -> str:
        data = form | {"next": next_path}
        answer = Context().run(visitor.client.post, "/sign-in", data=data)
        assert answer.status_code == 303
        return answer.headers["Location"]

    assert led_to("/clinics/1") == "/clinics/1"
    words = text_of(visitor.get("/clinics/1"))
    assert "You were signed in already, as bob@example.com." in words
    assert "alice@example.com" not in words
    assert led_to("https://evil.example") == "/clinics"


def test_who_is_signed_in_needs_no_form(bob: Visitor) -> None:
    assert bob.get("/sign-in").headers["Location"] == "/clinics"
    assert bob.get("/sign-in?next=/clinics/1").headers["Location"] == "/clinics/1"
    assert bob.get("/sign-in?next=//evil.example").headers["Location"] == "/clinics"


@pytest.mark.parametrize(
    "path", ["/clinics/1", "/clinics/1/patients", "/clinics/1/syncs/7", "/clinics/1/settings"]
)
def test_it_leads_back_to_the_page_that_was_asked_for(
    visitor: Visitor, cast: Cast, path: str
) -> None:
    to_sign_in = visitor.get(path).headers["Location"]
    form = Parsed(visitor.get(to_sign_in).text)
    next_path = form.having(name="next")[0]["value"]
    assert next_path == path
    assert sign_in(visitor, next=next_path) == path


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "/%2f/evil.example",
        "/clinics/1/../../evil",
        "javascript:alert(1)",
        "/clinics\r\nSet-Cookie: a=b",
        "/clinics?search=Olivia",
        "/clinics/1/patients?search=Olivia",
        "/clinics#x",
        "/sign-in",
        "/sign-out",
        "/nothing",
        "/clinics/1/syncs/7/progress",
        "/clinics/1/connection",
        "/api/v1/organizations",
        "/static/app.css",
        "/healthz",
        "/clinics/",
        "clinics",
        " /clinics/1",
    ],
)
def test_it_leads_nowhere_else(visitor: Visitor, cast: Cast, path: str) -> None:
    assert sign_in(visitor, next=path) == "/clinics"


def test_signing_out_ends_the_session_and_leaves_nothing_in_the_browser(bob: Visitor) -> None:
    answer = bob.post("/sign-out")
    assert answer.headers["Location"] == "/sign-in"
    assert answer.headers["Clear-Site-Data"] == '"cache", "cookies", "storage"'
    assert not is_signed_in(bob)


@on_both
def test_who_signs_out_is_signed_out_here_though_it_cannot_be_written_down(bob: Visitor) -> None:
    with only_to_be_read():
        answer = bob.post("/sign-out")
    assert answer.status_code == 503
    assert answer.headers["Clear-Site-Data"] == '"cache", "cookies", "storage"'
    assert not is_signed_in(bob)


def test_who_signs_out_is_signed_out_here_though_the_database_is_away(
    bob: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = bob.csrf_token()
    with monkeypatch.context() as away:
        away.setitem(db.engines, None, create_engine("sqlite:////nowhere/at/all.db"))
        answer = bob.client.post("/sign-out", data={"csrf_token": token})
    assert answer.status_code == 503
    assert not is_signed_in(bob)


def test_a_link_cannot_sign_anybody_out(bob: Visitor) -> None:
    assert bob.get("/sign-out").status_code == 405
    assert is_signed_in(bob)


def test_a_new_password_ends_every_session(bob: Visitor, cast: Cast) -> None:
    people.set_password(cast.bob, "another battery staple")
    assert not is_signed_in(bob)


def test_who_was_deactivated_is_signed_out(bob: Visitor, cast: Cast) -> None:
    with transaction():
        cast.bob.active = False
    assert not is_signed_in(bob)


def test_a_lower_role_counts_at_once(bob: Visitor, cast: Cast) -> None:
    assert bob.get(f"/clinics/{cast.surf.id}/patients").status_code == 200
    with transaction():
        cast.bob.role = Role.VIEWER
    assert bob.get(f"/clinics/{cast.surf.id}/patients").status_code == 403


def test_failures_are_forgotten_after_a_quarter_of_an_hour(visitor: Visitor, cast: Cast) -> None:
    for _ in range(11):
        visitor.post("/sign-in", email=BOB, password="wrong")
    with time_machine.travel(now() + timedelta(minutes=16)):
        assert sign_in(visitor) == "/clinics"
