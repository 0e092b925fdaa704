"""The audit trail: chains of events that nobody changes unseen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import structlog
import time_machine
from flask import Flask
from sqlalchemy import Connection, event, select, text, update
from sqlalchemy.exc import DBAPIError

from tests.cast import Cast
from tests.support.databases import on_both
from webapp.clock import now
from webapp.errors import InsufficientPermissions
from webapp.extensions import db, transaction
from webapp.models import AuditEvent, User
from webapp.services import audit, audit_anchors, audit_check, callers, organizations, sessions
from webapp.services.audit_check import Anchor, Finding
from webapp.services.audit_events import Event

SURF = 4242  # a clinic's chain in which nothing stands that the cast has left

UNLOCK = {
    "sqlite": [
        "DROP TRIGGER audit_events_refuse_update",
        "DROP TRIGGER audit_events_refuse_delete",
    ],
    "postgresql": ["ALTER TABLE audit_events DISABLE TRIGGER audit_events_refuse"],
}


@pytest.fixture
def chain(app: Flask, cast: Cast) -> int:
    """Six events of Surf Rehab."""
    for number in range(1, 7):
        audit.note(Event.SIGNED_IN, actor=cast.bob, organization_id=SURF, subject=f"try {number}")
    db.session.rollback()
    return SURF


def by_force(*statements: str) -> None:
    """What somebody does who can do everything in the database."""
    db.session.rollback()
    for statement in [*UNLOCK[db.engine.dialect.name], *statements]:
        db.session.execute(text(statement))
    db.session.commit()


def events() -> list[AuditEvent]:
    db.session.rollback()
    chains = AuditEvent.chain.in_([0, SURF])
    return list(db.session.scalars(select(AuditEvent).where(chains).order_by(AuditEvent.id)))


@on_both
def test_an_event_says_who_did_what_to_what_and_by_which_way(cast: Cast) -> None:
    before = callers.current.set(
        callers.Caller(callers.Way.API, ip="192.0.2.7", request_id="a-request")
    )
    try:
        audit.note(
            Event.ACCESS_DENIED,
            actor=cast.bob,
            organization_id=SURF,
            subject="clinic 9",
            result=audit.Result.REFUSED,
            asked="VIEW_PATIENTS",
            nothing=None,
        )
    finally:
        callers.current.reset(before)

    (event,) = events()
    assert (event.chain, event.number) == (SURF, 1)
    assert (event.event, event.result) == ("access:denied", "refused")
    assert (event.actor_id, event.actor, event.role) == (cast.bob.id, cast.bob.email, "manager")
    assert (event.via, event.ip, event.request_id) == ("api", "192.0.2.7", "a-request")
    assert (event.subject, event.details) == ("clinic 9", {"asked": "VIEW_PATIENTS"})


@on_both
def test_an_event_stands_or_falls_with_its_change(cast: Cast) -> None:
    def half_a_change() -> None:
        with transaction():
            audit.record(Event.SIGNED_OUT, actor=cast.bob)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_a_change()
    assert events() == []
    with transaction():
        audit.record(Event.SIGNED_OUT, actor=cast.bob)
    assert [(event.chain, event.number) for event in events()] == [(0, 1)]


@on_both
@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_events SET actor = 'nobody'", "DELETE FROM audit_events WHERE number = 6"],
)
def test_the_database_refuses_to_change_an_event(chain: int, statement: str) -> None:
    with pytest.raises(DBAPIError, match="audit events are kept"):
        db.session.execute(text(statement))
    db.session.rollback()
    assert len(events()) == 6


@on_both
def test_what_was_not_touched_is_found_to_be_as_it_was_written(chain: int) -> None:
    before = audit_check.count()
    audit.note(Event.SIGNED_OUT)
    db.session.rollback()

    assert list(audit_check.verify()) == []
    assert audit_check.count() == before + 1


@on_both
@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("SET actor = 'somebody@else.example' WHERE number = 3", "is not as it was written"),
        ("SET details = '{\"count\": 1}' WHERE number = 3", "is not as it was written"),
        ("SET at = '2020-01-01 00:00:00' WHERE number = 3", "is not as it was written"),
        ("SET chain = 999 WHERE number = 3", "is missing"),
    ],
)
def test_an_edit_is_found(chain: int, statement: str, finding: str) -> None:
    by_force(f"UPDATE audit_events {statement}")

    assert Finding(chain, 3, finding) in list(audit_check.verify())


@on_both
def test_a_deletion_is_found(chain: int) -> None:
    by_force("DELETE FROM audit_events WHERE number = 2")

    assert Finding(chain, 2, "is missing") in list(audit_check.verify())


@on_both
def test_a_swap_is_found(chain: int) -> None:
    by_force(
        "UPDATE audit_events SET number = 100 WHERE number = 2",
        "UPDATE audit_events SET number = 2 WHERE number = 5",
        "UPDATE audit_events SET number = 5 WHERE number = 100",
    )

    found = list(audit_check.verify())
    assert Finding(chain, 2, "is not as it was written") in found
    assert Finding(chain, 5, "is not as it was written") in found


@on_both
def test_a_tail_that_was_cut_off_is_found(chain: int) -> None:
    by_force("DELETE FROM audit_events WHERE number > 4")

    (found,) = audit_check.verify()
    assert found == Finding(chain, 6, "is missing: the chain ends with event 4")


@on_both
def test_a_tail_that_was_cut_off_with_its_traces_is_found_by_an_anchor(chain: int) -> None:
    fourth = events()[3]
    ((length, last),) = [end[1:] for end in audit.ends() if end[0] == SURF]
    by_force(
        "DELETE FROM audit_events WHERE number > 4",
        f"UPDATE audit_chains SET length = 4, hash = '{fourth.hash}' WHERE chain = {SURF}",
    )

    assert list(audit_check.verify()) == []
    (found,) = audit_check.verify([Anchor(chain, length, last)])
    assert found == Finding(chain, 6, "is missing: the chain ends with event 4")


@on_both
def test_two_ends_of_one_length_cannot_both_be_true(chain: int) -> None:
    """A tail was cut off, and as many events came since: the log has both."""
    before = next(Anchor(*end) for end in audit.ends() if end[0] == chain)
    fourth = events()[3]
    by_force(
        "DELETE FROM audit_events WHERE number > 4",
        f"UPDATE audit_chains SET length = 4, hash = '{fourth.hash}' WHERE chain = {SURF}",
    )
    for _ in range(2):
        audit.note(Event.SIGNED_IN, organization_id=SURF)
    db.session.rollback()
    after = next(Anchor(*end) for end in audit.ends() if end[0] == chain)
    db.session.rollback()

    found = [Finding(chain, 6, "is not the event that was noted")]
    assert list(audit_check.verify([before, after])) == found
    assert list(audit_check.verify([after, before])) == found


@on_both
@pytest.mark.parametrize(
    ("set_to", "what"),
    [
        (f"hash = '{'0' * 64}'", "is not the event that was noted"),
        ("length = 4", "is more than the chain should hold"),
    ],
)
def test_an_anchor_does_not_hide_that_the_chains_own_end_was_changed(
    chain: int, set_to: str, what: str
) -> None:
    anchor = next(Anchor(*end) for end in audit.ends() if end[0] == chain)
    by_force(f"UPDATE audit_chains SET {set_to} WHERE chain = {SURF}")

    for anchors in ([], [anchor]):
        assert Finding(chain, 6, what) in list(audit_check.verify(anchors))


@pytest.fixture
def log_of_ends(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a sender begins with, and heard by the test."""
    monkeypatch.setattr(audit_anchors, "_told", {})
    monkeypatch.setattr(audit_anchors, "log", structlog.get_logger())


