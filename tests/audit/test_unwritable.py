"""What cannot be recorded does not happen; whoever is to be refused is refused all the same"""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import func, select, text

from tests.api.rows import record, store
from tests.cast import PASSWORD, Cast
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


def test_nobody_is_let_in_and_no_guess_is_told_from_the_password(
    visitor: Visitor, clinic: str
) -> None:
    for password in (PASSWORD, "a wrong password of some length"):
        answer = visitor.post("/sign-in", email="bob@example.com", password=password)
        assert answer.status_code == 503
    assert visitor.get("/clinics").status_code == 303


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
