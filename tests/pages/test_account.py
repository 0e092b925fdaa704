"""GET /account, and what one can change there"""

from __future__ import annotations

import pytest
from flask import Flask

from tests.cast import PASSWORD, Cast
from tests.codes import set_up
from tests.pages.visitor import Visitor, text_of
from webapp.errors import AuthenticationRequired
from webapp.extensions import db
from webapp.services import people, tokens

NEW = "quite another password"


def test_it_tells_who_one_is(bob: Visitor, cast: Cast) -> None:
    words = text_of(bob.get("/account"))
    assert f"E-mail address {cast.bob.email} Role Manager Clinic Surf Rehab" in words


def test_a_new_password_ends_everything_but_this_session(
    app: Flask, bob: Visitor, cast: Cast
) -> None:
    elsewhere = Visitor(app).signed_in(cast.bob)
    token, _ = tokens.issue(cast.bob, name="Report")
    answer = bob.post("/account/password", current=PASSWORD, password=NEW)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account")
    assert "new password was saved" in text_of(bob.get("/account"))
    assert elsewhere.get("/account").status_code == 303
    db.session.rollback()
    assert people.authenticate(cast.bob.email, NEW) is not None
    assert people.authenticate(cast.bob.email, PASSWORD) is None
    with pytest.raises(AuthenticationRequired):
        tokens.row_of(token)


@pytest.mark.parametrize(
    ("current", "new", "says"),
    [
        ("wrong", NEW, "This is not your password."),
        ("", NEW, "This is not your password."),
        (PASSWORD, "short", "at least 15 characters"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_changes(
    bob: Visitor, cast: Cast, current: str, new: str, says: str
) -> None:
    answer = bob.post("/account/password", current=current, password=new)
    assert answer.status_code == 422
    assert says in text_of(answer)
    assert people.authenticate(cast.bob.email, PASSWORD) is not None


def test_the_form_asks_for_less_where_a_code_stands_beside_the_password(
    app: Flask, bob: Visitor, cast: Cast
) -> None:
    assert "At least 15 characters" in text_of(bob.get("/account"))
    set_up(cast.bob)
    again = Visitor(app).signed_in(cast.bob)
    assert "At least 12 characters" in text_of(again.get("/account"))


def test_guesses_are_limited_as_at_the_sign_in(bob: Visitor) -> None:
    answers = [
        bob.post("/account/password", current="wrong", password=NEW).status_code for _ in range(11)
    ]
    assert answers == [422] * 10 + [429]


def test_one_signs_out_everywhere_else(app: Flask, bob: Visitor, cast: Cast) -> None:
    elsewhere = Visitor(app).signed_in(cast.bob)
    bob.post("/account/sign-out-everywhere")
    assert elsewhere.get("/clinics").status_code == 303
    assert bob.get("/clinics").status_code == 200
