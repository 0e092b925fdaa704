"""POST /clinics/<id>/patient-export"""

from __future__ import annotations

import csv
import io
import tracemalloc
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, text
from werkzeug.test import TestResponse

from tests.api.rows import record, store
from tests.cast import PASSWORD, Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from tests.support.databases import on_both
from webapp.cliniko.records import PatientState
from webapp.clock import now
from webapp.extensions import db
from webapp.models import AuditEvent, Organization
from webapp.services import patient_export


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}/patient-export"


@pytest.fixture
def three(cast: Cast) -> None:
    """Three patients of Surf Rehab, and one of another clinic."""
    phones = (("Mobile", "+61 412 345 678"), ("Home", "07 1234"))
    store(
        cast.surf,
        record(
            1,
            "Olivia",
            "Nguyễn",
            email="olivia@example.com",
            phones=phones,
            date_of_birth=date(2001, 5, 21),
        ),
        record(2, "=1+1", "Smith"),
        record(3, "Amelia", "Patel", state=PatientState.ARCHIVED),
    )
    store(cast.northside, record(4, "Isla", "Northside"))


def rows_of(answer: TestResponse) -> list[dict[str, str]]:
    text = answer.get_data().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def recorded() -> list[AuditEvent]:
    db.session.rollback()
    exports = AuditEvent.event == "patients:exported"
    return list(db.session.scalars(select(AuditEvent).where(exports).order_by(AuditEvent.id)))


def many(clinic: Organization, count: int) -> None:
    """So many patients, made by the database itself."""
    store(clinic, record(1, "Olivia", "Nguyen", email="olivia@example.com"))
    db.session.execute(
        text(
            "INSERT INTO patients (organization_id, cliniko_patient_id, state, first_name, "
            "last_name, preferred_first_name, email, phone, phones, content_hash, search_text, "
            "search_digits, sort_key, sync_status, last_synced, last_changed, last_sync_id) "
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < :count) "
            "SELECT organization_id, CAST(i AS TEXT), state, first_name, last_name || i, "
            "preferred_first_name, email, phone, phones, content_hash, search_text, "
            "search_digits, sort_key || i, sync_status, last_synced, last_changed, last_sync_id "
            "FROM n, patients WHERE organization_id = :clinic AND cliniko_patient_id = '1'"
        ),
        {"count": count, "clinic": clinic.id},
    )
    db.session.commit()


@on_both
@pytest.mark.usefixtures("three")
def test_all_patients_of_this_clinic_are_in_the_file(bob: Visitor, path: str) -> None:
    answer = bob.post(path)
    rows = rows_of(answer)

    assert answer.status_code == 200
    assert [row["Last name"] for row in rows] == ["Nguyễn", "Patel", "Smith"]
    assert rows[0] == {
        "Cliniko id": "1",
        "First name": "Olivia",
        "Last name": "Nguyễn",
        "Preferred first name": "",
        "Born": "2001-05-21",
        "E-mail": "olivia@example.com",
        "Phone": "'+61 412 345 678",
        "All phones": "Mobile: +61 412 345 678; Home: 07 1234",
        "State": "active",
        "Created in Cliniko": "",
        "Updated in Cliniko": "",
        "Archived": "",
        "Merged": "",
        "Merged into": "",
        "Deleted": "",
        "Last synced": "2026-03-02T09:30:00Z",
    }
    assert rows[2]["First name"] == "'=1+1"


@on_both
def test_a_year_has_four_digits_in_the_file(bob: Visitor, cast: Cast, path: str) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen", created_at=datetime(1, 1, 1, tzinfo=UTC)))
    assert rows_of(bob.post(path))[0]["Created in Cliniko"] == "0001-01-01T00:00:00Z"


@pytest.mark.usefixtures("three")
def test_the_file_tells_nothing_by_its_name_and_is_kept_nowhere_else(
    bob: Visitor, cast: Cast, path: str
) -> None:
    names = []
    for zone in (
        "Pacific/Kiritimati",
        "Pacific/Pago_Pago",
    ):  # between them it is never the same day
        cast.surf.time_zone = zone
        db.session.commit()
        with time_machine.travel(now(), tick=False):
            headers = bob.post(path).headers
            today = now().astimezone(ZoneInfo(zone)).date()
        names.append(headers["Content-Disposition"])
        assert names[-1] == f'attachment; filename="patients-{today}.csv"'
    assert names[0] != names[1]
    assert headers["Content-Type"] == "text/csv; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.usefixtures("three")
def test_it_holds_whoever_the_list_shows(bob: Visitor, path: str) -> None:
    asked = {"search": "amelia", "state": "archived", "synced_after": "2026-03-01"}
    page = Parsed(bob.search(path.replace("patient-export", "patients"), **asked).text)
    assert page.having(action=path, method="post")
    hidden = {found["name"]: found["value"] for found in page.having(type_="hidden")}
    assert {name: hidden[name] for name in asked} == asked

    rows = rows_of(bob.post(path, **asked))
    assert [row["Last name"] for row in rows] == ["Patel"]
    assert rows_of(bob.post(path, search="nobody")) == []


