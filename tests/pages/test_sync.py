"""GET /clinics/<id>/syncs/<id>: one sync, with the records that failed"""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.api.rows import make_log, record, refuse, store
from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from webapp.clock import iso, now
from webapp.extensions import db
from webapp.models import OperationType, Patient, SyncStatus
from webapp.sync.certificate import Tally, Version, certificate
from webapp.sync.progress import Progress


def test_it_says_who_started_it_and_how(bob: Visitor, cast: Cast) -> None:
    log = make_log(cast.surf, started_by_id=cast.bob.id, origin="dashboard", attempt=2)
    words = text_of(bob.get(f"/clinics/{cast.surf.id}/syncs/{log.id}"))
    assert "Started 2 Mar 2026, 09:30:00 UTC Ended 2 Mar 2026, 09:34:22 UTC" in words
    assert "Started by bob@example.com Started from Dashboard" in words
    assert "Taken over by another worker once" in words


def test_each_failed_record_says_which_where_and_why(vera: Visitor, cast: Cast) -> None:
    log = refuse(cast.surf, 1)
    words = text_of(vera.get(f"/clinics/{cast.surf.id}/syncs/{log.id}"))
    assert "Cliniko id Page Field Reason Now 900 3 date_of_birth is no date Not stored" in words


def test_a_failed_record_leads_to_the_version_that_is_stored(
    vera: Visitor, bob: Visitor, cast: Cast
) -> None:
    store(cast.surf, record(900, "Olivia", "Nguyen"))
    stored = db.session.scalars(select(Patient.id)).one()
    path = f"/clinics/{cast.surf.id}/syncs/{refuse(cast.surf, 2).id}"
    (link,) = re.findall(r'href="([^"]+)">The version that is stored', bob.get(path).text)
    assert link == f"/clinics/{cast.surf.id}/patients/{stored}"
    assert "The version that is stored" not in vera.get(path).text


def test_failed_records_come_in_pages(vera: Visitor, cast: Cast) -> None:
    log = refuse(cast.surf, 30)
    path = f"/clinics/{cast.surf.id}/syncs/{log.id}"
    first = vera.get(path)
    (following,) = Parsed(first.text).having(rel="next")

    assert "1\u201325 of 30" in text_of(first)
    assert following["href"] == f"{path}?page=2#failures"
    second = text_of(vera.get(f"{path}?page=2"))
    assert "26\u201330 of 30" in second
    assert "9029" in second


def test_a_page_of_failed_records_is_drawn_again_as_the_same_page(
    vera: Visitor, cast: Cast
) -> None:
    path = f"/clinics/{cast.surf.id}/syncs/{refuse(cast.surf, 30).id}?page=2"
    (main,) = Parsed(vera.get(path).text).having(id="main")
    assert main["hx-get"] == path


def test_without_failures_it_says_so(vera: Visitor, cast: Cast) -> None:
    log = make_log(cast.surf)
    words = text_of(vera.get(f"/clinics/{cast.surf.id}/syncs/{log.id}"))
    assert "every record that came could be stored" in words


def test_a_running_one_is_live_here_too(vera: Visitor, cast: Cast) -> None:
    log = make_log(cast.surf, SyncStatus.RUNNING, started_at=now())
    page = vera.get(f"/clinics/{cast.surf.id}/syncs/{log.id}").text
    assert "every 2s" in page
    assert 'http-equiv="refresh"' in page


def test_a_completed_one_shows_what_both_sides_hold(vera: Visitor, cast: Cast) -> None:
    tally = Tally()
    for number in range(3):
        tally.add(str(number), Version("active", "content", ""))
    both = certificate(tally, tally, missed=0)
    log = make_log(cast.surf, progress=progress(certificate=both))

    words = text_of(vera.get(f"/clinics/{cast.surf.id}/syncs/{log.id}"))

    digest = both["stored"]["digest"][:8]
    assert "Comparison Equal Patients Cliniko Our copy Active 3 3" in words
    assert f"Digest {digest} {digest}" in words


@pytest.mark.parametrize(
    ("environment_name", "command"),
    [("development", ".venv/bin/flask --app webapp sync"), ("production", "patient-sync sync")],
)
def test_what_is_not_the_same_is_said_with_the_reason(
    app: Flask, vera: Visitor, cast: Cast, environment_name: str, command: str
) -> None:
    app.config["ENV"] = environment_name

    apart = certificate(Tally(), Tally(digest=1), missed=0)

    def words(failed: int = 0, **reason: int | str) -> str:
        shown = progress(certificate=apart, **reason)
        log = make_log(cast.surf, progress=shown, records_failed=failed)
        return text_of(vera.get(f"/clinics/{cast.surf.id}/syncs/{log.id}"))

    assert "Not equal" in words()
    assert f"compare with {command} {cast.surf.id} --verify" in words()
    assert "could not be stored" in words(failed=2)
    assert "Cliniko counts 3 more patients than its lists have shown" in words(not_shown=3)
    held = "Removals were held back, so the copy had patients that Cliniko no longer listed"
    assert f"{held}." in words(removals_held=40)
    at = iso(now())
    confirmed = words(removals_held=40, removals_decision="confirmed", removals_decided_at=at)
    assert f"{held}; an admin has confirmed since that they are gone." in confirmed
    dismissed = words(removals_held=40, removals_decision="dismissed", removals_decided_at=at)
    assert f"{held}; an admin has decided since to keep them." in dismissed
    assert "Not all who stand in no list" in words(removals_unasked=30)
    assert "decided to keep patients" in words(removals_kept=2)


def progress(**more: Any) -> dict[str, Any]:
    return Progress(OperationType.FULL_PATIENTS).metadata() | more
