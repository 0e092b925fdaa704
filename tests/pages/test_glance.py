"""GET /clinics/<id>/syncs/<id>/progress, again and again: little work, never an old answer"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
import time_machine
from flask import Flask
from sqlalchemy import event, select, update
from sqlalchemy.exc import OperationalError

from tests.api.rows import make_log
from tests.cast import Cast
from tests.pages.visitor import Visitor, text_of
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import Role, SyncLog, SyncStatus, User, UserSession

EARLIER, LATER = now() - timedelta(days=1), now()


@pytest.fixture
def log(cast: Cast) -> SyncLog:
    """A sync of Surf Rehab that a worker is at."""
    return make_log(
        cast.surf,
        SyncStatus.RUNNING,
        started_at=now() - timedelta(seconds=30),
        worker="w",
        lease_expires_at=now() + timedelta(seconds=15),
        records_success=100,
    )


def path(log: SyncLog) -> str:
    return f"/clinics/{log.organization_id}/syncs/{log.id}/progress"


@contextmanager
def reads() -> Iterator[list[str]]:
    """The questions to the database meanwhile."""
    statements: list[str] = []

    def remember(_1: object, _2: object, statement: str, *_: object) -> None:
        if statement.lower().startswith("select"):
            statements.append(statement.lower())

    event.listen(db.engine, "before_cursor_execute", remember)
    try:
        yield statements
    finally:
        event.remove(db.engine, "before_cursor_execute", remember)


def change(log: SyncLog, **values: Any) -> None:
    """As another process does it."""
    with transaction() as session:
        session.execute(update(SyncLog).where(SyncLog.id == log.id).values(**values))


def change_person(user: User, **values: Any) -> None:
    with transaction() as session:
        session.execute(update(User).where(User.id == user.id).values(**values))


def test_the_first_question_reads_rows_by_key_and_counts_nothing(
    vera: Visitor, log: SyncLog
) -> None:
    where = path(log)

    with reads() as questions:
        vera.get_fragment(where)

    assert len(questions) == 4  # at a glance, then the person, the clinic and the sync
    assert not any("count(" in question or "from patients" in question for question in questions)


def test_the_next_in_the_same_second_needs_one_question(vera: Visitor, log: SyncLog) -> None:
    with time_machine.travel(now(), tick=False):
        first = vera.get_fragment(path(log)).text
        with reads() as questions:
            again = vera.get_fragment(path(log)).text

    assert len(questions) == 1
    assert again == first


def test_what_a_worker_has_stored_is_shown_a_second_later(vera: Visitor, log: SyncLog) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        assert "Stored 100 " in text_of(vera.get_fragment(path(log)))
        change(log, records_success=200)
        clock.shift(1)
        assert "Stored 200 " in text_of(vera.get_fragment(path(log)))
        change(log, progress=log.progress | {"phase": "reconciling"})
        clock.shift(1)
        assert "Checking that nobody is missing" in text_of(vera.get_fragment(path(log)))


def test_what_people_and_the_end_of_a_sync_change_is_shown_at_once(
    vera: Visitor, log: SyncLog
) -> None:
    with time_machine.travel(now(), tick=False):
        vera.get_fragment(path(log))
        change(log, cancel_requested_at=now())
        assert "Cancelling" in text_of(vera.get_fragment(path(log)))
        change(log, status=SyncStatus.COMPLETED, completed_at=now())
        assert vera.get_fragment(path(log)).headers["HX-Trigger"] == "sync-finished"


def test_the_time_goes_on_while_nothing_else_does(vera: Visitor, log: SyncLog) -> None:
    with time_machine.travel(log.started_at + timedelta(seconds=30), tick=False) as clock:
        assert "Elapsed 30s" in text_of(vera.get_fragment(path(log)))
        clock.shift(1)
        assert "Elapsed 31s" in text_of(vera.get_fragment(path(log)))


def test_a_sync_in_the_queue_needs_one_question_too_until_a_worker_takes_it(
    vera: Visitor, log: SyncLog
) -> None:
    queued = {"worker": None, "lease_expires_at": None, "started_at": now()}
    change(log, **queued, progress=log.progress | {"phase": "queued"})
    with time_machine.travel(now(), tick=False):
        first = vera.get_fragment(path(log)).text
        with reads() as questions:
            assert vera.get_fragment(path(log)).text == first
        assert len(questions) == 1
        change(log, worker="w", lease_expires_at=now() + timedelta(seconds=15))
        with reads() as questions:
            vera.get_fragment(path(log))
        assert len(questions) > 1


def test_a_sync_that_was_handed_over_needs_one_question_too(vera: Visitor, log: SyncLog) -> None:
    begun = now() - timedelta(minutes=10)
    with time_machine.travel(now(), tick=False) as clock:
        change(log, worker=None, lease_expires_at=now(), started_at=begun)
        clock.shift(5)
        first = vera.get_fragment(path(log)).text
        with reads() as questions:
            assert vera.get_fragment(path(log)).text == first
        assert len(questions) == 1


def test_a_sync_that_waits_in_vain_is_noticed(vera: Visitor, log: SyncLog) -> None:
    queued = {"worker": None, "lease_expires_at": None, "started_at": now()}
    change(log, **queued, progress=log.progress | {"phase": "queued"})
    with time_machine.travel(now(), tick=False) as clock:
        vera.get_fragment(path(log))
        clock.shift(31)
        assert "No worker is running" in text_of(vera.get_fragment(path(log)))


def test_a_worker_that_falls_silent_is_noticed(vera: Visitor, log: SyncLog) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        vera.get_fragment(path(log))
        clock.shift(100)
        assert "Failed" in text_of(vera.get_fragment(path(log)))


@pytest.mark.parametrize(
    "values",
    [
        {"ended_at": LATER},
        {"last_seen_at": EARLIER},
        {"created_at": EARLIER},
        {"epoch": 5},
        {"secret_digest": "of another"},
    ],
    ids=["signed out", "idle", "too long", "signed out elsewhere", "no such session"],
)
def test_a_session_that_holds_no_more_shows_no_more(
    vera: Visitor, log: SyncLog, values: dict[str, Any]
) -> None:
    with time_machine.travel(now(), tick=False):
        assert vera.get_fragment(path(log)).status_code == 200
        with transaction() as session:
            session.execute(update(UserSession).values(**values))
        answer = vera.get_fragment(path(log))
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/sign-in")


def test_to_look_writes_nothing(vera: Visitor, log: SyncLog) -> None:
    with time_machine.travel(now() + timedelta(minutes=10), tick=False):
        change(log, lease_expires_at=now() + timedelta(seconds=15))
        before = db.session.execute(select(UserSession.__table__)).all()
        for _ in range(2):
            assert vera.get_fragment(path(log)).status_code == 200
        db.session.rollback()
        assert db.session.execute(select(UserSession.__table__)).all() == before


@pytest.mark.parametrize(
    "values", [{"active": False}, {"session_epoch": 5}], ids=["deactivated", "signed out elsewhere"]
)
def test_whoever_lost_their_session_sees_no_more(
    vera: Visitor, cast: Cast, log: SyncLog, values: dict[str, Any]
) -> None:
    assert vera.get_fragment(path(log)).status_code == 200

    change_person(cast.vera, **values)

    assert "sync-card" not in vera.get_fragment(path(log)).text


def test_whoever_moved_to_another_clinic_sees_no_more(
    vera: Visitor, cast: Cast, log: SyncLog
) -> None:
    assert vera.get_fragment(path(log)).status_code == 200

    change_person(cast.vera, organization_id=cast.northside.id)

    assert vera.get_fragment(path(log)).status_code == 403


def test_what_others_have_drawn_is_not_for_other_clinics(
    vera: Visitor, charlie: Visitor, visitor: Visitor, cast: Cast, log: SyncLog
) -> None:
    assert vera.get_fragment(path(log)).status_code == 200

    assert charlie.get_fragment(path(log)).status_code == 403
    elsewhere = f"/clinics/{cast.northside.id}/syncs/{log.id}/progress"
    assert charlie.get_fragment(elsewhere).status_code == 404
    assert "sync-card" not in visitor.get_fragment(path(log)).text


def test_a_cookie_is_read_once_and_one_that_is_nearly_the_same_by_itself(
    app: Flask, vera: Visitor, log: SyncLog
) -> None:
    with (
        time_machine.travel(now(), tick=False),
        patch.object(
            app.session_interface, "open_session", wraps=app.session_interface.open_session
        ) as read,
    ):
        for _ in range(2):  # the first answer is Flask's, and brings another cookie
            vera.get_fragment(path(log))
        read.reset_mock()
        assert vera.get_fragment(path(log)).status_code == 200
        assert read.call_count == 0

        cookie = vera.client.get_cookie("session")
        assert cookie is not None
        forged = cookie.value[:-1] + ("A" if cookie.value[-1] != "A" else "Q")
        vera.client.set_cookie("session", forged)
        assert "sync-card" not in vera.get_fragment(path(log)).text


def test_each_role_has_a_drawing_of_its_own(
    vera: Visitor, alice: Visitor, cast: Cast, log: SyncLog
) -> None:
    with time_machine.travel(now(), tick=False):
        vera.get_fragment(path(log))
        with reads() as questions:
            alice.get_fragment(path(log))
    assert len(questions) == 4
    assert cast.alice.role == Role.ADMIN


def test_a_drawing_goes_on_without_the_cookies_and_the_id_of_who_it_was_drawn_for(
    app: Flask, cast: Cast, log: SyncLog
) -> None:
    first, second = (Visitor(app).signed_in(cast.vera) for _ in range(2))
    with time_machine.travel(now(), tick=False):
        drawn = first.get_fragment(path(log))
        with reads() as questions:
            again = second.get_fragment(path(log))
    assert len(questions) == 1
    assert "Set-Cookie" in drawn.headers
    assert "Set-Cookie" not in again.headers
    assert drawn.headers["X-Request-ID"] != again.headers["X-Request-ID"]
    of_one = {"Set-Cookie", "X-Request-ID"}
    assert {each for each in again.headers if each[0] not in of_one} == {
        each for each in drawn.headers if each[0] not in of_one
    }


def test_the_id_that_a_proxy_has_chosen_stands_on_a_drawing_too(
    app: Flask, vera: Visitor, log: SyncLog
) -> None:
    app.config["TRUSTED_PROXIES"] = 1
    with time_machine.travel(now(), tick=False):
        vera.get_fragment(path(log))
        answer = vera.get(path(log), headers={"X-Request-ID": "chosen-by-a-proxy"})
    assert answer.headers["X-Request-ID"] == "chosen-by-a-proxy"


def test_other_hosts_are_refused_what_is_drawn(app: Flask, vera: Visitor, log: SyncLog) -> None:
    app.config["ALLOWED_HOSTS"] = ["localhost"]
    with time_machine.travel(now(), tick=False):
        assert vera.get_fragment(path(log)).status_code == 200
        elsewhere = {"Host": "elsewhere.example"}
        for _ in range(2):
            assert vera.get(path(log), headers=elsewhere).status_code == 400


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE", "OPTIONS"])
def test_other_methods_are_answered_by_flask(vera: Visitor, log: SyncLog, method: str) -> None:
    with time_machine.travel(now(), tick=False):
        vera.get_fragment(path(log))
        answer = vera.client.open(path(log), method=method)
    assert not answer.text.startswith("<section")


def test_a_database_that_is_away_has_the_words_of_any_page(vera: Visitor, log: SyncLog) -> None:
    vera.get_fragment(path(log))
    trouble = OperationalError("select", {}, Exception("away"))
    with patch("sqlalchemy.engine.Connection.execute", side_effect=trouble):
        assert vera.get_fragment(path(log)).status_code == 503