@pytest.mark.usefixtures("log_of_ends")
def test_the_log_says_so_when_a_chain_ends_earlier_than_before(chain: int) -> None:
    audit_anchors.tell()
    sixth, fourth = events()[5].hash, events()[3].hash
    by_force(
        "DELETE FROM audit_events WHERE number > 4",
        f"UPDATE audit_chains SET length = 4, hash = '{fourth}' WHERE chain = {SURF}",
    )

    with structlog.testing.capture_logs() as lines:
        audit_anchors.tell()
        audit_anchors.tell()
    (error,) = [line for line in lines if line["log_level"] == "error"]
    assert error["event"] == "audit_chain_was_cut_off"
    assert (error["was"], error["ends"]) == (f"{SURF}:6:{sixth}", f"{SURF}:4:{fourth}")


@pytest.mark.parametrize("database", ["postgresql"])
@pytest.mark.parametrize(
    "write", [lambda: audit.note(Event.SIGNED_IN, organization_id=SURF), audit.try_to_write]
)
def test_who_writes_an_event_and_stops_there_does_not_hold_the_chain_for_ever(
    app: Flask, write: Callable[[], None]
) -> None:
    held: list[str] = []

    @event.listens_for(db.engine, "before_cursor_execute")
    def _look(connection: Connection, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("UPDATE audit_chains"):
            cursor = connection.connection.cursor()
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            held.extend(cursor.fetchone() or ())

    write()
    assert set(held) == {"10s"}


@pytest.mark.usefixtures("log_of_ends")
def test_the_log_has_the_end_of_each_chain_that_has_grown(cast: Cast) -> None:
    def told() -> list[str]:
        with structlog.testing.capture_logs() as lines:
            audit_anchors.tell()
        return [line["anchor"] for line in lines if line["event"] == "audit_anchor"]

    def ends() -> set[str]:
        db.session.rollback()
        return {":".join(map(str, end)) for end in audit.ends()}

    audit.note(Event.SIGNED_IN, organization_id=cast.surf.id)
    before = ends()
    assert set(told()) == before
    assert told() == []

    audit.note(Event.SIGNED_IN, organization_id=cast.surf.id)
    grown = ends() - before
    assert len(grown) == 1
    assert set(told()) == grown


@on_both
def test_an_event_that_was_slipped_in_is_found(chain: int) -> None:
    by_force(
        "INSERT INTO audit_events (chain, number, at, event, via, result, details, hash) "
        f"VALUES ({chain}, 7, '2026-01-01 00:00:00', 'session:started', 'page', 'ok', '{{}}', 'x')"
    )

    found = list(audit_check.verify())
    assert Finding(chain, 7, "is not as it was written") in found
    assert Finding(chain, 7, "is more than the chain should hold") in found


@on_both
@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize("where", [SURF, 4343])
def test_an_event_that_was_slipped_in_before_the_first_is_found(
    chain: int, where: int, number: int
) -> None:
    by_force(
        "INSERT INTO audit_events (chain, number, at, event, via, result, details, hash) VALUES "
        f"({where}, {number}, '2026-01-01 00:00:00', 'session:started', 'page', 'ok', '{{}}', 'x')"
    )

    assert list(audit_check.verify()) == [Finding(where, number, "was never written")]


@on_both
def test_an_event_that_was_put_in_another_place_of_the_page_is_found(chain: int) -> None:
    by_force(f"UPDATE audit_events SET id = id + 1000 WHERE chain = {chain} AND number = 3")

    assert list(audit_check.verify()) == [
        Finding(chain, number, "stands in another place than it was written in")
        for number in (4, 5, 6)
    ]


@on_both
def test_a_trail_that_grows_meanwhile_is_as_it_was_written(
    app: Flask, chain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = audit.ends

    def somebody_signs_in() -> None:
        with app.app_context():
            audit.note(Event.SIGNED_IN, organization_id=chain)

    def ends_and_then_more() -> list[tuple[int, int, str]]:
        found = ends()
        run_all([threading.Thread(target=somebody_signs_in)])
        return found

    monkeypatch.setattr(audit, "ends", ends_and_then_more)
    assert list(audit_check.verify()) == []
    assert (chain, 6) in [end[:2] for end in ends()]  # what is kept as an anchor was verified
    db.session.rollback()
    assert (chain, 7) in [end[:2] for end in ends()]


@on_both
def test_an_earlier_key_still_verifies_what_it_signed(app: Flask, chain: int) -> None:
    app.config["AUDIT_KEYS"] = ["a newer key than the one that signed", *app.config["AUDIT_KEYS"]]
    audit.note(Event.SIGNED_IN, organization_id=chain)
    db.session.rollback()
    assert list(audit_check.verify()) == []

    app.config["AUDIT_KEYS"] = app.config["AUDIT_KEYS"][:1]
    assert len([each for each in audit_check.verify() if each.chain == SURF]) == 6


@on_both
@pytest.mark.parametrize("said", [timedelta(hours=24, minutes=2), timedelta(hours=12)])
def test_what_a_key_signs_that_was_replaced_is_found_whatever_time_it_says(
    app: Flask, cast: Cast, said: timedelta
) -> None:
    old = app.config["AUDIT_KEYS"]
    new = ["a newer key than the one that signed", *old]
    began = now()

    def sign(keys: list[str], after: timedelta) -> None:
        app.config["AUDIT_KEYS"] = keys
        with time_machine.travel(began + after, tick=False):
            audit.note(Event.SIGNED_IN, organization_id=SURF)

    sign(old, timedelta())
    sign(new, timedelta(minutes=1))
    sign(old, timedelta(hours=24))  # a worker that was not started anew yet
    sign(new, timedelta(hours=24, minutes=2))
    db.session.rollback()
    assert list(audit_check.verify()) == []

    sign(old, said)
    sign(new, timedelta(hours=24, minutes=3))
    app.config["AUDIT_KEYS"] = new
    db.session.rollback()
    words = "is signed with an older key than events before it"
    assert list(audit_check.verify()) == [Finding(SURF, 5, words)]


@on_both
def test_events_that_come_at_once_make_one_chain(app: Flask, cast: Cast) -> None:
    here = threading.Barrier(8)
    db.session.rollback()

    def look() -> None:
        here.wait()
        with app.app_context():
            for _ in range(5):
                audit.note(Event.SIGNED_IN, organization_id=SURF)

    watchers = [threading.Thread(target=look) for _ in range(8)]
    run_all(watchers)

    assert [event.number for event in sorted(events(), key=lambda it: it.number)] == [*range(1, 41)]
    assert list(audit_check.verify()) == []


def run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@on_both
@pytest.mark.parametrize(
    "since", [{"active": False}, {"role": "viewer"}, {"organization_id": None, "role": "admin"}]
)
def test_whoever_may_no_more_since_they_were_let_in_changes_nothing(
    cast: Cast, since: dict[str, Any]
) -> None:
    bob, surf = cast.bob, cast.surf
    session, _ = sessions.begin(bob, address="", agent="")
    before = callers.current.set(callers.Caller(callers.Way.PAGE))
    try:
        callers.let_in(bob, session)
        organizations.rename(surf, "Before", actor=bob)
        with db.engine.begin() as theirs:
            theirs.execute(update(User).where(User.email == "bob@example.com").values(since))

        with pytest.raises(InsufficientPermissions):
            organizations.rename(surf, "After", actor=bob)
    finally:
        callers.current.reset(before)

    db.session.rollback()
    assert surf.name == "Before"
