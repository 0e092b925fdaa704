"""GET /audit and /clinics/<id>/audit: who did and saw what"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from tests.api.rows import make_log, record, store
from tests.cast import PASSWORD, Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import AuditEvent, Patient
from webapp.models.audit_event import SERVICE_CHAIN
from webapp.services import audit, audit_trail, organizations
from webapp.services.audit import Result
from webapp.services.audit_events import Event


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}/audit"


@pytest.fixture
def noon() -> Iterator[None]:
    """In the middle of a day, which does not end meanwhile."""
    with time_machine.travel(now().replace(hour=12)):
        yield


@pytest.fixture
def looks(cast: Cast) -> None:
    """Bob and Alice have looked at patients of Surf Rehab, Charlie at one of his own clinic, and
    Vera was refused."""
    surf, north = cast.surf.id, cast.northside.id
    people = ((cast.bob, surf, 1), (cast.alice, surf, 2), (cast.charlie, north, 3))
    for person, clinic, patient in people:
        subject = f"patient {patient}"
        audit.note(Event.PATIENT_VIEWED, actor=person, organization_id=clinic, subject=subject)
    audit.note(
        Event.ACCESS_DENIED,
        actor=cast.vera,
        organization_id=surf,
        result=Result.REFUSED,
        asked="VIEW_PATIENTS",
    )
    db.session.rollback()


def chain_of_last() -> int:
    db.session.rollback()
    last = db.session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert last is not None
    assert last.event == "audit:exported"
    return last.chain


def test_no_chain_begins_for_a_clinic_that_does_not_exist(alice: Visitor, cast: Cast) -> None:
    deleted, none = cast.northside.id, 999_999
    alice.post(f"/clinics/{deleted}/settings/delete", confirmation="Northside Physio")
    for asked, told in ((cast.surf.id, cast.surf.id), (deleted, deleted), (none, SERVICE_CHAIN)):
        assert alice.post("/audit/export", clinic=str(asked)).status_code == 200
        assert chain_of_last() == told
    assert {chain for chain, _, _ in audit.ends()} <= {SERVICE_CHAIN, cast.surf.id, deleted}


def test_clinics_of_the_same_name_are_told_apart_by_their_ids(alice: Visitor, cast: Cast) -> None:
    organizations.rename(cast.northside, "Surf Rehab", actor=cast.charlie)
    page = alice.get("/audit")
    for clinic in (cast.surf, cast.northside):
        assert f">Surf Rehab #{clinic.id}</option>" in page.text
    assert f"Surf Rehab #{cast.northside.id}" in text_of(page).partition("Result By way of")[2]


def rows_of(answer: TestResponse) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.get_data().decode("utf-8-sig"), newline="")))


@pytest.mark.usefixtures("looks")
def test_an_admin_sees_all_a_manager_their_clinic_a_viewer_nothing(
    alice: Visitor, bob: Visitor, vera: Visitor, charlie: Visitor, path: str
) -> None:
    words = text_of(alice.get("/audit"))
    for person in ("alice", "bob", "charlie", "vera"):
        assert f"{person}@example.com" in words
    assert "Northside Physio" in words
    words = text_of(bob.get(path))
    assert "bob@example.com manager looked at a patient patient 1" in words
    assert "alice@example.com admin looked at a patient patient 2" in words
    assert "vera@example.com viewer was denied access asked VIEW_PATIENTS" in words
    assert "charlie@example.com" not in words
    assert bob.get("/audit").status_code == 403
    assert vera.get(path).status_code == charlie.get(path).status_code == 403
    assert "Audit" in text_of(bob.get("/clinics/1"))
    assert "Audit" not in text_of(vera.get("/clinics/1"))
    assert "Audit" not in text_of(bob.get("/clinics"))


@pytest.mark.usefixtures("noon", "looks")
@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ["alice", "bob", "charlie", "vera"]),
        ("who=BOB@", ["bob"]),
        ("who=%25", []),
        ("patient=2", ["alice"]),
        ("patient=20", []),
        ("patient=", ["alice", "bob", "charlie", "vera"]),
        ("patient=x", []),
        ("event=patients:viewed", ["alice", "bob", "charlie"]),
        ("result=refused", ["vera"]),
        ("clinic=2", ["charlie"]),
        ("clinic=2&who=bob", []),
        ("clinic=0", ["alice"]),  # who belongs to none, signing in
        ("since={tomorrow}", []),
        ("since={today}&until={today}", ["alice", "bob", "charlie", "vera"]),
        ("who=alice&until={yesterday}", []),
        ("until=9999-12-31", ["alice", "bob", "charlie", "vera"]),  # no day comes after it
    ],
)
def test_it_is_narrowed_by_who_patient_what_result_day_and_clinic(
    alice: Visitor, query: str, shown: list[str]
) -> None:
    days = {"yesterday": -1, "today": 0, "tomorrow": 1}
    dates = {name: (now() + timedelta(days=n)).date() for name, n in days.items()}
    page = alice.get(f"/audit?{query.format(**dates)}")
    table = text_of(page).partition("Result By way of")[2]
    assert [name for name in ("alice", "bob", "charlie", "vera") if f"{name}@" in table] == shown
    assert ("Nothing matches" in text_of(page)) == (not shown)


def test_what_can_be_chosen_is_written_as_names_are(bob: Visitor, path: str) -> None:
    words = text_of(bob.get(path))
    assert "Set the Cliniko API key" in words
    assert "Signed somebody out everywhere" in words


def test_days_are_those_of_the_times_that_are_shown(bob: Visitor, path: str) -> None:
    words = text_of(bob.get(path))
    assert "From (UTC)" in words
    assert "To (UTC)" in words


@pytest.mark.usefixtures("noon")
@pytest.mark.parametrize(("day", "shown"), [("today", False), ("tomorrow", True)])
def test_the_days_of_a_clinics_page_are_its_own(
    alice: Visitor, cast: Cast, path: str, day: str, shown: bool
) -> None:
    cast.surf.time_zone = "Pacific/Kiritimati"  # fourteen hours ahead: two in the morning
    db.session.commit()
    chosen = {"today": now(), "tomorrow": now() + timedelta(days=1)}[day].date()
    alice.get(f"/clinics/{cast.surf.id}/patients")
    words = text_of(alice.get(f"{path}?who=alice&since={chosen}&until={chosen}"))
    assert "From (Kiritimati time)" in words
    assert ("UTC+14 alice@" in words) == shown
    assert ("Nothing matches" in words) != shown


@pytest.mark.usefixtures("noon")
def test_a_file_is_called_by_the_day_of_the_page(alice: Visitor, cast: Cast, path: str) -> None:
    cast.surf.time_zone = "Pacific/Kiritimati"
    db.session.commit()
    for address, day in ((path, now() + timedelta(days=1)), ("/audit", now())):
        name = alice.post(f"{address}/export").headers["Content-Disposition"]
        assert name.endswith(f'"audit-{day:%Y-%m-%d}.csv"')


@pytest.mark.parametrize("query", ["event=odd", "since=soon", "clinic=x", "before=x", "result=1"])
def test_nonsense_is_refused(alice: Visitor, query: str) -> None:
    assert alice.get(f"/audit?{query}").status_code == 400


def test_what_is_recorded_meanwhile_moves_no_page(bob: Visitor, cast: Cast, path: str) -> None:
    for number in range(1, 121):
        subject = f"patient {number}"
        audit.note(
            Event.PATIENT_VIEWED, actor=cast.bob, organization_id=cast.surf.id, subject=subject
        )
    seen: list[str] = []
    address = f"{path}?event=patients:viewed"
    while address:
        page = Parsed(bob.get(address).text)
        seen += re.findall("looked at a patient patient ([0-9]+)", page.text)
        audit.note(Event.PATIENT_VIEWED, organization_id=cast.surf.id, subject="patient 999")
        address = next((found["href"] or "" for found in page.having(rel="next")), "")
    assert seen == [str(number) for number in range(120, 0, -1)]


def test_a_page_keeps_what_was_asked_for(alice: Visitor, cast: Cast) -> None:
    for _ in range(51):
        audit.note(Event.SIGNED_IN, actor=cast.bob, organization_id=cast.surf.id)
    page = Parsed(alice.get("/audit?who=bob&event=session:started&clinic=1").text)
    (older,) = page.having(rel="next")
    assert {"who=bob", "event=session:started", "clinic=1"} <= set(
        (older["href"] or "").partition("?")[2].replace("%3A", ":").split("&")
    )
    assert page.having(name="who", value="bob", type_="search")
    hidden = {found["name"]: found["value"] for found in page.having(type_="hidden")}
    assert hidden.items() >= {"who": "bob", "event": "session:started", "clinic": "1"}.items()


def test_before_anything_happened_it_says_so(bob: Visitor, cast: Cast) -> None:
    with transaction() as session:
        session.execute(db.text("DROP TRIGGER audit_events_refuse_delete"))
        session.execute(db.text("DELETE FROM audit_events"))
    words = text_of(bob.get(f"/clinics/{cast.surf.id}/audit"))
    assert "Nothing recorded yet" in words
    assert "Export as CSV" not in words


@pytest.mark.usefixtures("looks")
def test_a_file_holds_what_the_page_asked_for_and_is_recorded_first(
    bob: Visitor, alice: Visitor, path: str
) -> None:
    answer = bob.post(f"{path}/export", event="patients:viewed")
    heads, *rows = rows_of(answer)
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="audit-')
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    who, what = heads.index("Who"), heads.index("What")
    assert [(row[who], row[what]) for row in rows] == [
        ("alice@example.com", "looked at a patient"),
        ("bob@example.com", "looked at a patient"),
    ]
    db.session.rollback()
    last = db.session.scalar(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1))
    assert last is not None
    assert (last.event, last.actor) == ("audit:exported", "bob@example.com")
    assert last.details == {"filters": ["event"]}
    _, only = rows_of(bob.post(f"{path}/export", patient="2"))
    assert only[who] == "alice@example.com"
    assert len(rows_of(alice.post("/audit/export", result="refused"))) == 2


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("where", ["/audit", "/clinics/1/audit"])
def test_a_file_of_more_than_there_is_time_for_is_refused(
    alice: Visitor, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert audit_trail.MOST == 100_000
    monkeypatch.setattr(audit_trail, "MOST", 2)
    asked = {"event": "patients:viewed"} if where != "/audit" else {"who": "alice"}
    before = audit.ends()
    refused = alice.post(f"{where}/export")
    assert refused.status_code == 422
    assert "more than 2 events" in text_of(refused)
    assert "Choose fewer days." in text_of(refused)
    assert "looked at a patient" in text_of(refused)  # the page is still there
    assert audit.ends() == before
    answer = alice.post(f"{where}/export", **asked)
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("where", ["/audit", "/clinics/1/audit"])
def test_half_an_hour_after_the_password_a_file_asks_for_it_and_nothing_of_the_filter_is_lost(
    cast: Cast, app: Flask, where: str
) -> None:
    asked = {"who": "alice", "event": "patients:viewed", "since": now().date().isoformat()}
    asked |= {"clinic": str(cast.surf.id)} if where == "/audit" else {}
    with time_machine.travel(now(), tick=False) as clock:
        alice = Visitor(app).signed_in(cast.alice)
        for _ in range(3):
            clock.shift(timedelta(minutes=10))
            shown = alice.get(where, query_string=asked)
        assert Parsed(shown.text).having(name="current", type="password")

        for password, words in (
            ("", "Enter your password first."),
            ("wrong", "This is not your password."),
        ):
            answer = alice.post(f"{where}/export", current=password, **asked)
            page = Parsed(answer.text)
            assert answer.status_code == 422
            assert words in text_of(answer)
            hidden = {found["name"]: found["value"] for found in page.having(type_="hidden")}
            assert {name: hidden[name] for name in asked} == asked
            assert page.having(name="current", type="password")
        guesses = [alice.post(f"{where}/export", current="wrong") for _ in range(10)]
        assert int(guesses[-1].headers["Retry-After"]) > 0
        clock.shift(timedelta(minutes=14))
        alice.get("/clinics")
        clock.shift(timedelta(minutes=14))

        assert len(rows_of(alice.post(f"{where}/export", current=PASSWORD, **asked))) == 2
        assert not Parsed(alice.get(where).text).having(name="current")


@pytest.mark.usefixtures("looks")
def test_five_files_an_hour_of_whichever_clinic_are_enough_for_anybody(
    alice: Visitor, bob: Visitor, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(audit_trail, "MOST", 2)
        assert alice.post("/audit/export").status_code == 422  # no file, and not counted
    for where in (path, "/audit", path, "/audit", path):
        assert alice.post(f"{where}/export").status_code == 200
    for where in (path, "/audit"):
        refused = alice.post(f"{where}/export")
        assert refused.status_code == 429
        assert "exported events of the audit trail 5 times within an hour" in text_of(refused)
        assert 3500 < int(refused.headers["Retry-After"]) <= 3600
    db.session.rollback()
    exported = AuditEvent.event == str(Event.AUDIT_EXPORTED)
    assert len(db.session.scalars(select(AuditEvent).where(exported)).all()) == 5
    # Files of patients are counted apart, and others have a count of their own.
    assert alice.post(path.replace("audit", "patient-export")).status_code == 200
    assert bob.post(f"{path}/export").status_code == 200


def test_a_file_of_many_is_whole(bob: Visitor, cast: Cast, path: str) -> None:
    with transaction():
        for _ in range(2_345):
            audit.record(Event.SIGNED_IN, actor=cast.bob, organization_id=cast.surf.id)
    heads, *rows = rows_of(bob.post(f"{path}/export"))
    numbers = [int(row[heads.index("Number in its chain")]) for row in rows]
    assert len(numbers) > 2_345
    assert numbers == [*range(len(numbers), 0, -1)]


def test_an_event_of_another_release_is_shown_as_it_is(
    bob: Visitor, cast: Cast, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction() as session:
        session.add(
            AuditEvent(
                chain=cast.surf.id,
                number=99,
                at=now(),
                event="room:booked",
                via="page",
                result="odd",
                details={"names": ["a", "b"], "paid": False},
                hash="",
            )
        )
    words = text_of(bob.get(path))
    assert "Somebody who is not signed in room:booked names a b, paid no odd Dashboard" in words


def test_our_number_of_somebody_leads_nobody_to_the_wrong_patient(bob: Visitor, cast: Cast) -> None:
    """It is no id of Cliniko's, which the field asks for."""
    store(cast.surf, record(1041, "Olivia", "Nguyen"))
    patient_id = db.session.scalars(select(Patient.id)).one()
    audit.note(Event.PATIENT_VIEWED, organization_id=cast.surf.id, subject=f"patient {patient_id}")

    page = text_of(bob.get(f"/clinics/{cast.surf.id}/audit?patient={patient_id}"))

    assert "Nothing matches" in page


