"""What cannot be recorded does not happen; whoever is to be refused is refused all the same"""

from __future__ import annotations

import re

import pytest
from flask import Flask
from sqlalchemy import func, select, text

from tests.api.rows import record, store
from tests.cast import PASSWORD, Cast
from tests.codes import Phone, set_up
from tests.conftest import as_user
from tests.pages.visitor import Visitor, text_of
from tests.support.databases import on_both
from webapp.extensions import db
from webapp.models import AuditEvent, Role, SyncLog, User
from webapp.services import people

REFUSE = {
    "sqlite": [
        "CREATE TRIGGER audit_events_refuse_all BEFORE INSERT ON audit_events "
        "BEGIN SELECT RAISE(ABORT, 'not today'); END"
    ],
    "postgresql": [
        "CREATE FUNCTION not_today() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'not today'; END $$",
        "CREATE TRIGGER audit_events_refuse_all BEFORE INSERT ON audit_events "
        "FOR EACH ROW EXECUTE FUNCTION not_today()",
    ],
}


@pytest.fixture
def clinic(app: Flask, cast: Cast, bob: Visitor, alice: Visitor, vera: Visitor) -> str:
    """The address of Surf Rehab; from here on nothing can be recorded."""
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    bob.csrf_token(), alice.csrf_token(), vera.csrf_token()
    address = f"/clinics/{cast.surf.id}"
    db.session.rollback()
    for statement in REFUSE[db.engine.dialect.name]:
        db.session.execute(text(statement))
    db.session.commit()
    return address


@on_both
@pytest.mark.parametrize("path", ["/patients", "/patients/1"])
def test_no_patient_is_shown(bob: Visitor, clinic: str, path: str) -> None:
    answer = bob.get(clinic + path)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    assert "neither done nor shown" in text_of(answer)
    assert "Nguyen" not in answer.text


@on_both
def test_no_search_is_answered(bob: Visitor, clinic: str) -> None:
    answer = bob.post_fragment(f"{clinic}/patients", search="olivia")
    assert answer.status_code == 503
    assert "Nguyen" not in answer.text


@on_both
def test_no_byte_of_a_file_is_sent(bob: Visitor, clinic: str) -> None:
    for export in ("/patient-export", "/audit/export"):
        answer = bob.post(clinic + export)
        assert answer.status_code == 503
        assert answer.mimetype == "text/html"
        assert "Nguyen" not in answer.text
        assert "Content-Disposition" not in answer.headers


def test_the_api_says_so_too(app: Flask, cast: Cast, request: pytest.FixtureRequest) -> None:
    client = as_user(app, cast.bob)
    request.getfixturevalue("clinic")
    answer = client.get(f"/api/v1/cliniko/active-patients/{cast.surf.id}")
    assert answer.status_code == 503
    assert answer.get_json()["error_code"] == "DATABASE_UNAVAILABLE"
    assert "Nguyen" not in answer.text


@on_both
def test_nothing_is_changed(alice: Visitor, bob: Visitor, clinic: str, cast: Cast) -> None:
    changes = [
        bob.post(f"{clinic}/settings/name", name="Renamed"),
        bob.post(f"{clinic}/syncs"),
        alice.post("/people", email="mia@example.com", role="admin"),
        alice.post(f"/people/{cast.vera.id}/role", role="admin"),
        alice.post(f"/people/{cast.vera.id}/deactivate"),
    ]
    assert [answer.status_code for answer in changes] == [503] * len(changes)
    db.session.rollback()
    assert cast.surf.name == "Surf Rehab"
    assert people.by_email("mia@example.com") is None
    vera = db.session.get_one(User, cast.vera.id)
    assert (vera.role, vera.active) == (Role.VIEWER, True)
    assert db.session.scalar(select(func.count()).select_from(SyncLog)) == 1


@pytest.fixture
def phone(cast: Cast) -> Phone:
    """Bob's, who has set up a second factor."""
    return set_up(cast.bob)


@on_both
@pytest.mark.parametrize("door", ["page", "api"])
def test_nobody_is_let_in(visitor: Visitor, clinic: str, door: str) -> None:
    form = {"email": "bob@example.com", "password": PASSWORD}
    if door == "page":
        assert visitor.post("/sign-in", **form).status_code == 503
    else:
        assert visitor.client.post("/api/v1/auth/token", json=form).status_code == 503
    assert visitor.get("/clinics").status_code == 303


def test_nobody_is_let_in_by_a_code(visitor: Visitor, phone: Phone, clinic: str) -> None:
    visitor.post("/sign-in", email="bob@example.com", password=PASSWORD)
    for code in ("000000", phone.code(), phone.recovery_codes[0]):
        assert visitor.post("/sign-in/code", code=code).status_code == 503
    assert visitor.get("/clinics").status_code == 303


@on_both
@pytest.mark.parametrize("door", ["page", "api"])
def test_a_wrong_password_is_one_for_everybody_and_the_eleventh_is_not_heard(
    visitor: Visitor, phone: Phone, clinic: str, door: str
) -> None:
    """Bob has a second factor, Vera has none, and nobody has the last address."""

    def guess(email: str, number: int) -> tuple[int, str]:
        form = {"email": email, "password": "a wrong password of some length"}
        visitor.client.environ_base["REMOTE_ADDR"] = f"192.0.2.{number}"
        if door == "page":
            answer = visitor.post("/sign-in", **form)
            words = text_of(answer)
        else:
            answer = visitor.client.post("/api/v1/auth/token", json=form)
            words = answer.get_json()["message"]
        return answer.status_code, re.sub(r"Try again in [^.]*", "", words)

    emails = ("bob@example.com", "vera@example.com", "nobody@example.com")
    bobs, *others = [
        [guess(email, number) for _ in range(11)] for number, email in enumerate(emails)
    ]
    assert [status for status, _ in bobs] == [401] * 10 + [429]
    assert all(theirs == bobs for theirs in others)


@on_both
def test_a_wrong_password_is_one_for_whoever_is_signed_in(bob: Visitor, clinic: str) -> None:
    answers = [bob.post("/confirm", current="not the password at all") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [422] * 10 + [429]


@on_both
def test_a_refusal_stands(vera: Visitor, bob: Visitor, clinic: str) -> None:
    assert vera.get(f"{clinic}/patients").status_code == 403
    assert bob.client.post(f"{clinic}/syncs", data={}).status_code == 400


def test_signing_out_is_always_possible(bob: Visitor, clinic: str) -> None:
    assert bob.post("/sign-out").status_code == 303
    assert bob.get("/clinics").status_code == 303


def test_nothing_was_recorded_meanwhile(bob: Visitor, clinic: str) -> None:
    db.session.rollback()
    before = db.session.scalar(select(func.count()).select_from(AuditEvent))
    bob.get(f"{clinic}/patients")
    db.session.rollback()
    assert db.session.scalar(select(func.count()).select_from(AuditEvent)) == before
