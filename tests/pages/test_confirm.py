"""GET and POST /confirm, and every page that asks for the password again"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from tests.api.rows import hold
from tests.cast import PASSWORD, Cast
from tests.codes import set_up
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.extensions import Base, db, transaction
from webapp.models import AuditEvent, User
from webapp.services import invitations, sessions

# Every page that shows or takes what could do harm. A page that is new here is decorated with
# `fresh`; one that is taken out of here was no mistake. Files ask on the page that offers them.
ASKS = {
    "pages.new_clinic": "GET /clinics/new",
    "pages.add_clinic": "POST /clinics/new",
    "pages.clinic_settings": "GET /clinics/1/settings",
    "pages.replace_key": "POST /clinics/1/settings/api-key",
    "pages.disable_clinic": "POST /clinics/1/settings/disable",
    "pages.enable_clinic": "POST /clinics/1/settings/enable",
    "pages.delete_clinic": "POST /clinics/1/settings/delete",
    "pages.forget_patient": "POST /clinics/1/patients/1/forget",
    "pages.people": "GET /people",
    "pages.invite": "POST /people",
    "pages.new_link": "POST /people/3/link",
    "pages.role": "GET /people/3/role",
    "pages.change_role": "POST /people/3/role",
    "pages.reset_second_factor": "POST /people/3/reset-second-factor",
    "pages.sign_out_person": "POST /people/3/sign-out",
    "pages.deactivate": "POST /people/3/deactivate",
    "pages.activate": "POST /people/3/activate",
    "pages.sign_out_everywhere": "POST /account/sign-out-everywhere",
    "pages.end_session": "POST /account/sessions/1/end",
    "pages.api_access": "GET /api-access",
    "pages.create_token": "POST /api-access",
    "pages.webhooks": "GET /clinics/1/webhooks",
    "pages.add_webhook": "POST /clinics/1/webhooks",
    "pages.webhook": "GET /clinics/1/webhooks/1",
    "pages.change_webhook": "POST /clinics/1/webhooks/1",
    "pages.rotate_webhook": "POST /clinics/1/webhooks/1/rotate",
    "pages.pause_webhook": "POST /clinics/1/webhooks/1/pause",
    "pages.resume_webhook": "POST /clinics/1/webhooks/1/resume",
    "pages.test_webhook": "POST /clinics/1/webhooks/1/test",
    "pages.delete_webhook": "POST /clinics/1/webhooks/1/delete",
    "pages.resend": "POST /clinics/1/deliveries/1/resend",
    "pages.confirm_removals": "POST /clinics/1/syncs/1/removals/confirm",
}
FIELDS = {
    "name": "Lakeview Chiro",
    "api_key": "MS0zLWxha2V2aWV3-au1",
    "email": "nina@example.com",
    "role": "manager",
    "organization": "1",
    "days": "30",
    "confirmation": "Surf Rehab",
}
# There is no webhook to find; whoever is told so was not asked for a password.
LET_IN = (200, 303, 404, 422)
each_page = pytest.mark.parametrize("page", ASKS.values())


@pytest.fixture
def alice(clock: time_machine.Traveller, app: Flask, cast: Cast) -> Visitor:
    """Still signed in, half an hour after she entered her password; a sync holds removals."""
    hold(cast.surf, 30)
    set_up(cast.vera)
    alice = Visitor(app).signed_in(cast.alice)
    for _ in range(3):
        clock.shift(timedelta(minutes=10))
        assert alice.get("/clinics").status_code == 200
    return alice


def everything() -> dict[str, list[Any]]:
    """The whole database but the sessions and the audit trail."""
    db.session.rollback()
    tables = Base.metadata.sorted_tables
    return {
        table.name: list(db.session.execute(table.select().order_by(*table.primary_key)))
        for table in tables
        if table.name not in ("user_sessions", "audit_chains", "audit_events")
    }


def ask(visitor: Visitor, page: str, **options: Any) -> Any:
    """As somebody does who has the page with the form open already."""
    method, path = page.split()
    if method == "GET":
        return visitor.get(path, **options)
    data = FIELDS | {"csrf_token": visitor.csrf_token()}
    return visitor.client.post(path, data=data, **options)


def test_every_page_that_asks_stands_here(app: Flask) -> None:
    asking = {
        endpoint
        for endpoint, view in app.view_functions.items()
        if getattr(view, "asks_for_proof", False)
    }
    assert asking == set(ASKS)


def test_it_asks_and_changes_nothing(alice: Visitor) -> None:
    before = everything()
    for page in ASKS.values():
        answer = ask(alice, page)
        if page.startswith("GET"):
            assert answer.status_code == 303, page
            assert answer.headers["Location"] == f"/confirm?next={page.split()[1]}"
        else:
            assert answer.status_code == 403, page
            assert "Nothing was changed." in text_of(answer), page
            assert Parsed(answer.text).having(name="current", type="password"), page
        assert everything() == before, page


def test_to_be_asked_is_no_refusal(alice: Visitor) -> None:
    ask(alice, "GET /people")
    ask(alice, "POST /people/3/deactivate")
    db.session.rollback()
    events = list(db.session.scalars(select(AuditEvent.event)))
    assert "session:started" in events
    assert "access:denied" not in events


def test_a_fragment_leads_the_whole_page_there(alice: Visitor) -> None:
    before = everything()
    for page in ASKS.values():
        answer = ask(alice, page, headers={"HX-Request": "true"})
        assert (answer.status_code, answer.text) == (403, ""), page
        assert answer.headers["HX-Redirect"].startswith("/confirm?next="), page
        assert everything() == before, page
        told = "Nothing was changed." in text_of(alice.get(answer.headers["HX-Redirect"]))
        assert told == page.startswith("POST"), page


@each_page
def test_with_the_password_it_goes_on(alice: Visitor, page: str) -> None:
    assert alice.post("/confirm", current=PASSWORD).status_code == 303
    assert ask(alice, page).status_code in LET_IN


@each_page
def test_who_has_just_signed_in_is_not_asked(app: Flask, cast: Cast, page: str) -> None:
    hold(cast.surf, 30)
    set_up(cast.vera)
    answer = ask(Visitor(app).signed_in(cast.alice), page)
    assert answer.status_code in LET_IN
    assert "/confirm" not in answer.headers.get("Location", "")


def test_the_password_of_one_session_is_no_proof_for_another(
    app: Flask, alice: Visitor, cast: Cast
) -> None:
    Visitor(app).signed_in(cast.alice)
    for page in ASKS.values():
        assert ask(alice, page).status_code == (303 if page.startswith("GET") else 403), page


def test_it_leads_back_to_where_the_form_stands(alice: Visitor) -> None:
    there = "/clinics/1/settings"
    told = {"Referer": f"http://localhost{there}?x=1"}
    page = ask(alice, f"POST {there}/api-key", headers=told)
    assert Parsed(page.text).having(name="next")[0]["value"] == there
    assert alice.post("/confirm", current=PASSWORD, next=there).headers["Location"] == there


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/sign-out", "/clinics?search=x", "", "/\\e"]
)
def test_it_leads_nowhere_else(alice: Visitor, path: str) -> None:
    assert alice.post("/confirm", current=PASSWORD, next=path).headers["Location"] == "/clinics"
    assert alice.get("/confirm", query_string={"next": path}).headers["Location"] == "/clinics"


def test_half_an_hour_later_it_asks_again(alice: Visitor, clock: time_machine.Traveller) -> None:
    alice.post("/confirm", current=PASSWORD)
    for _ in range(3):
        clock.shift(timedelta(minutes=9))
        assert alice.get("/people").status_code == 200
    clock.shift(timedelta(minutes=3))
    assert alice.get("/people").headers["Location"] == "/confirm?next=/people"


def test_a_wrong_password_proves_nothing(alice: Visitor) -> None:
    answer = alice.post("/confirm", current="wrong", next="/people")
    assert answer.status_code == 422
    assert "This is not your password." in text_of(answer)
    assert Parsed(answer.text).having(name="next")[0]["value"] == "/people"
    assert alice.get("/people").status_code == 303
    db.session.rollback()
    (event,) = db.session.scalars(select(AuditEvent).where(AuditEvent.result == "refused"))
    assert (event.event, event.actor, event.via) == (
        "session:unproved",
        "alice@example.com",
        "page",
    )


def test_guesses_are_counted_with_those_at_the_sign_in(alice: Visitor, visitor: Visitor) -> None:
    answers = [alice.post("/confirm", current="wrong") for _ in range(11)]
    assert [each.status_code for each in answers] == [422] * 10 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert "Too many failed attempts" in text_of(answers[-1])
    assert alice.post("/confirm", current=PASSWORD).status_code == 429
    form = {"email": "alice@example.com", "password": PASSWORD}
    assert visitor.post("/sign-in", **form).status_code == 429


@pytest.mark.parametrize(
    ("path", "heard"),
    [
        ("/confirm", 303),
        ("/account/password", 422),  # the new one is no good, so the old one stays
        ("/account/second-factor", 303),
        ("/account/second-factor/recovery-codes", 404),
        ("/account/second-factor/remove", 404),
    ],
)
def test_from_an_address_the_right_password_is_heard_ten_times_a_minute(
    app: Flask,
    cast: Cast,
    alice: Visitor,
    clock: time_machine.Traveller,
    hashes: list[str],
    path: str,
    heard: int,
) -> None:
    form = {"current": PASSWORD, "password": "too short"}
    answers = [alice.post(path, **form) for _ in range(40)]
    assert [each.status_code for each in answers] == [heard] * 10 + [429] * 30
    assert hashes.count("checked") == 10
    assert "A password was given here 10 times within a minute" in text_of(answers[-1])
    assert Parsed(answers[-1].text).having(name="current", type="password")
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 61

    # Whoever has got in keeps nobody else out: not the owner elsewhere, and nobody at the sign-in.
    elsewhere = Visitor(app).signed_in(cast.alice)
    elsewhere.client.environ_base["REMOTE_ADDR"] = "192.0.2.9"
    assert elsewhere.post(path, **form).status_code == heard
    signing_in = {"email": "alice@example.com", "password": PASSWORD}
    assert Visitor(app).post("/sign-in", **signing_in).status_code == 303
    clock.shift(61)
    assert alice.post(path, **form).status_code == heard
    db.session.rollback()
    limited = select(AuditEvent).where(AuditEvent.event == "session:limited")
    told = list(db.session.scalars(limited))
    assert len(told) == 30
    assert {each.actor for each in told} == {"alice@example.com"}


def close(user: User) -> None:
    with transaction():
        user.failures_in_a_row = 100


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize(
    "path",
    [
        "/confirm",
        "/account/password",
        "/account/second-factor",
        "/account/second-factor/recovery-codes",
        "/account/second-factor/remove",
        "/clinics/1/patient-export",
    ],
)
def test_whose_account_was_closed_is_told_so_whatever_they_give(
    alice: Visitor, cast: Cast, path: str, right: bool
) -> None:
    """Or somebody at their computer could go on guessing after the hundred: they are told by no
    answer, and by no page that shows the trail."""
    close(cast.alice)
    given = PASSWORD if right else "not the password at all"
    answer = alice.post(path, current=given, password="another battery staple")
    assert answer.status_code == 422
    assert "Your account was closed after a hundred wrong passwords" in text_of(answer)
    assert alice.get("/people").status_code == 303
    db.session.rollback()
    (event,) = db.session.scalars(select(AuditEvent).where(AuditEvent.result == "refused"))
    assert (event.event, event.actor) == ("session:closed", "alice@example.com")
    assert event.details == {"person": "alice@example.com"}
    assert cast.alice.failures_in_a_row == 100


@pytest.mark.parametrize("given", [PASSWORD, "not the password at all"], ids=["right", "wrong"])
def test_at_a_closed_account_ten_a_minute_are_heard_and_none_is_a_guess(
    alice: Visitor, cast: Cast, given: str
) -> None:
    close(cast.alice)
    answers = [alice.post("/confirm", current=given) for _ in range(11)]
    assert [each.status_code for each in answers] == [422] * 10 + [429]
    assert "A password was given here 10 times within a minute" in text_of(answers[-1])
    new = "nine herons read old maps"
    invitations.accept(invitations.renew(cast.alice), new)
    signing_in = {"email": "alice@example.com", "password": new}
    assert alice.post("/sign-in", **signing_in).status_code == 303


def test_what_needs_no_proof_goes_on_without(alice: Visitor) -> None:
    for path in ("/clinics", "/clinics/1", "/clinics/1/patients", "/account"):
        assert alice.get(path).status_code == 200
    assert alice.post("/account/notices", notices="1").status_code == 303
    assert alice.get("/people").headers["Location"] == "/confirm?next=/people"


def test_one_person_proves_nothing_for_another(alice: Visitor, cast: Cast) -> None:
    assert alice.post("/confirm", current="the password of nobody here").status_code == 422
    rows = {row.user_id: sessions.is_proved(row) for row in sessions.of(cast.alice)}
    assert rows == {cast.alice.id: False}