def test_a_patient_who_was_forgotten_and_a_clinic_that_was_deleted_lead_nowhere(
    alice: Visitor, bob: Visitor, cast: Cast, path: str
) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    patient = f"/clinics/{cast.surf.id}/patients/1"
    assert bob.post(f"{patient}/forget").status_code == 303
    assert "had a patient forgotten patient 1" in text_of(bob.get(path))
    assert Parsed(bob.get(path).text).having(href=patient) == []
    audit.note(Event.PATIENT_VIEWED, organization_id=cast.surf.id, subject="patient 2")
    store(cast.surf, record(2, "Mia", "Chen"))
    patient = f"/clinics/{cast.surf.id}/patients/2"
    assert Parsed(alice.get("/audit").text).having(href=patient)
    alice.post(f"/clinics/{cast.surf.id}/settings/delete", confirmation="Surf Rehab")
    assert Parsed(alice.get("/audit").text).having(href=patient) == []


def test_whoever_and_whatever_is_there_no_more_leads_nowhere(
    alice: Visitor, cast: Cast, path: str
) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    store(cast.northside, record(2, "Isla", "Northside"))
    log = make_log(cast.surf)
    for subject in ("patient 1", "patient 2", "patient 3", f"sync {log.id}", "sync 99", "sync"):
        audit.note(Event.PATIENT_VIEWED, organization_id=cast.surf.id, subject=subject)
    for address in (path, "/audit"):
        links = re.findall(r"/clinics/1/((?:patients|syncs)/\d+)", alice.get(address).text)
        assert links == [f"syncs/{log.id}", "patients/1"]


