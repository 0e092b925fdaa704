"""/account/second-factor, and the second step of signing in"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import time_machine
from flask import Flask

from tests.cast import PASSWORD, Cast
from tests.codes import Phone, code_of, set_up
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.clock import now
from webapp.errors import AuthenticationRequired
from webapp.extensions import db
from webapp.services import invitations, people, second_factor, tokens

PAGE = "/account/second-factor"
BOB = "bob@example.com"
RECOVERY_CODE = r"\b(?:[a-z0-9]{4}-){5}[a-z0-9]{4}\b"


@pytest.fixture
def phone(cast: Cast) -> Phone:
    """Bob's."""
    return set_up(cast.bob)


def first_step(visitor: Visitor, email: str = BOB, **fields: str) -> str:
    """Where the right password leads to."""
    answer = visitor.post("/sign-in", email=email, password=PASSWORD, **fields)
    assert answer.status_code == 303, text_of(answer)
    return answer.headers["Location"]


def is_signed_in(visitor: Visitor) -> bool:
    return visitor.get("/clinics").status_code == 200


def begun(visitor: Visitor) -> str:
    """The key, as the page shows it."""
    assert visitor.post(PAGE, current=PASSWORD).headers["Location"] == PAGE
    key = re.search(r"Key ([A-Z2-7 ]+) The code", text_of(visitor.get(PAGE)))
    assert key is not None
    return key[1].replace(" ", "")


def test_it_is_set_up_with_a_password_and_a_code_and_shows_recovery_codes_once(
    bob: Visitor, cast: Cast
) -> None:
    assert "Set it up" in text_of(bob.get(PAGE))
    key = begun(bob)
    answer = bob.post(f"{PAGE}/confirm", code=code_of(key))
    codes = re.findall(RECOVERY_CODE, answer.text)
    assert len(codes) == 10
    page = bob.get(PAGE)
    assert "Recovery codes left 10" in text_of(page)
    assert codes[0] not in page.text
    assert key not in page.text
    db.session.rollback()
    assert cast.bob.second_factor_since is not None


def test_the_picture_holds_the_key_and_is_kept_nowhere(bob: Visitor) -> None:
    assert bob.get(f"{PAGE}/qr.svg").status_code == 404
    begun(bob)
    picture = bob.get(f"{PAGE}/qr.svg")
    assert picture.mimetype == "image/svg+xml"
    assert picture.headers["Cache-Control"] == "no-store"
    assert picture.text.startswith("<svg ")
    assert "style=" not in picture.text
    (image,) = Parsed(bob.get(PAGE).text).having(_class="qr")
    assert image["src"] == f"{PAGE}/qr.svg"


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/recovery-codes", f"{PAGE}/remove"])
def test_each_change_needs_the_password_and_guesses_are_limited(
    bob: Visitor, cast: Cast, path: str
) -> None:
    if path != PAGE:
        set_up(cast.bob)
        bob.signed_in(cast.bob)
    left = second_factor.recovery_codes_left(cast.bob)
    statuses = [bob.post(path, current="wrong").status_code for _ in range(11)]
    assert statuses == [422] * 10 + [429]
    db.session.rollback()
    assert second_factor.recovery_codes_left(cast.bob) == left
    assert (cast.bob.second_factor_since is not None) == (path != PAGE)


def test_a_wrong_code_confirms_nothing(bob: Visitor, cast: Cast) -> None:
    begun(bob)
    answer = bob.post(f"{PAGE}/confirm", code="000000")
    assert answer.status_code == 422
    assert "This code is wrong" in text_of(answer)
    db.session.rollback()
    assert cast.bob.second_factor_since is None


