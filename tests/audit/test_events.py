"""Every event that is recorded: once, and with all that it should say"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select

from config import ROOT
from simulator.server import Simulator
from tests.api.rows import record, store
from tests.audit.events import CASES, SEARCH, SHOWN_ELSEWHERE, Case, Stage
from tests.cast import Cast
from tests.conftest import as_user
from tests.pages.visitor import Visitor
from tests.support.databases import on_both
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import AuditEvent
from webapp.pages import audit_words
from webapp.services import audit, audit_check
from webapp.services.audit_events import Event


@pytest.fixture
def stage(app: Flask, cast: Cast, cliniko: Simulator, work: Callable[[], None]) -> Stage:
    return Stage(app, cast, cliniko, work)


def newest() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.max(AuditEvent.id))) or 0


def since(event_id: int) -> list[AuditEvent]:
    db.session.rollback()
    rows = select(AuditEvent).where(AuditEvent.id > event_id).order_by(AuditEvent.id)
    # The cast is signed in by the tests themselves.
    cast = (AuditEvent.event == Event.SIGNED_IN) & (AuditEvent.via == "worker")
    return list(db.session.scalars(rows.where(~cast)))


@pytest.mark.parametrize("case", CASES, ids=str)
@on_both
def test_it_is_recorded_once_with_all_that_is_known(case: Case, stage: Stage) -> None:
    case.prepare(stage)
    before = newest()

    case.do(stage)

    rows = since(before)
    assert sorted(row.event for row in rows) == sorted(map(str, (case.event, *case.beside)))
    (row,) = (row for row in rows if row.event == case.event)
    actor = getattr(stage.cast, case.actor) if case.actor else None
    clinic = getattr(stage.cast, case.clinic or "", None)
    assert row.actor_id == (actor.id if actor else None)
    assert row.actor == (actor.email if actor else None)
    assert row.role == (actor.role if actor else None)
    assert (row.via, row.result) == (case.via, case.result)
    assert (row.ip is not None) == (case.via in ("page", "api"))
    assert (row.request_id is not None) == (case.via in ("page", "api"))
    assert (row.subject or "").partition(" ")[0] == (case.subject or "")
    assert case.details.items() <= row.details.items()
    if case.clinic != "new":
        assert row.chain == (clinic.id if clinic else 0)
    assert list(audit_check.verify()) == []


def test_every_event_is_shown_to_come_about() -> None:
    elsewhere = set().union(*SHOWN_ELSEWHERE.values())
    assert {case.event for case in CASES} | elsewhere == set(Event)
    for path, events in SHOWN_ELSEWHERE.items():
        text = (ROOT / path).read_text()
        assert all(event.name in text or event.value in text for event in events), path


def test_every_event_has_its_words() -> None:
    assert set(audit_words.WORDS) == set(Event)
    assert set(audit_words.WAYS) == {case.via for case in CASES}


def test_what_was_searched_for_is_not_told_but_can_be_compared(stage: Stage) -> None:
    before = newest()
    for words in (SEARCH, "Nguyễn OLIVIA", "noah"):
        stage.at("bob").search(f"{stage.surf}/patients", search=words)
    first, same, other = (row.details["filter"] for row in since(before))

    assert first == same != other
    assert "olivia" not in str([row.details for row in since(before)]).lower()


def test_what_somebody_types_who_does_not_exist_is_not_kept(stage: Stage) -> None:
    before = newest()
    stage.at("").post("/sign-in", email="hunter2@example.com", password="typed in the wrong field")
    (row,) = since(before)
    assert (row.actor, row.subject, row.details) == (None, None, {})


def test_polls_of_an_open_dashboard_are_no_looks(stage: Stage) -> None:
    log_id, bob = stage.sync(worker="w"), stage.at("bob")
    before = newest()
    for path in (
        "",
        "/syncs",
        f"/syncs/{log_id}/progress",
        f"/syncs/{log_id}",
        "/syncs/news?after=0",
    ):
        assert bob.get_fragment(f"{stage.surf}{path}").status_code == 200
    assert bob.get("/clinics").status_code == 200
    assert since(before) == []


def test_asking_for_changes_where_there_are_none_is_no_look(stage: Stage) -> None:
    store(stage.cast.surf, record(1, "Olivia", "Nguyen"))
    bob = as_user(stage.app, stage.cast.bob)
    changes = f"/api/v1/cliniko/changes/{stage.cast.surf.id}"
    before = newest()
    for cursor in (0, 1, 1, 1):
        assert bob.get(f"{changes}?cursor={cursor}").status_code == 200
    (row,) = since(before)
    assert (row.event, row.details) == (Event.CHANGES_LISTED, {"shown": 1})


def test_who_chooses_what_they_have_chosen_already_has_changed_nothing(stage: Stage) -> None:
    bob = stage.at("bob")
    before = newest()
    for _ in range(3):
        assert bob.post("/account/notices").status_code == 303
    assert [row.event for row in since(before)] == [Event.MAILS_CHOSEN]


def test_a_clinic_that_was_invented_gets_no_chain(stage: Stage) -> None:
    stage.at("charlie").get("/clinics/777/patients")
    assert 777 not in {chain for chain, _, _ in audit.ends()}


def test_a_flood_of_refusals_is_not_one_of_writes(stage: Stage) -> None:
    vera, bob = stage.at("vera"), stage.at("bob")
    before = newest()
    for _ in range(40):
        assert vera.get(f"{stage.surf}/patients").status_code == 403
    assert bob.get(f"/clinics/{stage.cast.northside.id}").status_code == 403

    theirs = [row for row in since(before) if row.actor == stage.cast.vera.email]
    assert len(theirs) == 30
    assert [row.details.get("more_may_follow", False) for row in theirs] == [*[False] * 29, True]
    assert since(before)[-1].actor == stage.cast.bob.email  # others are recorded all the same


def test_a_program_of_a_disabled_clinic_that_goes_on_asking_does_not_fill_the_trail(
    stage: Stage,
) -> None:
    bob = as_user(stage.app, stage.cast.bob)
    with transaction():
        stage.cast.surf.disabled_at = now()
    before = newest()
    with time_machine.travel(now(), tick=False) as clock:
        for _ in range(40):
            clock.shift(20)
            answer = bob.get(f"/api/v1/cliniko/status/{stage.cast.surf.id}")
            assert answer.status_code == 403
    rows = since(before)
    assert [row.event for row in rows] == [Event.ACCESS_DENIED] * 30
    assert rows[-1].details["more_may_follow"] is True


def test_an_admin_who_starts_a_sync_of_a_disabled_clinic_is_denied_nothing(stage: Stage) -> None:
    with transaction():
        stage.cast.surf.disabled_at = now()
    before = newest()
    assert stage.at("alice").post(f"{stage.surf}/syncs").status_code < 500
    assert stage.at("alice").get("/people/999/role").status_code == 404
    assert since(before) == []


def test_strangers_who_go_on_all_day_do_not_fill_the_trail(stage: Stage) -> None:
    stranger, before = stage.at(""), newest()

    def forge(visitor: Visitor) -> None:
        Context().run(visitor.client.post, "/sign-in", data={"csrf_token": "forged"})

    with time_machine.travel(now(), tick=False) as clock:
        for number in range(310):
            if number % 29 == 0:  # below the limit of a minute
                clock.shift(61)
            forge(stranger)
        rows = since(before)
        assert [row.event for row in rows] == [Event.FORGERY_REFUSED] * 300
        assert [row.details.get("more_may_follow", False) for row in rows] == [*[False] * 299, True]

        stranger.post("/sign-in", email="nobody@example.com", password="wrong")
        forge(stage.at("bob"))
        assert [(row.event, row.actor) for row in since(rows[-1].id)] == [
            (Event.SIGN_IN_FAILED, None),  # each kind is counted for itself
            (Event.FORGERY_REFUSED, stage.cast.bob.email),
        ]

        clock.shift(timedelta(days=1))
        last = newest()
        forge(stranger)
        assert [row.event for row in since(last)] == [Event.FORGERY_REFUSED]