def test_patients_that_were_looked_at_lead_to_their_page(
    bob: Visitor, cast: Cast, path: str
) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    bob.get(f"/clinics/{cast.surf.id}/patients/1")
    page = bob.get(path)
    assert Parsed(page.text).having(href=f"/clinics/{cast.surf.id}/patients/1")
    assert "Nguyen" not in page.text


def test_the_page_of_a_patient_leads_to_who_looked_at_them(
    bob: Visitor, cast: Cast, path: str
) -> None:
    store(cast.surf, record(1001, "Olivia", "Nguyen"), record(1, "Mia", "Chen"))
    for patient in (1, 2):
        bob.get(f"/clinics/{cast.surf.id}/patients/{patient}")
    address = f"{path}?patient=1001"
    shown = bob.get(f"/clinics/{cast.surf.id}/patients/1")
    assert Parsed(shown.text).having(href=address)
    words = text_of(bob.get(address))
    assert words.count("looked at a patient: patient 1") == 2
    assert "looked at a patient: patient 2" not in words


def test_a_patient_is_found_by_what_cliniko_calls_them_in_the_clinic_or_in_all(
    alice: Visitor, cast: Cast, path: str
) -> None:
    store(cast.surf, record(1546884735260034567, "Olivia", "Nguyen"), record(1, "Mia", "Chen"))
    store(cast.northside, record(1546884735260034567, "Isla", "Northside"))
    for clinic, patient in ((cast.surf, 1), (cast.surf, 2), (cast.northside, 3)):
        assert alice.get(f"/clinics/{clinic.id}/patients/{patient}").status_code == 200

    def found(address: str) -> list[str]:
        page = alice.get(f"{address}?patient=1546884735260034567")
        return re.findall("looked at a patient: (patient [0-9]+)", text_of(page))

    assert found(path) == ["patient 1"]
    assert found("/audit") == ["patient 3", "patient 1"]
    heads, row = rows_of(alice.post(f"{path}/export", patient="1546884735260034567"))
    assert row[heads.index("To what")] == "patient 1"


def test_who_looked_at_a_patient_before_they_were_forgotten_is_found_by_the_number_in_the_trail(
    bob: Visitor, cast: Cast, path: str
) -> None:
    store(cast.surf, record(1001, "Olivia", "Nguyen"))
    bob.get(f"/clinics/{cast.surf.id}/patients/1")
    assert bob.post(f"/clinics/{cast.surf.id}/patients/1/forget").status_code == 303
    words = text_of(bob.get(f"{path}?patient=1"))
    assert "had a patient forgotten patient 1" in words
    assert "looked at a patient patient 1" in words