def test_whoever_is_signed_in_elsewhere_learns_no_key_and_is_out_when_it_is_on(
    app: Flask, bob: Visitor, cast: Cast
) -> None:
    elsewhere = Visitor(app).signed_in(cast.bob)
    token, _ = tokens.issue(cast.bob)
    key = begun(bob)
    assert "Key" not in text_of(elsewhere.get(PAGE))
    assert elsewhere.get(f"{PAGE}/qr.svg").status_code == 404
    assert elsewhere.post(f"{PAGE}/confirm", code=code_of(key)).headers["Location"] == PAGE
    assert bob.post(f"{PAGE}/confirm", code="000000").status_code == 422
    assert is_signed_in(elsewhere)
    assert bob.post(f"{PAGE}/confirm", code=code_of(key)).status_code == 200
    assert is_signed_in(bob)
    assert not is_signed_in(elsewhere)
    with pytest.raises(AuthenticationRequired):
        tokens.row_of(token)


def test_whoever_took_too_long_is_told_to_begin_again(bob: Visitor) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        key = begun(bob)
        for _ in range(2):
            clock.shift(timedelta(minutes=8))
            bob.get(PAGE)
        assert bob.post(f"{PAGE}/confirm", code=code_of(key)).headers["Location"] == PAGE
        assert "The key has lapsed" in text_of(bob.get(PAGE))


def test_a_form_sent_twice_is_not_told_to_begin_again(bob: Visitor) -> None:
    key = begun(bob)
    bob.post(f"{PAGE}/confirm", code=code_of(key))
    assert bob.post(f"{PAGE}/confirm", code=code_of(key)).headers["Location"] == PAGE
    assert "Begin again" not in text_of(bob.get(PAGE))


def test_a_password_that_is_too_short_alone_keeps_it_and_the_page_says_why(
    app: Flask, cast: Cast, phone: Phone
) -> None:
    people.set_password(cast.bob, "x7#Kq9!vLp2$")
    bob = Visitor(app).signed_in(cast.bob)
    answer = bob.post(f"{PAGE}/remove", current="x7#Kq9!vLp2$")
    assert answer.status_code == 422
    assert "It was not removed. Choose a password of at least 15" in text_of(answer)
    assert Parsed(answer.text).having(aria_invalid="true") == []


def test_new_recovery_codes_are_shown_once(phone: Phone, app: Flask, cast: Cast) -> None:
    bob = Visitor(app).signed_in(cast.bob)
    answer = bob.post(f"{PAGE}/recovery-codes", current=PASSWORD)
    codes = re.findall(RECOVERY_CODE, answer.text)
    assert len(codes) == 10
    assert not set(codes) & set(phone.recovery_codes)
    visitor = Visitor(app)
    first_step(visitor)
    assert visitor.post("/sign-in/code", code=phone.recovery_codes[0]).status_code == 401
    assert visitor.post("/sign-in/code", code=codes[0]).status_code == 303


def test_removing_it_signs_out_everywhere_else(app: Flask, cast: Cast, phone: Phone) -> None:
    bob, elsewhere = (Visitor(app).signed_in(cast.bob) for _ in range(2))
    assert bob.post(f"{PAGE}/remove", current=PASSWORD).headers["Location"] == "/account"
    assert "was removed" in text_of(bob.get("/account"))
    assert not is_signed_in(elsewhere)
    assert first_step(Visitor(app)) == "/clinics"


def test_signing_in_takes_two_steps_and_between_them_nobody_is_signed_in(
    visitor: Visitor, phone: Phone
) -> None:
    assert first_step(visitor, next="/clinics/1") == "/sign-in/code?next=/clinics/1"
    assert not is_signed_in(visitor)
    with visitor.client.session_transaction() as session:
        assert set(session) - {"csrf_token", "_fresh"} == {"awaited"}
    form = Parsed(visitor.get("/sign-in/code?next=/clinics/1").text)
    assert form.having(name="next")[0]["value"] == "/clinics/1"
    assert form.having(name="code")[0]["autocomplete"] == "one-time-code"

    answer = visitor.post("/sign-in/code", code=phone.code(), next="/clinics/1")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/clinics/1")
    assert is_signed_in(visitor)


