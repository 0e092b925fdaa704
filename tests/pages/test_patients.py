"""GET and POST /clinics/<id>/patients"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.rows import make_log, record, store
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.cliniko.records import PatientState
from webapp.clock import now
from webapp.extensions import db
from webapp.models import AuditEvent, SyncStatus


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}/patients"


@pytest.fixture
def four(cast: Cast) -> None:
    """Four patients of Surf Rehab, and one of another clinic."""
    store(
        cast.surf,
        record(
            1,
            "Olivia",
            "Nguyễn",
            email="olivia@example.com",
            phones=(("Mobile", "0412 345 678"),),
            date_of_birth=date(2001, 5, 21),
        ),
        record(2, "Noah", "Smith"),
        record(3, "Amelia", "Patel", state=PatientState.ARCHIVED),
    )
    store(cast.surf, record(4, "Jack", "O'Brien"), seen_at=datetime(2026, 3, 5, tzinfo=UTC))
    store(cast.northside, record(5, "Isla", "Northside"))


def looks() -> list[str]:
    """What is on record of lists and searches."""
    db.session.rollback()
    recorded = select(AuditEvent.event).where(AuditEvent.event.startswith("patients:"))
    return list(db.session.scalars(recorded.order_by(AuditEvent.id)))


def names(page: str) -> list[str]:
    shown = ("Olivia Nguyễn", "Noah Smith", "Amelia Patel", "Jack O'Brien", "Isla Northside")
    return [name for name in shown if name in page]


@pytest.mark.usefixtures("four")
def test_it_lists_all_patients_of_this_clinic_by_last_name(bob: Visitor, path: str) -> None:
    words = text_of(bob.get(path))
    places = [words.index(name) for name in ("Nguyễn", "O'Brien", "Patel", "Smith")]
    assert places == sorted(places)
    assert "Northside" not in words
    assert "1\u20134 of 4" in words
    assert "olivia@example.com 0412 345 678 21 May 2001 Active" in words


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("olivia", ["Olivia Nguyễn"]),
        ("NGUYEN oliv", ["Olivia Nguyễn"]),
        ("+61412345678", ["Olivia Nguyễn"]),
        ("o'brien", ["Jack O'Brien"]),
        ("northside", []),
        ("%", []),
        ("' OR 1=1--", []),
    ],
)
def test_a_search_finds_names_addresses_and_numbers(
    bob: Visitor, path: str, search: str, found: list[str]
) -> None:
    words = text_of(bob.search(path, search=search))
    assert names(words) == found
    assert ("No patient matches" in words) == (not found)


@pytest.mark.usefixtures("four")
def test_a_search_may_be_as_long_as_an_e_mail_address(bob: Visitor, path: str) -> None:
    fields = Parsed(bob.get(path).text).having(name="search", type="search")
    assert [field["maxlength"] for field in fields] == ["320"]
    assert bob.search(path, search="x" * 320).status_code == 200


@pytest.mark.usefixtures("four")
def test_a_state_and_a_day_narrow_the_list(bob: Visitor, path: str) -> None:
    assert "Synced since (UTC)" in text_of(bob.get(path))  # as all times are without a zone
    assert names(text_of(bob.search(path, state="archived"))) == ["Amelia Patel"]
    assert names(text_of(bob.search(path, synced_after="2026-03-04"))) == ["Jack O'Brien"]
    assert names(text_of(bob.search(path, state="archived", synced_after="2026-03-04"))) == []


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("zone", "label", "found"),
    [
        ("Australia/Sydney", "Sydney time", ["Jack O'Brien"]),  # eleven hours ahead
        ("America/New_York", "New York time", []),
        ("UTC", "UTC", []),
    ],
)
def test_the_day_is_one_of_the_clinics_own(
    bob: Visitor, path: str, cast: Cast, zone: str, label: str, found: list[str]
) -> None:
    cast.surf.time_zone = zone
    db.session.commit()
    answer = bob.search(path, synced_after="2026-03-05")
    assert f"Synced since ({label})" in text_of(answer)
    assert names(text_of(answer)) == found
    assert Parsed(answer.text).having(name="synced_after")[0]["value"] == "2026-03-05"


ASKED = {"search": "o", "state": "active", "synced_after": "2026-03-01", "page": "1"}


@pytest.mark.usefixtures("four")
def test_the_address_finds_the_same_again_and_says_nothing_of_it(bob: Visitor, path: str) -> None:
    found = bob.post_fragment(path, **ASKED)
    address = found.headers["HX-Replace-Url"]
    assert re.fullmatch(rf"{path}\?asked=[\w=-]+", address)

    again = bob.get(address)
    assert (
        names(text_of(again))
        == names(text_of(found))
        == ["Olivia Nguyễn", "Noah Smith", "Jack O'Brien"]
    )
    form = Parsed(again.text)
    assert form.having(name="search")[0]["value"] == "o"
    assert form.having(name="synced_after")[0]["value"] == "2026-03-01"
    assert "selected" in form.having(value="active")[0]


def test_the_address_turns_to_the_page_that_was_left(bob: Visitor, path: str, cast: Cast) -> None:
    store(cast.surf, *(record(n, "Olivia", f"Nguyen {n:03}") for n in range(1, 61)))
    second = bob.post_fragment(path, page="2")
    assert "51\u201360 of 60" in text_of(bob.get(second.headers["HX-Replace-Url"]))


@pytest.mark.usefixtures("four")
def test_a_plain_form_leads_to_that_address_and_is_one_look(bob: Visitor, path: str) -> None:
    before = len(looks())
    answer = bob.post(path, **ASKED)
    assert answer.status_code == 303
    assert re.fullmatch(rf"{path}\?asked=[\w=-]+", answer.headers["Location"])
    assert len(looks()) == before
    found = bob.get(answer.headers["Location"])
    assert names(text_of(found)) == ["Olivia Nguyễn", "Noah Smith", "Jack O'Brien"]
    assert looks()[before:] == ["patients:searched"]
    too_much = bob.post(path, search="\U0001f600" * 320)
    assert (too_much.status_code, looks()[before + 1 :]) == (200, ["patients:searched"])


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    "fields", [{}, {"search": "", "state": ""}, {"search": "\U0001f600" * 320}]
)
def test_where_nothing_is_asked_or_too_much_the_address_is_that_of_the_list(
    bob: Visitor, path: str, fields: dict[str, str]
) -> None:
    assert bob.post_fragment(path, **fields).headers["HX-Replace-Url"] == path


@pytest.mark.usefixtures("four")
def test_in_another_session_the_list_begins_anew(
    app: Flask, bob: Visitor, path: str, cast: Cast
) -> None:
    address = bob.post_fragment(path, search="olivia").headers["HX-Replace-Url"]
    assert names(text_of(bob.get(address))) == ["Olivia Nguyễn"]
    for visitor in (Visitor(app).signed_in(cast.bob), Visitor(app).signed_in(cast.alice)):
        assert len(names(text_of(visitor.get(address)))) == 4
    assert len(names(text_of(bob.get(f"{path}?asked=nonsense")))) == 4


def test_a_day_that_begins_before_the_calendar_does_is_none(
    bob: Visitor, path: str, cast: Cast
) -> None:
    cast.surf.time_zone = "Australia/Sydney"  # in UTC it began in the year 0
    db.session.commit()
    assert bob.search(path, synced_after="0001-01-01").status_code == 400
    assert bob.search(path, synced_after="0001-01-02").status_code == 200


@pytest.mark.usefixtures("four")
def test_the_form_keeps_what_was_asked_for(bob: Visitor, path: str) -> None:
    answer = bob.search(path, search='a "quoted" name', state="archived", synced_after="2026-03-04")
    form = Parsed(answer.text)
    assert form.having(name="search")[0]["value"] == 'a "quoted" name'
    assert form.having(name="synced_after")[0]["value"] == "2026-03-04"
    assert "selected" in form.having(value="archived")[0]


@pytest.mark.usefixtures("four")
def test_words_in_the_address_are_not_looked_for(bob: Visitor, path: str) -> None:
    assert len(names(text_of(bob.get(f"{path}?search=olivia")))) == 4


def test_no_form_sends_a_search_by_address(bob: Visitor, path: str) -> None:
    (form,) = Parsed(bob.get(path).text).having(id="search")
    assert form["method"] == "post"
    assert "hx-get" not in form
    assert "hx-push-url" not in form


def test_pages_hold_fifty_patients(bob: Visitor, path: str, cast: Cast) -> None:
    store(cast.surf, *(record(n, "Olivia", f"Nguyen {n:03}") for n in range(1, 61)))
    first = bob.get(path)
    second = bob.search(path, search="olivia", page="2")

    assert "1\u201350 of 60" in text_of(first)
    assert Parsed(first.text).having(name="page", value="2", form="search")
    assert "51\u201360 of 60" in text_of(second)
    assert "Nguyen 060" in text_of(second)
    assert Parsed(second.text).having(name="page", value="1")
    assert not Parsed(second.text).having(name="page", value="3")


@pytest.mark.usefixtures("four")
def test_a_page_beyond_the_end_leads_back(bob: Visitor, path: str) -> None:
    answer = bob.search(path, page="9")
    assert "The list has become shorter" in text_of(answer)
    assert Parsed(answer.text).having(name="page", value="1")


def test_before_the_first_sync_it_says_where_they_come_from(bob: Visitor, path: str) -> None:
    words = text_of(bob.get(path))
    assert "No patients yet" in words
    assert "They arrive with the first sync, which starts on the overview ." in words
    assert "of 0" not in words


def test_while_the_first_sync_runs_it_says_so(bob: Visitor, path: str, cast: Cast) -> None:
    make_log(cast.surf, SyncStatus.RUNNING, started_at=now())
    words = text_of(bob.get(path))
    assert "No patients yet A sync was started: they appear here as they are stored." in words
    assert "first sync" not in words


def test_where_cliniko_had_no_patients_it_says_so(bob: Visitor, path: str, cast: Cast) -> None:
    make_log(cast.surf, started_at=now() - timedelta(minutes=10))
    told = "No patients Cliniko had none to copy when the last full sync ended, 5 min ago ."
    assert told in text_of(bob.get(path))
    make_log(cast.surf, SyncStatus.RUNNING, started_at=now())  # the next one
    assert told in text_of(bob.get(path))


@pytest.mark.parametrize(
    ("status", "values"),
    [
        (SyncStatus.FAILED, {"error_code": "CLINIKO_FORBIDDEN", "error_message": "Ask."}),
        (SyncStatus.COMPLETED, {"records_failed": 3}),
        (SyncStatus.COMPLETED, {"progress": {"not_shown": 3}}),
    ],
)
def test_where_a_sync_has_stored_nobody_the_overview_tells_why(
    bob: Visitor, path: str, cast: Cast, status: SyncStatus, values: dict[str, Any]
) -> None:
    make_log(cast.surf, status, started_at=now() - timedelta(minutes=10), **values)
    words = text_of(bob.get(path))
    assert "The overview tells what became of the last sync." in words
    assert "Cliniko had none" not in words


def test_whoever_has_no_name_can_be_opened_all_the_same(
    bob: Visitor, path: str, cast: Cast
) -> None:
    store(cast.surf, record(1010101010101010101, "", ""))
    assert "Patient 1010101010101010101" in text_of(bob.get(path))


@pytest.mark.parametrize(
    "fields",
    [
        {"search": "x" * 321},
        {"search": "a\0b"},
        {"state": "odd"},
        {"synced_after": "yesterday"},
        {"synced_after": "2026-02-30"},
        {"page": "0"},
        {"page": "\uff11"},
    ],
)
def test_nonsense_is_refused_in_words(bob: Visitor, path: str, fields: dict[str, str]) -> None:
    answer = bob.search(path, **fields)
    assert answer.status_code == 400
    assert "That cannot be understood" in text_of(answer)
