"""What was ended while a request was on its way changes nothing any more, and makes no token."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask, request
from sqlalchemy import Connection, select

from tests.api.rows import record, store
from tests.cast import PASSWORD, Cast
from tests.codes import set_up
from tests.conftest import as_user
from tests.pages.visitor import Visitor
from tests.support.databases import on_both
from webapp.clock import now
from webapp.errors import (
    AuthenticationRequired,
    InsufficientPermissions,
    OrganizationDisabled,
    OrganizationNotFound,
    QueueUnavailable,
)
from webapp.extensions import db, transaction, write_alone
from webapp.models import (
    ApiToken,
    AuditEvent,
    Organization,
    Role,
    SyncLog,
    SyncStatus,
    User,
    UserSession,
)
from webapp.services import audit, callers, patients, people, roles, sessions, timestamps, tokens
from webapp.services.audit_events import Event
from webapp.sync import start, suspension

ANOTHER = "four words that a thief lacks"


def sign_out(bob: User) -> None:
    for row in db.session.scalars(select(UserSession).where(UserSession.user_id == bob.id)):
        sessions.end(row.id, owner=bob)


def revoke(bob: User) -> None:
    for row in db.session.scalars(select(ApiToken).where(ApiToken.user_id == bob.id)):
        tokens.revoke(row.id, owner=bob)


def choose_another_password(bob: User) -> None:
    people.set_password(bob, ANOTHER)


End = Callable[[User], None]
AT_ONCE: list[End] = [people.end_sessions, choose_another_password, people.deactivate]


@pytest.fixture
def elsewhere(app: Flask, cast: Cast) -> Callable[[End], None]:
    """Has Bob himself end what a thief of his has, and returns when that is done."""
    bob_id = cast.bob.id

    def himself(end: End) -> None:
        with app.app_context():
            end(db.session.get_one(User, bob_id))

    def elsewhere(end: End) -> None:
        other = threading.Thread(target=himself, args=[end])
        other.start()
        other.join()

    return elsewhere


@pytest.fixture
def meanwhile(
    elsewhere: Callable[[End], None], monkeypatch: pytest.MonkeyPatch
) -> Callable[[End], None]:
    """The same, in the moment after the thief has been let in."""

    def meanwhile(end: End) -> None:
        let_in = callers.let_in

        def and_then(*said: Any) -> None:
            let_in(*said)
            if request.method == "POST":
                monkeypatch.setattr(callers, "let_in", let_in)
                elsewhere(end)

        monkeypatch.setattr(callers, "let_in", and_then)

    return meanwhile


def recorded(event: Event) -> list[AuditEvent]:
    """The events of this kind of which it is known who did it."""
    db.session.rollback()
    known = AuditEvent.actor_id.is_not(None) & (AuditEvent.event == str(event))
    return list(db.session.scalars(select(AuditEvent).where(known)))


@on_both
@pytest.mark.parametrize("end", [sign_out, *AT_ONCE])
@pytest.mark.parametrize(
    ("path", "fields", "event"),
    [
        ("/people/{vera}/deactivate", {}, Event.PERSON_DEACTIVATED),
        ("/people", {"email": "mia@example.com", "role": "manager"}, Event.PERSON_INVITED),
        ("/api-access", {"name": "Report", "days": "365"}, Event.TOKEN_ISSUED),
        ("/clinics/{surf}/settings/name", {"name": "Stolen"}, Event.CLINIC_RENAMED),
        ("/clinics/{surf}/syncs", {}, Event.SYNC_STARTED),
        ("/account/notices", {}, Event.MAILS_CHOSEN),
    ],
)
def test_a_session_changes_nothing(
    app: Flask,
    cast: Cast,
    meanwhile: Callable[[End], None],
    end: End,
    path: str,
    fields: dict[str, str],
    event: Event,
) -> None:
    thief = Visitor(app).signed_in(cast.bob)
    meanwhile(end)

    answer = thief.post(path.format(vera=cast.vera.id, surf=cast.surf.id), **fields)

    assert answer.status_code == 403 or answer.headers["Location"].startswith("/sign-in")
    assert recorded(event) == []
    assert thief.get("/clinics").headers["Location"].startswith("/sign-in")


@on_both
@pytest.mark.parametrize("end", [sign_out, people.deactivate])
def test_a_sync_that_no_worker_can_be_told_of_is_closed_all_the_same(
    app: Flask,
    cast: Cast,
    elsewhere: Callable[[End], None],
    monkeypatch: pytest.MonkeyPatch,
    end: End,
) -> None:
    bob_id = cast.bob.id

    def away(*said: Any, **more: Any) -> None:
        elsewhere(end)
        raise QueueUnavailable()

    monkeypatch.setattr(start, "enqueue_sync", away)

    Visitor(app).signed_in(cast.bob).post(f"/clinics/{cast.surf.id}/syncs")

    assert [row.actor_id for row in recorded(Event.SYNC_FAILED)] == [bob_id]
    assert [log.status for log in db.session.scalars(select(SyncLog))] == [SyncStatus.FAILED]


@pytest.mark.parametrize("database", ["postgresql"])
def test_what_was_ended_while_a_change_waited_for_the_trail_counts(
    app: Flask,
    cast: Cast,
    elsewhere: Callable[[End], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SQLite lets one write at a time from its beginning on."""
    thief, append = Visitor(app).signed_in(cast.bob), audit.append

    def after_another(*said: Any) -> None:
        monkeypatch.setattr(audit, "append", append)
        elsewhere(people.end_sessions)
        append(*said)

    monkeypatch.setattr(audit, "append", after_another)

    answer = thief.post(f"/clinics/{cast.surf.id}/settings/name", name="Stolen")

    assert answer.headers["Location"].startswith("/sign-in")
    assert recorded(Event.CLINIC_RENAMED) == []
    db.session.expire_all()
    assert cast.surf.name == "Surf Rehab"


