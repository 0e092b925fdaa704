"""What a session is worth, and until when; the pages that rely on it have tests of their own"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import OperationalError

from tests.cast import Cast
from tests.support.databases import on_both
from webapp.clock import now
from webapp.errors import NotFound
from webapp.extensions import db, transaction
from webapp.models import AuditEvent, Role, User, UserSession
from webapp.services import audit, people, roles, sessions, timestamps

pytestmark = on_both


def begin(user: User) -> str:
    return sessions.begin(user, address="192.0.2.7", agent="A browser")[1]


def test_only_a_digest_of_the_secret_is_stored(cast: Cast) -> None:
    secret = begin(cast.bob)
    assert len(secret) == 43  # 256 bits in letters
    row = sessions.of_secret(secret)
    assert row is not None
    assert row.user.id == cast.bob.id
    stored = db.session.execute(text("SELECT * FROM user_sessions")).one()
    assert secret not in "|".join(map(str, stored))
    assert sessions.of_secret(row.secret_digest) is None


def test_no_two_have_one_id_though_the_first_is_gone(cast: Cast) -> None:
    ids: list[int] = []
    for _ in range(2):
        begin(cast.bob)
        ids += db.session.scalars(select(UserSession.id)).all()
        with transaction() as session:
            session.execute(delete(UserSession))
    assert len(set(ids)) == 2


def test_each_secret_is_another(cast: Cast) -> None:
    assert len({begin(cast.bob) for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "end",
    [
        lambda cast: people.set_password(cast.bob, "quite another password"),
        lambda cast: roles.change(cast.bob, Role.VIEWER, cast.surf.id),
        lambda cast: people.deactivate(cast.bob),
        lambda cast: people.end_sessions(cast.bob),
        lambda cast: sessions.end(sessions.of(cast.bob)[0].id, owner=cast.bob),
    ],
    ids=["password", "role", "deactivated", "all ended", "this one ended"],
)
def test_it_ends_for_good(cast: Cast, end: Callable[[Cast], None]) -> None:
    secret = begin(cast.bob)
    other = begin(cast.vera)
    end(cast)
    if not cast.bob.active:
        people.activate(cast.bob)
    assert sessions.of_secret(secret) is None
    assert sessions.of(cast.bob) == []
    assert sessions.of_secret(other) is not None


def test_a_sign_in_with_a_password_that_was_replaced_meanwhile_is_worth_nothing(cast: Cast) -> None:
    person = people.by_email("bob@example.com")
    assert person is not None
    with db.engine.begin() as somebody_else:
        somebody_else.execute(update(User).where(User.id == person.id).values(session_epoch=1))
    assert sessions.of_secret(begin(person)) is None


def test_a_quarter_of_an_hour_without_a_sign_of_life_ends_it(cast: Cast) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        secret = begin(cast.bob)
        clock.shift(timedelta(minutes=14, seconds=59))
        row = sessions.of_secret(secret)
        assert row is not None
        assert sessions.seconds_left(row)[0] == 1
        sessions.note_activity(row)
        db.session.rollback()
        clock.shift(timedelta(minutes=14, seconds=59))
        assert sessions.of_secret(secret) is not None
        clock.shift(1)
        assert sessions.of_secret(secret) is None
        assert sessions.of(cast.bob) == []


def test_twelve_hours_end_it_whatever_happens(cast: Cast) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        secret = begin(cast.bob)
        for _ in range(72):
            row = sessions.of_secret(secret)
            assert row is not None
            sessions.note_activity(row)
            db.session.rollback()
            clock.shift(timedelta(minutes=10))
        assert sessions.of_secret(secret) is None


def test_signs_of_life_are_written_once_a_minute(cast: Cast) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        begun, secret = now(), begin(cast.bob)

        def act() -> timedelta:
            row = sessions.of_secret(secret)
            assert row is not None
            sessions.note_activity(row)
            return row.last_seen_at - begun

        clock.shift(59)
        assert act() == timedelta(0)
        clock.shift(1)
        assert act() == timedelta(seconds=60)


def test_a_database_that_cannot_be_written_to_signs_nobody_out(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("update", {}, Exception("locked"))

    secret = begin(cast.bob)
    with time_machine.travel(now() + timedelta(minutes=5)):
        row = sessions.of_secret(secret)
        assert row is not None
        monkeypatch.setattr(timestamps, "note", away)
        sessions.note_activity(row)
        assert sessions.of_secret(secret) is not None


def test_nobody_ends_the_session_of_somebody_else(cast: Cast) -> None:
    secret = begin(cast.bob)
    (row,) = sessions.of(cast.bob)
    for session_id in (row.id, 9999):
        with pytest.raises(NotFound):
            sessions.end(session_id, owner=cast.vera)
    assert sessions.of_secret(secret) is not None


def test_what_a_browser_says_of_itself_is_kept_short_and_storable(cast: Cast) -> None:
    row, _ = sessions.begin(cast.bob, address="1" * 99, agent="A\0\n\u202e" + "b" * 999)
    assert (row.address, row.agent) == ("1" * 45, "A" + "b" * 199)


def test_its_beginning_and_its_end_are_recorded(cast: Cast) -> None:
    row, _ = sessions.begin(cast.bob, address="", agent="")
    subject = f"session {row.id}"
    for _ in range(2):  # an end is an end
        sessions.end(row.id, owner=cast.bob)
    people.end_sessions(cast.vera, actor=cast.bob)
    told = db.session.execute(
        select(AuditEvent.chain, AuditEvent.event, AuditEvent.actor_id, AuditEvent.subject)
        .where(AuditEvent.event.like("session:%"))
        .order_by(AuditEvent.id)
    ).all()
    assert told == [
        (cast.surf.id, "session:started", cast.bob.id, subject),
        (cast.surf.id, "session:ended", cast.bob.id, subject),
        (cast.surf.id, "session:all_ended", cast.bob.id, f"person {cast.vera.id}"),
    ]


def test_nobody_is_signed_in_unrecorded(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("insert", {}, Exception("full"))

    monkeypatch.setattr(audit, "append", away)
    with pytest.raises(OperationalError):
        begin(cast.bob)
    db.session.rollback()
    assert sessions.of(cast.bob) == []


def test_old_rows_are_deleted_and_those_that_hold_stay(cast: Cast) -> None:
    moment = now().replace(microsecond=0)

    def row(**values: object) -> int:
        times = dict.fromkeys(("created_at", "last_seen_at", "proved_at"), moment) | values
        words = {"secret_digest": f"{len(ids)}", "address": "", "agent": "", "epoch": 0}
        with transaction() as session:
            made = UserSession(user_id=bob_id, **words, **times)
            session.add(made)
            session.flush()
            return made.id

    bob_id, ids = cast.bob.id, dict[str, int]()
    long_ago, second = moment - timedelta(days=30), timedelta(seconds=1)
    ids["holds"] = row()
    ids["ended lately"] = row(ended_at=long_ago)
    ids["ended long ago"] = row(ended_at=long_ago - second)
    ids["left lately"] = row(last_seen_at=long_ago - sessions.IDLE)
    ids["left long ago"] = row(last_seen_at=long_ago - sessions.IDLE - second)
    ids["too long"] = row(created_at=long_ago - sessions.LIFETIME - second)
    assert sessions.delete_old(long_ago) == 3
    left = set(db.session.scalars(select(UserSession.id)))
    assert left == {ids[name] for name in ("holds", "ended lately", "left lately")}