def test_a_code_signs_in_once(app: Flask, visitor: Visitor, phone: Phone) -> None:
    code = phone.code()
    first_step(visitor)
    assert visitor.post("/sign-in/code", code=code).status_code == 303
    again = Visitor(app)
    first_step(again)
    refused = again.post("/sign-in/code", code=code)
    assert refused.status_code == 401
    assert "was used before" in text_of(refused)
    assert not is_signed_in(again)


def test_a_recovery_code_signs_in_and_says_how_many_are_left(
    visitor: Visitor, phone: Phone
) -> None:
    first_step(visitor)
    visitor.post("/sign-in/code", code=phone.recovery_codes[3])
    assert "You used a recovery code; 9 are left" in text_of(visitor.get("/clinics"))


def test_the_sixth_wrong_code_in_five_minutes_is_not_heard(
    app: Flask, visitor: Visitor, phone: Phone
) -> None:
    first_step(visitor)
    statuses = [visitor.post("/sign-in/code", code="000000").status_code for _ in range(5)]
    assert statuses == [401] * 5
    other = Visitor(app)
    first_step(other)
    for each in (visitor, other):  # they are counted for the person, whoever they are
        refused = each.post("/sign-in/code", code=phone.code())
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 300
        assert not is_signed_in(each)
    with time_machine.travel(now() + timedelta(minutes=5, seconds=1)):
        first_step(visitor)
        visitor.post("/sign-in/code", code=phone.code())
        assert is_signed_in(visitor)


def test_after_five_minutes_one_begins_again(visitor: Visitor, phone: Phone) -> None:
    first_step(visitor)
    with time_machine.travel(now() + timedelta(minutes=5, seconds=2)):
        assert visitor.get("/sign-in/code").headers["Location"] == "/sign-in"
        answer = visitor.post("/sign-in/code", code=phone.code())
        assert answer.headers["Location"] == "/sign-in"
        assert "Begin again" in text_of(visitor.get("/sign-in"))
        assert not is_signed_in(visitor)


def test_what_ends_sessions_ends_the_first_step_too(
    visitor: Visitor, cast: Cast, phone: Phone
) -> None:
    first_step(visitor)
    people.end_sessions(cast.bob)
    assert visitor.post("/sign-in/code", code=phone.code()).headers["Location"] == "/sign-in"
    assert not is_signed_in(visitor)


def test_a_code_without_a_password_is_worth_nothing(visitor: Visitor, phone: Phone) -> None:
    assert visitor.post("/sign-in/code", code=phone.code()).headers["Location"] == "/sign-in"
    assert not is_signed_in(visitor)


def test_a_link_to_choose_a_password_does_not_pass_the_code_by(
    visitor: Visitor, cast: Cast, phone: Phone
) -> None:
    secret = invitations.renew(cast.bob)
    answer = visitor.post("/invitation", secret=secret, password="x7#Kq9!vLp2$")
    assert answer.headers["Location"] == "/sign-in/code"
    assert not is_signed_in(visitor)
    visitor.post("/sign-in/code", code=phone.code())
    assert is_signed_in(visitor)


def test_an_admin_resets_it_for_somebody_who_lost_the_phone(
    app: Flask, alice: Visitor, bob: Visitor, cast: Cast, phone: Phone
) -> None:
    assert f"Reset the second factor of {BOB}?" in text_of(alice.get("/people"))
    path = f"/people/{cast.bob.id}/reset-second-factor"
    assert alice.post(path).headers["Location"] == "/people"
    assert not is_signed_in(bob)
    assert "Reset the second factor of" not in text_of(alice.get("/people"))
    assert first_step(Visitor(app)) == "/clinics"
    assert alice.post(path).status_code == 404  # there is none any more


def test_a_manager_resets_nobodys(bob: Visitor, cast: Cast) -> None:
    set_up(cast.vera)
    assert "Reset the second factor of" not in text_of(bob.get("/people"))
    assert bob.post(f"/people/{cast.vera.id}/reset-second-factor").status_code == 403
    db.session.rollback()
    assert cast.vera.second_factor_since is not None


def test_no_form_takes_somebody_elses_password(alice: Visitor) -> None:
    assert Parsed(alice.get("/people").text).having(type="password") == []
