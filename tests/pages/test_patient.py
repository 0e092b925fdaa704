"""GET /clinics/<id>/patients/<id>"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.rows import record, store
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from tests.support.databases import on_both
from webapp.cliniko.records import PatientRecord, PatientState, parse_patient
from webapp.extensions import db, transaction
from webapp.models import AuditEvent, OperationType, Patient, SyncOrigin
from webapp.sync.start import start_sync


def path_of(cliniko_patient_id: int) -> str:
    query = select(Patient).where(Patient.cliniko_patient_id == str(cliniko_patient_id))
    patient = db.session.scalars(query).one()
    return f"/clinics/{patient.organization_id}/patients/{patient.id}"


def test_it_shows_what_is_stored(bob: Visitor, cast: Cast) -> None:
    store(
        cast.surf,
        record(
            1041015460801215425,
            "Olivia",
            "Nguyen",
            preferred_first_name="Liv",
            email="olivia@example.com",
            phones=(("Mobile", "0412 345 678"), ("Fax", "02 5550 1234")),
            date_of_birth=date(2001, 5, 21),
            created_at=datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
    )
    words = text_of(bob.get(path_of(1041015460801215425)))
    assert "First name Olivia Last name Nguyen Preferred first name Liv" in words
    assert "Date of birth 21 May 2001 E-mail olivia@example.com" in words
    assert "Mobile 0412 345 678 Fax 02 5550 1234 Cliniko id 1041015460801215425" in words
    assert "Created in Cliniko 2 Jan 2020, 03:04:05 UTC" in words
    assert "Last confirmed by a sync 2 Mar 2026, 09:30:00 UTC" in words


def test_the_title_of_the_window_does_not_name_the_patient(bob: Visitor, cast: Cast) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    page = bob.get(path_of(1)).text
    assert "<title>Patient · Surf Rehab · Patient Sync</title>" in page


def test_a_merged_patient_leads_to_the_one_who_stays(bob: Visitor, cast: Cast) -> None:
    store(
        cast.surf,
        record(1, "Olivia", "Nguyen"),
        record(2, "Liv", "Nguyen", state=PatientState.MERGED, merged_into="1"),
        record(3, "Lost", "Soul", state=PatientState.MERGED, merged_into="99"),
    )
    merged = bob.get(path_of(2))
    assert "This patient was merged into Olivia Nguyen" in text_of(merged)
    assert f'href="{path_of(1)}"' in merged.text
    assert "merged into patient 99, who is not here" in text_of(bob.get(path_of(3)))
    survivor = bob.get(path_of(1))
    assert "Merged into this patient Liv Nguyen Phone" in text_of(survivor)
    assert f'href="{path_of(2)}"' in survivor.text
    assert "Merged into this patient" not in merged.text


def test_whoever_is_shown_beside_a_merged_patient_was_looked_at_too(
    bob: Visitor, cast: Cast
) -> None:
    merged = record(2, "Liv", "Nguyen", state=PatientState.MERGED, merged_into="1")
    store(cast.surf, record(1, "Olivia", "Nguyen"), merged)
    both = [path_of(number).rpartition("/")[2] for number in (2, 1)]
    bob.get(path_of(2))
    db.session.rollback()
    views = select(AuditEvent).where(AuditEvent.event == "patients:viewed").order_by(AuditEvent.id)
    seen = [(view.subject, view.details) for view in db.session.scalars(views)]
    assert seen == [
        (f"patient {both[0]}", {}),
        (f"patient {both[1]}", {"beside": f"patient {both[0]}"}),
    ]


def test_a_deleted_patient_is_said_to_be_gone(bob: Visitor, cast: Cast) -> None:
    gone = datetime(2026, 2, 1, 8, tzinfo=UTC)
    store(cast.surf, record(1, "", "", state=PatientState.DELETED, deleted_at=gone))
    words = text_of(bob.get(path_of(1)))
    assert "deleted in Cliniko on 1 Feb 2026, 08:00:00 UTC . Nothing else is kept of them." in words


@pytest.mark.parametrize(
    "kept",
    [
        {"first_name": "Olivia"},
        {"last_name": "Nguyen"},
        {"preferred_first_name": "Liv"},
        {"email": "olivia@example.com"},
        {"phones": (("Mobile", "0412 345 678"),)},
        {"date_of_birth": date(2001, 5, 21)},
        {"created_at": datetime(2020, 1, 2, tzinfo=UTC)},
        {"updated_at": datetime(2020, 1, 2, tzinfo=UTC)},
        {"archived_at": datetime(2020, 1, 2, tzinfo=UTC)},
        {"merged_at": datetime(2020, 1, 2, tzinfo=UTC)},
        {"merged_into": "7"},
    ],
    ids=lambda kept: next(iter(kept)),
)
def test_whatever_is_kept_of_a_deleted_patient_is_not_denied(
    bob: Visitor, cast: Cast, kept: dict[str, Any]
) -> None:
    store(cast.surf, PatientRecord("1", PatientState.ACTIVE, **kept))
    store(cast.surf, PatientRecord("1", PatientState.DELETED))
    words = text_of(bob.get(path_of(1)))
    assert "Nothing else is kept" not in words
    assert "This patient was deleted in Cliniko. What is shown is the last that was known." in words


def test_an_outdated_record_says_that_it_is_one(bob: Visitor, cast: Cast) -> None:
    log = store(cast.surf, record(1, "Olivia", "Nguyen"))
    with transaction() as session:
        session.query(Patient).update({"sync_status": "failed"})
    page = bob.get(path_of(1))
    assert "The newest version of this record could not be stored" in text_of(page)
    assert f"/syncs/{log.id}#failures" in page.text


@on_both
@pytest.mark.parametrize(
    ("zone", "sent", "shown"),
    [
        ("America/New_York", "0001-01-01T00:00:00Z", "1 Jan 0001, 00:00:00 UTC"),
        ("Australia/Sydney", "9999-12-31T23:59:59Z", "31 Dec 9999, 23:59:59 UTC"),
    ],
)
def test_a_time_that_means_nothing_is_shown_and_the_patient_can_be_forgotten(
    bob: Visitor, cast: Cast, zone: str, sent: str, shown: str
) -> None:
    with transaction():
        cast.surf.time_zone = zone
    fields = {"id": "1", "created_at": sent, "updated_at": sent, "archived_at": sent}
    store(cast.surf, parse_patient(fields | {"last_name": "Nguyen"}))
    path = path_of(1)

    words = text_of(bob.get(path))
    assert f"Created in Cliniko {shown} Updated in Cliniko {shown} Archived {shown}" in words
    assert bob.post(f"{path}/forget").headers["Location"].endswith("/patients")
    assert bob.get(path).status_code == 404


def test_who_is_not_there_is_not_found(bob: Visitor, cast: Cast) -> None:
    assert bob.get(f"/clinics/{cast.surf.id}/patients/4711").status_code == 404


def test_it_leads_to_the_patient_in_cliniko(app: Flask, bob: Visitor, cast: Cast) -> None:
    store(cast.surf, record(1041015460801215425, "Olivia", "Nguyen"))
    app.config["CLINIKO_API_URL"] = "https://api.{shard}.cliniko.com/v1"
    with transaction():
        cast.surf.cliniko_subdomain = "surf-rehab"

    (link,) = Parsed(bob.get(path_of(1041015460801215425)).text).having(target="_blank")
    assert link["href"] == "https://surf-rehab.au1.cliniko.com/patients/1041015460801215425"
    assert link["rel"] == "noopener noreferrer"


def test_nothing_leads_to_a_patient_who_is_gone_or_to_an_account_that_is_not_known(
    app: Flask, bob: Visitor, cast: Cast
) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen"), record(2, "", "", state=PatientState.DELETED))
    app.config["CLINIKO_API_URL"] = "https://api.{shard}.cliniko.com/v1"
    assert "Open in Cliniko" not in bob.get(path_of(1)).text
    with transaction():
        cast.surf.cliniko_subdomain = "surf-rehab"
    assert "Open in Cliniko" in bob.get(path_of(1)).text
    assert "Open in Cliniko" not in bob.get(path_of(2)).text


def test_the_demo_leads_to_nobody_real(bob: Visitor, cast: Cast) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    with transaction():
        cast.surf.cliniko_subdomain = "surf-rehab"
    assert "Open in Cliniko" not in bob.get(path_of(1)).text


@pytest.mark.parametrize(
    ("first_name", "last_name", "shown"),
    [
        ("דוד", "לוי", "דוד לוי"),
        ("", "", "Patient 1"),
        ("\u200b", "\u200e\u2060", "Patient 1"),
        ("\u3164", "", "Patient 1"),
    ],
    ids=["from right to left", "without a name", "of letters that nobody sees", "of a filler"],
)
def test_whatever_they_are_called_turns_nothing_around_and_is_the_same_everywhere(
    bob: Visitor, cast: Cast, first_name: str, last_name: str, shown: str
) -> None:
    merged = record(2, "Liv", "Levi", state=PatientState.MERGED, merged_into="1")
    log = store(cast.surf, record(1, first_name, last_name), merged)
    assert f"<h1><bdi>{shown}</bdi></h1>" in bob.get(path_of(1)).text
    link = f'<a href="{path_of(1)}"><bdi>{shown}</bdi></a>'
    for listed in ("patients", f"syncs/{log.id}/changes", "patients/2"):
        assert link in bob.get(f"/clinics/{cast.surf.id}/{listed}").text, listed


def test_a_patient_is_forgotten_after_a_question(bob: Visitor, cast: Cast) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen"), record(2, "Mia", "Chen"))
    path = path_of(1)
    assert "Forget this patient for good?" in text_of(bob.get(path))

    answer = bob.post(f"{path}/forget")

    assert answer.headers["Location"] == f"/clinics/{cast.surf.id}/patients"
    page = text_of(bob.get(answer.headers["Location"]))
    assert "The patient was forgotten." in page
    assert "Olivia" not in page
    assert "Mia Chen" in page
    assert bob.get(path).status_code == 404
    assert bob.post(f"{path}/forget").status_code == 404
    overview = text_of(bob.get(f"/clinics/{cast.surf.id}"))
    assert "Forgotten, left out of every sync 1" in overview


def test_whoever_forgets_is_told_of_another_clinic_with_the_same_account(
    bob: Visitor, cast: Cast
) -> None:
    told = "Another clinic here copies the same Cliniko account: forget them there, too."
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    for theirs, is_told in (("1", False), ("5", True)):
        with transaction():
            cast.surf.cliniko_id, cast.northside.cliniko_id = "5", theirs
        page = text_of(bob.get(path_of(1)))
        assert (told in page) is is_told
        assert "Northside" not in page


def test_whoever_forgets_is_told_of_other_records_of_the_same_person(
    bob: Visitor, cast: Cast
) -> None:
    store(
        cast.surf,
        record(1, "Olivia", "Nguyen"),
        record(2, "Liv", "Nguyen", state=PatientState.MERGED, merged_into="1"),
        record(3, "Noah", "Reid"),
    )

    for number, other in ((1, "Liv Nguyen"), (2, "Olivia Nguyen")):
        told = f"Other records of the same person stay: {other}"
        assert told in text_of(bob.get(path_of(number)))
    assert "Other records" not in text_of(bob.get(path_of(3)))


def test_a_merged_patient_who_was_deleted_afterwards_is_the_same_person_still(
    bob: Visitor, cast: Cast
) -> None:
    merged = record(2, "Liv", "Nguyen", state=PatientState.MERGED, merged_into="1")
    store(cast.surf, record(1, "Olivia", "Nguyen"), merged)
    store(cast.surf, PatientRecord("2", PatientState.DELETED))

    words = text_of(bob.get(path_of(1)))
    assert "Merged into this patient Liv Nguyen Phone" in words
    assert "Other records of the same person stay: Liv Nguyen . Forget them first" in words


def test_whoever_is_not_named_among_many_records_of_a_person_is_counted(
    bob: Visitor, cast: Cast
) -> None:
    numbers = range(2, 14)
    merged = {"state": PatientState.MERGED, "merged_into": "1"}
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    store(cast.surf, *(record(number, "Liv", f"N{number:02}", **merged) for number in numbers))

    for first, end in ((2, "Liv N11 and 2 more"), (3, "Liv N12 and 1 more"), (4, "Liv N13")):
        words = text_of(bob.get(path_of(1))).replace(" .", ".")
        assert f"person stay: Liv N{first:02} , Liv" in words
        assert f", {end}. Forget them first" in words
        assert f", {end} Phone" in words
        bob.post(f"{path_of(first)}/forget")
        db.session.rollback()


def test_nobody_is_forgotten_while_a_sync_runs(bob: Visitor, cast: Cast) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    start_sync(cast.surf, OperationType.FULL_PATIENTS, actor=None, origin=SyncOrigin.COMMAND)

    answer = bob.post(f"{path_of(1)}/forget")

    assert "Nobody was forgotten; do it when it has ended." in text_of(
        bob.get(answer.headers["Location"])
    )
