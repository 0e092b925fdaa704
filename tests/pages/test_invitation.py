"""GET and POST /invitation: choosing a password by the link that somebody was given"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import time_machine
from flask import Flask

from tests.cast import Cast
from tests.pages.visitor import Visitor, text_of
from webapp.clock import now
from webapp.extensions import db
from webapp.models import Invitation, Role, User
from webapp.services import invitations, people

GOOD = "four words that only Nina has"


@pytest.fixture
def nina(cast: Cast) -> tuple[User, str]:
    """A person who was invited, and the secret of her link."""
    return invitations.invite("nina@example.com", role=Role.VIEWER, organization_id=cast.surf.id)


def path(secret: str) -> str:
    return f"/invitation?secret={secret}"


def test_a_password_is_chosen_and_one_is_signed_in(
    visitor: Visitor, nina: tuple[User, str]
) -> None:
    _, secret = nina
    assert "You will sign in as nina@example.com" in text_of(visitor.get(path(secret)))
    answer = visitor.post("/invitation", secret=secret, password=GOOD)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/clinics")
    assert "Surf Rehab" in text_of(visitor.get("/clinics"))
    user = people.authenticate("nina@example.com", GOOD)
    assert user is not None
    assert user.state == "active"
    assert user.last_sign_in_at is not None


def test_over_https_the_form_is_taken_though_its_page_tells_nobody_its_address(
    app: Flask, nina: tuple[User, str]
) -> None:
    _, secret = nina
    browser = app.test_client()
    page = browser.get(path(secret), base_url="https://localhost")
    assert page.headers["Referrer-Policy"] == "strict-origin"
    token = page.text.split('name="csrf_token" value="')[1].split('"')[0]
    answer = browser.post(
        "/invitation",
        base_url="https://localhost",
        data={"secret": secret, "password": GOOD, "csrf_token": token},
        headers={"Referer": "https://localhost/"},
    )
    assert answer.status_code == 303


def test_a_link_works_once(visitor: Visitor, nina: tuple[User, str], app: Flask) -> None:
    _, secret = nina
    visitor.post("/invitation", secret=secret, password=GOOD)
    stranger = Visitor(app)
    assert stranger.get(path(secret)).status_code == 410
    again = stranger.post("/invitation", secret=secret, password="another one that is long")
    assert again.status_code == 410
    assert "does not work any more" in text_of(again)
    assert "Choose a password" not in text_of(again)  # the title neither
    assert "<title>This link does not work any more" in again.text
    db.session.rollback()
    assert people.authenticate("nina@example.com", GOOD) is not None


def test_a_link_works_for_a_day(visitor: Visitor, nina: tuple[User, str]) -> None:
    _, secret = nina
    with time_machine.travel(now() + timedelta(hours=23, minutes=59)):
        assert visitor.get(path(secret)).status_code == 200
    with time_machine.travel(now() + timedelta(hours=24, minutes=1)):
        assert visitor.get(path(secret)).status_code == 410


def test_a_link_for_another_password_works_for_an_hour(visitor: Visitor, cast: Cast) -> None:
    secret = invitations.renew(cast.bob)
    with time_machine.travel(now() + timedelta(minutes=59)):
        assert visitor.get(path(secret)).status_code == 200
    with time_machine.travel(now() + timedelta(minutes=61)):
        answer = visitor.post("/invitation", secret=secret, password=GOOD)
        assert answer.status_code == 410
        assert "Ask whoever gave it to you for another" in text_of(answer)


def test_a_link_begins_with_our_own_address_whatever_host_was_asked_for(
    app: Flask, alice: Visitor, cast: Cast
) -> None:
    app.config["PUBLIC_URL"] = "https://patients.example"
    token = alice.csrf_token()
    cookie = alice.client.get_cookie("session")
    assert cookie is not None
    hosts = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    page = app.test_client(use_cookies=False).post(
        f"/people/{cast.bob.id}/link",
        data={"csrf_token": token},
        headers=hosts | {"Cookie": f"session={cookie.value}"},
    )
    assert "https://patients.example/invitation?secret=" in page.text
    assert "evil.example" not in page.text


def test_a_name_that_can_be_known_is_no_password(visitor: Visitor, nina: tuple[User, str]) -> None:
    answer = visitor.post("/invitation", secret=nina[1], password="nina-surf-rehab-2026")
    assert answer.status_code == 422
    assert "first that are guessed" in text_of(answer)


def test_a_newer_link_ends_the_older(visitor: Visitor, nina: tuple[User, str]) -> None:
    user, secret = nina
    newer = invitations.renew(user)
    assert visitor.get(path(secret)).status_code == 410
    assert visitor.get(path(newer)).status_code == 200


def test_a_deactivated_person_is_not_let_in_by_a_link(
    visitor: Visitor, nina: tuple[User, str]
) -> None:
    user, secret = nina
    people.deactivate(user)
    assert visitor.get(path(secret)).status_code == 410
    assert visitor.post("/invitation", secret=secret, password=GOOD).status_code == 410


def test_a_short_password_is_refused_and_the_link_still_works(
    visitor: Visitor, nina: tuple[User, str]
) -> None:
    _, secret = nina
    assert "At least 15 characters" in text_of(visitor.get(path(secret)))
    answer = visitor.post("/invitation", secret=secret, password="short")
    assert answer.status_code == 422
    assert "at least 15 characters" in text_of(answer)
    assert visitor.post("/invitation", secret=secret, password=GOOD).status_code == 303


def test_looking_uses_nothing_up(visitor: Visitor, nina: tuple[User, str]) -> None:
    _, secret = nina
    for _ in range(3):  # as the previews of mail programs do
        assert visitor.get(path(secret)).status_code == 200


@pytest.mark.parametrize("secret", ["", "x", "a" * 5000, "%00", "ü"])
def test_what_is_no_link_is_told_the_same(visitor: Visitor, cast: Cast, secret: str) -> None:
    assert visitor.get(path(secret)).status_code == 410


def test_whoever_is_invited_cannot_sign_in_before(nina: tuple[User, str]) -> None:
    _, secret = nina
    for guess in ("", secret, "the hash of an account that does not exist"):
        assert people.authenticate("nina@example.com", guess) is None


def test_a_forgotten_password_holds_until_the_link_is_used_and_then_all_sessions_end(
    bob: Visitor, visitor: Visitor, cast: Cast
) -> None:
    secret = invitations.renew(cast.bob)
    assert bob.get("/clinics").status_code == 200
    visitor.post("/invitation", secret=secret, password=GOOD)
    assert bob.get("/clinics").status_code == 303
    assert visitor.get("/clinics").status_code == 200


def test_the_secret_is_stored_nowhere(nina: tuple[User, str]) -> None:
    _, secret = nina
    (row,) = db.session.query(Invitation).all()
    assert secret not in str(vars(row))


def test_no_log_and_no_answer_that_leads_on_holds_the_secret(
    visitor: Visitor, nina: tuple[User, str], caplog: pytest.LogCaptureFixture
) -> None:
    _, secret = nina
    answer = visitor.post("/invitation", secret=secret, password=GOOD)
    assert secret not in str(answer.headers)
    assert secret not in caplog.text
    assert urlsplit(answer.headers["Location"]).query == ""