@on_both
@pytest.mark.parametrize("end", AT_ONCE)
def test_a_code_does_not_follow_a_password_that_was_replaced(
    app: Flask,
    cast: Cast,
    elsewhere: Callable[[End], None],
    monkeypatch: pytest.MonkeyPatch,
    end: End,
) -> None:
    """While whoever was signed in at this browser is signed out, and their session written down."""
    phone, end_session = set_up(cast.bob), sessions.end
    thief = Visitor(app).signed_in(cast.vera)

    def and_then(*said: Any, **more: Any) -> None:
        elsewhere(end)
        end_session(*said, **more)

    monkeypatch.setattr(sessions, "end", and_then)

    thief.post("/sign-in", email="bob@example.com", password=PASSWORD)

    answer = thief.post("/sign-in/code", code=phone.code())
    assert answer.headers["Location"].startswith("/sign-in")
    assert recorded(Event.SIGNED_IN)[-1].actor_id == cast.vera.id


def make_a_viewer(bob: User) -> None:
    roles.change(bob, Role.VIEWER, bob.organization_id)


def move(bob: User) -> None:
    other = select(Organization.id).where(Organization.name == "Northside Physio")
    roles.change(bob, Role.MANAGER, db.session.scalars(other).one())


@on_both
@pytest.mark.parametrize("end", [make_a_viewer, move, people.deactivate])
@pytest.mark.parametrize("door", ["page", "API"])
def test_a_code_of_somebody_who_has_become_another_meanwhile_is_not_accepted(
    app: Flask,
    cast: Cast,
    elsewhere: Callable[[End], None],
    monkeypatch: pytest.MonkeyPatch,
    end: End,
    door: str,
) -> None:
    """Between the look at their row and its lock."""
    phone, changing = set_up(cast.bob), people.changing
    bob = Visitor(app)
    bob.post("/sign-in", email="bob@example.com", password=PASSWORD)

    def after_another(*said: Any, **more: Any) -> AbstractContextManager[None]:
        monkeypatch.setattr(people, "changing", changing)
        elsewhere(end)
        return changing(*said, **more)

    monkeypatch.setattr(people, "changing", after_another)

    if door == "page":
        answer = bob.post("/sign-in/code", code=phone.code())
    else:
        body = {"email": "bob@example.com", "password": PASSWORD, "code": phone.code()}
        answer = app.test_client().post("/api/v1/auth/token", json=body)

    assert answer.status_code == 401
    assert "code is wrong, or was used before" in answer.text
    assert recorded(Event.SIGNED_IN) == recorded(Event.TOKEN_ISSUED) == []


