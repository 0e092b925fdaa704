"""The feed of changes: in order, at least once, none left out; and how it is forgotten."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from flask import Flask
from sqlalchemy import select

from config import Settings
from tests.api.rows import MORNING, make_log, record, store
from tests.cast import Cast
from webapp import create_core
from webapp.errors import CursorExpired
from webapp.extensions import db, transaction
from webapp.models import ChangeKind, Organization, Patient, PatientChange
from webapp.services import changes as feed_of
from webapp.sync import changes
from webapp.sync.changes import Change


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def factory() -> Callable[[Settings], Flask]:
    return create_core


def five(organization: Organization) -> None:
    for number in range(1, 6):
        store(organization, record(number, "A", str(number)), seen_at=MORNING.replace(day=number))


def keys(feed: feed_of.Feed) -> list[str]:
    return [change.cliniko_patient_id for change, _ in feed.rows]


def test_it_goes_on_where_it_was_left(cast: Cast) -> None:
    five(cast.surf)
    store(cast.northside, record(9, "Not", "ours"))

    first = feed_of.feed(cast.surf, cursor=None, limit=2)
    second = feed_of.feed(cast.surf, cursor=first.next_cursor, limit=2)
    third = feed_of.feed(cast.surf, cursor=second.next_cursor, limit=2)

    assert [keys(each) for each in (first, second, third)] == [["1", "2"], ["3", "4"], ["5"]]
    assert [each.has_more for each in (first, second, third)] == [True, True, False]
    end = feed_of.feed(cast.surf, cursor=third.next_cursor, limit=2)
    assert (end.rows, end.next_cursor, end.has_more) == ([], 5, False)


def test_each_change_leads_to_the_patient(cast: Cast) -> None:
    five(cast.surf)
    ((change, patient_id),) = feed_of.feed(cast.surf, cursor=2, limit=1).rows

    patient = db.session.get_one(Patient, patient_id)
    assert patient.cliniko_patient_id == change.cliniko_patient_id == "3"


def test_nothing_old_is_missed_without_a_word(cast: Cast) -> None:
    five(cast.surf)
    store(cast.northside, record(1, "A", "B"), seen_at=MORNING.replace(day=1))

    assert [feed_of.delete_old(MORNING.replace(day=3)) for _ in range(3)] == [2, 1, 0]

    db.session.rollback()
    assert keys(feed_of.feed(cast.surf, cursor=None, limit=9)) == ["3", "4", "5"]
    assert keys(feed_of.feed(cast.surf, cursor=2, limit=9)) == ["3", "4", "5"]
    with pytest.raises(CursorExpired):
        feed_of.feed(cast.surf, cursor=1, limit=9)
    emptied = feed_of.feed(cast.northside, cursor=None, limit=9)
    assert (emptied.rows, emptied.next_cursor) == ([], 1)
    assert feed_of.feed(cast.northside, cursor=1, limit=9).next_cursor == 1


def test_many_old_ones_go_a_few_at_a_time(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_of, "_AT_ONCE", 2)
    five(cast.surf)

    # A worker does it between two signs of life: each call is one short transaction.
    assert [feed_of.delete_old(MORNING.replace(day=20)) for _ in range(4)] == [2, 2, 1, 0]
    db.session.rollback()
    assert feed_of.feed(cast.surf, cursor=5, limit=9).rows == []


def test_a_cursor_that_was_never_given_is_refused(cast: Cast) -> None:
    """As after an older backup was restored: to go on from there would leave changes out."""
    five(cast.surf)

    with pytest.raises(CursorExpired):
        feed_of.feed(cast.surf, cursor=6, limit=9)


def test_a_forgotten_patient_leaves_nothing_and_the_others_go_on(cast: Cast) -> None:
    five(cast.surf)
    store(cast.northside, record(3, "A", "B"))

    with transaction():
        feed_of.forget_patient(cast.surf.id, "3")

    db.session.rollback()
    assert keys(feed_of.feed(cast.surf, cursor=1, limit=9)) == ["2", "4", "5"]
    assert keys(feed_of.feed(cast.northside, cursor=None, limit=9)) == ["3"]


def test_a_sync_and_a_patient_have_their_own(cast: Cast) -> None:
    store(cast.surf, record(1, "A", "B"), record(2, "C", "D"))
    log = store(cast.surf, record(1, "A", "Z"), record(3, "E", "F"))
    patient = db.session.scalars(select(Patient).where(Patient.cliniko_patient_id == "1")).one()

    of_sync = feed_of.of_sync(log, kind=None, limit=1, offset=0)
    updated = feed_of.of_sync(log, kind=ChangeKind.UPDATED, limit=9, offset=0)
    history = feed_of.of_patient(patient, limit=9)

    assert (len(of_sync.rows), of_sync.total) == (1, 2)
    assert [(change.kind, patient) for change, patient in updated.rows] == [("updated", patient)]
    assert [change.kind for change, _ in history.rows] == ["updated", "added"]


def test_a_reader_misses_nothing_while_two_write(app: Flask, cast: Cast) -> None:
    """Ids that a database hands out before the commit would be passed by: a writer that began
    first and commits last would never be seen. The writers take their time on purpose."""
    log_id, surf_id, rounds = make_log(cast.surf).id, cast.surf.id, 25
    seen: list[int] = []
    done = Event()

    def write(name: str) -> None:
        chance = random.Random(name)
        with app.app_context():
            for number in range(rounds):
                with transaction():
                    some = [
                        Change(f"{name}{number}", ChangeKind.UPDATED, ("email",))
                        for _ in range(chance.randint(1, 3))
                    ]
                    changes.note(surf_id, log_id, some, at=MORNING)
                    done.wait(chance.random() / 200)  # between the number and the commit
            db.session.remove()

    def read() -> None:
        with app.app_context():
            cursor, last_look = 0, False
            while True:
                db.session.rollback()
                feed = feed_of.feed(
                    db.session.get_one(Organization, surf_id), cursor=cursor, limit=7
                )
                seen.extend(change.position for change, _ in feed.rows)
                cursor = feed.next_cursor
                if last_look and not feed.has_more:
                    break
                last_look = done.is_set()
            db.session.remove()

    with ThreadPoolExecutor(3) as pool:
        reader = pool.submit(read)
        for writer in [pool.submit(write, name) for name in ("a", "b")]:
            writer.result(60)
        done.set()
        reader.result(60)

    db.session.rollback()
    there = db.session.scalars(select(PatientChange.position).order_by(PatientChange.position))
    assert seen == list(there) == list(range(1, len(seen) + 1))
    assert len(seen) >= 2 * rounds


def test_a_writer_that_gives_up_leaves_no_gap(cast: Cast) -> None:
    log_id = make_log(cast.surf).id

    def note(key: str, *, then: Callable[[], None] = lambda: None) -> None:
        with transaction():
            changes.note(cast.surf.id, log_id, [Change(key, ChangeKind.ADDED)], at=MORNING)
            then()

    def fail() -> None:
        raise LookupError

    note("1")
    with pytest.raises(LookupError):
        note("2", then=fail)
    note("3")

    db.session.rollback()
    feed = feed_of.feed(cast.surf, cursor=None, limit=9)
    assert [
        (change.position, key) for (change, _), key in zip(feed.rows, keys(feed), strict=True)
    ] == [
        (1, "1"),
        (2, "3"),
    ]