@pytest.mark.usefixtures("three")
def test_half_an_hour_after_the_password_it_is_asked_for_again_and_the_filter_stays(
    cast: Cast, app: Flask, path: str
) -> None:
    asked = {"search": "amelia", "state": "archived", "synced_after": "2026-03-01"}
    with time_machine.travel(now(), tick=False) as clock:
        bob = Visitor(app).signed_in(cast.bob)
        for _ in range(3):
            clock.shift(timedelta(minutes=10))
            listed = bob.search(path.replace("patient-export", "patients"), **asked)
        assert Parsed(listed.text).having(name="current", type="password")

        for password, words in (
            ("", "Enter your password first."),
            ("wrong", "This is not your password."),
        ):
            answer = bob.post(path, current=password, **asked)
            page = Parsed(answer.text)
            assert answer.status_code == 422
            assert words in text_of(answer)
            hidden = {found["name"]: found["value"] for found in page.having(type_="hidden")}
            assert {name: hidden[name] for name in asked} == asked
            (field,) = page.having(name="current", type="password")
            assert (field["aria-invalid"], "autofocus" in field) == ("true", True)
        assert recorded() == []

        rows = rows_of(bob.post(path, current=PASSWORD, **asked))
        assert [row["Last name"] for row in rows] == ["Patel"]
        assert len(rows_of(bob.post(path))) == 3
        listed = bob.get(path.replace("patient-export", "patients"))
        assert not Parsed(listed.text).having(name="current")


@pytest.mark.usefixtures("three")
def test_guesses_at_the_password_are_counted_with_those_at_the_sign_in(
    cast: Cast, app: Flask, path: str
) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        bob = Visitor(app).signed_in(cast.bob)
        for _ in range(3):
            clock.shift(timedelta(minutes=10))
            bob.get("/clinics")
        answers = [bob.post(path, current="wrong") for _ in range(11)]
        assert [each.status_code for each in answers] == [422] * 10 + [429]
        assert int(answers[-1].headers["Retry-After"]) > 0
        assert bob.post(path, current=PASSWORD).status_code == 429
    assert recorded() == []


@pytest.mark.usefixtures("three")
def test_it_is_recorded_with_its_count_and_no_word_of_the_search(bob: Visitor, path: str) -> None:
    bob.post(path, search="amelia")
    bob.post(path)
    first, second = recorded()
    assert (first.actor, first.details["count"]) == ("bob@example.com", 1)
    assert second.details["count"] == 3
    assert first.details["filter"] != second.details["filter"]
    assert "amelia" not in str(first.details)


@pytest.mark.usefixtures("three")
def test_only_who_manages_the_clinic_gets_it(
    alice: Visitor, vera: Visitor, charlie: Visitor, path: str
) -> None:
    assert vera.post(path).status_code == 403
    assert charlie.post(path).status_code == 403
    assert recorded() == []
    assert len(rows_of(alice.post(path))) == 3


@pytest.mark.usefixtures("three")
def test_five_files_an_hour_are_enough_for_anybody(bob: Visitor, alice: Visitor, path: str) -> None:
    answers = [bob.post(path, search="smith") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert "5 times within an hour" in text_of(answers[5])
    fields = Parsed(answers[5].text).having(name="search", type="search")
    assert [field["value"] for field in fields] == ["smith"]
    assert 3500 < int(answers[5].headers["Retry-After"]) <= 3600
    assert len(recorded()) == 5
    assert alice.post(path).status_code == 200


@pytest.mark.parametrize("database", ["postgresql"])  # whose driver takes all at once, if it may
def test_fifty_thousand_patients_take_next_to_no_memory_and_one_more_is_refused(
    bob: Visitor, cast: Cast, path: str
) -> None:
    many(cast.surf, patient_export.MOST + 1)
    refused = bob.post(path)
    assert refused.status_code == 422
    assert "more than 50,000 patients" in text_of(refused)
    assert "Nguyen" in refused.text  # the list is still there, and what was asked for
    assert recorded() == []

    db.session.execute(text("DELETE FROM patients WHERE cliniko_patient_id = '2'"))
    db.session.commit()
    tracemalloc.start()
    answer = bob.post(path)
    rows = sum(part.count(b"\r\n") for part in answer.iter_encoded()) - 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 50_000 == recorded()[0].details["count"]
    assert peak < 20_000_000, peak


def test_whoever_goes_while_it_is_sent_is_left_out_and_nobody_is_in_it_twice(
    bob: Visitor, cast: Cast, path: str
) -> None:
    many(cast.surf, 2_000)
    answer = bob.post(path)
    parts = answer.iter_encoded()
    content = next(parts)
    db.session.execute(text("DELETE FROM patients WHERE cliniko_patient_id > '9'"))
    db.session.execute(text("UPDATE patients SET sort_key = 'zz' WHERE cliniko_patient_id < '2'"))
    db.session.commit()
    content += b"".join(parts)
    ids = [row.split(",")[0] for row in content.decode("utf-8-sig").splitlines()[1:]]
    assert len(ids) == len(set(ids)) < 2_000


@pytest.mark.parametrize("fields", [{"search": "x" * 321}, {"state": "odd"}, {"synced_after": "x"}])
def test_nonsense_is_refused(bob: Visitor, path: str, fields: dict[str, str]) -> None:
    assert bob.post(path, **fields).status_code == 400