@on_both
@pytest.mark.parametrize("end", [revoke, *AT_ONCE])
@pytest.mark.parametrize(
    ("path", "body", "event"),
    [
        (
            "webhooks",
            {"address": "https://thief.example.com/", "events": ["sync.failed"]},
            Event.WEBHOOK_ADDED,
        ),
        ("sync-all", None, Event.SYNC_STARTED),
    ],
)
def test_a_token_changes_nothing(
    app: Flask,
    cast: Cast,
    meanwhile: Callable[[End], None],
    end: End,
    path: str,
    body: dict[str, Any] | None,
    event: Event,
) -> None:
    thief = as_user(app, cast.bob)
    meanwhile(end)

    answer = thief.post(f"/api/v1/cliniko/{path}/{cast.surf.id}", json=body)

    assert answer.status_code == (403 if end is people.deactivate else 401)
    assert recorded(event) == []


@on_both
@pytest.mark.parametrize("end", [sign_out, people.end_sessions])
def test_a_wrong_password_is_counted_all_the_same(
    app: Flask, cast: Cast, meanwhile: Callable[[End], None], end: End
) -> None:
    """Or a thief could guess for nothing with what is about to be ended."""
    thief = Visitor(app).signed_in(cast.bob)
    meanwhile(end)

    thief.post("/confirm", current="not the password at all")

    assert len(recorded(Event.PROOF_FAILED)) == cast.bob.failures_in_a_row == 1


@on_both
def test_who_ends_all_they_had_themselves_goes_on(app: Flask, cast: Cast) -> None:
    bob = Visitor(app).signed_in(cast.bob)

    bob.post("/account/sign-out-everywhere")
    bob.post("/account/password", current=PASSWORD, password=ANOTHER)

    assert bob.get("/clinics").status_code == 200
    assert len(recorded(Event.SIGNED_OUT_EVERYWHERE)) == len(recorded(Event.PASSWORD_CHANGED)) == 1


@pytest.fixture
def while_it_is_noted(
    elsewhere: Callable[[End], None], monkeypatch: pytest.MonkeyPatch
) -> Callable[[End], None]:
    """The same, while it is noted that somebody is there, which may have to wait for the change."""

    def while_it_is_noted(end: End) -> None:
        monkeypatch.setattr(timestamps, "write_alone", _after(lambda: elsewhere(end)))

    def _after(done: Callable[[], None]) -> Callable[[], AbstractContextManager[Connection]]:
        def write() -> AbstractContextManager[Connection]:
            monkeypatch.undo()
            done()
            return write_alone()

        return write

    return while_it_is_noted


@on_both
@pytest.mark.parametrize("way", ["page", "API"])
def test_who_is_given_another_clinic_meanwhile_sees_nothing_of_it(
    app: Flask, cast: Cast, while_it_is_noted: Callable[[End], None], way: str
) -> None:
    """Nor does whoever has their session or token and knew how to wait."""
    northside = cast.northside.id
    store(cast.northside, record(1, "Olivia", "Nguyen"))
    bob = Visitor(app).signed_in(cast.bob)
    program = as_user(app, cast.bob)

    with time_machine.travel(now() + timedelta(minutes=2)):
        while_it_is_noted(lambda bob: roles.change(bob, Role.MANAGER, northside))
        if way == "page":
            answer = bob.get(f"/clinics/{northside}/patients")
        else:
            path = f"/api/v1/cliniko/active-patients/{northside}"
            answer = Context().run(program.get, path)
    db.session.rollback()
    assert cast.bob.organization_id == northside
    assert (answer.status_code, "Nguyen" in answer.text) == (403, False)


def disable_the_clinic(bob: User) -> None:
    alice = db.session.scalars(select(User).where(User.role == Role.ADMIN)).one()
    clinic = bob.organization
    assert clinic is not None
    suspension.disable(clinic, actor=alice)


def delete_the_clinic(bob: User) -> None:
    alice = db.session.scalars(select(User).where(User.role == Role.ADMIN)).one()
    clinic = bob.organization
    assert clinic is not None
    suspension.delete(clinic, clinic.name, actor=alice)


TAKEN_AWAY: list[End] = [*AT_ONCE, sign_out, make_a_viewer, move, disable_the_clinic]
FILES = pytest.mark.parametrize(
    ("file", "event"),
    [("patient-export", Event.PATIENTS_EXPORTED), ("audit/export", Event.AUDIT_EXPORTED)],
)


@pytest.fixture
def long(cast: Cast) -> None:
    """Patients and events of Surf Rehab for more than two looks at the database."""
    store(cast.surf, *(record(number, "Olivia", "Nguyen" * 20) for number in range(1_200)))
    with transaction():
        for number in range(2_200):
            subject = f"try {number}"
            audit.record(Event.SIGNED_OUT, organization_id=cast.surf.id, subject=subject)


@on_both
@FILES
@pytest.mark.parametrize("end", TAKEN_AWAY)
def test_a_file_does_not_begin_and_nobody_is_said_to_have_it(
    app: Flask,
    cast: Cast,
    meanwhile: Callable[[End], None],
    file: str,
    event: Event,
    end: End,
) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    thief = Visitor(app).signed_in(cast.bob)
    meanwhile(end)

    answer = thief.post(f"/clinics/{cast.surf.id}/{file}")

    assert answer.status_code != 200
    assert "attachment" not in answer.headers.get("Content-Disposition", "")
    assert recorded(event) == []


@on_both
@FILES
@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("end", TAKEN_AWAY)
def test_a_file_breaks_off(
    app: Flask, cast: Cast, elsewhere: Callable[[End], None], file: str, event: Event, end: End
) -> None:
    thief = Visitor(app).signed_in(cast.bob)
    parts = thief.post(f"/clinics/{cast.surf.id}/{file}").iter_encoded()
    begun = next(parts)

    elsewhere(end)

    with pytest.raises((InsufficientPermissions, AuthenticationRequired, OrganizationDisabled)):
        begun += b"".join(parts)
    assert begun.count(b"\r\n") <= 1_100
    assert len(recorded(event)) == 1


@on_both
@FILES
@pytest.mark.usefixtures("long")
def test_an_admin_goes_on_with_a_clinic_that_is_disabled(
    app: Flask, cast: Cast, elsewhere: Callable[[End], None], file: str, event: Event
) -> None:
    alice = Visitor(app).signed_in(cast.alice)
    parts = alice.post(f"/clinics/{cast.surf.id}/{file}").iter_encoded()
    begun = next(parts)

    elsewhere(disable_the_clinic)

    content = begun + b"".join(parts)
    (exported,) = recorded(event)
    assert content.count(b"\r\n") > exported.details.get("count", 2_200)


@on_both
@pytest.mark.usefixtures("long")
def test_the_file_of_a_clinic_that_is_deleted_breaks_off_for_an_admin_too(
    app: Flask, cast: Cast, elsewhere: Callable[[End], None]
) -> None:
    """Its patients go within seconds: the rest of the file would be missing."""
    alice = Visitor(app).signed_in(cast.alice)
    parts = alice.post(f"/clinics/{cast.surf.id}/patient-export").iter_encoded()
    next(parts)

    elsewhere(delete_the_clinic)

    with pytest.raises(OrganizationNotFound):
        b"".join(parts)


@on_both
@pytest.mark.parametrize("end", TAKEN_AWAY)
def test_a_look_at_patients_shows_nobody_and_is_in_nobodys_name(
    app: Flask,
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    elsewhere: Callable[[End], None],
    end: End,
) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    thief, find = Visitor(app).signed_in(cast.bob), patients.find

    def and_then(*said: Any, **more: Any) -> Any:
        found = find(*said, **more)
        monkeypatch.setattr(patients, "find", find)
        elsewhere(end)
        return found

    monkeypatch.setattr(patients, "find", and_then)

    answer = thief.get(f"/clinics/{cast.surf.id}/patients")

    assert (answer.status_code == 200, "Nguyen" in answer.text) == (False, False)
    assert recorded(Event.PATIENTS_LISTED) == []
