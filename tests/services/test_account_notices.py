"""Whoever's account was changed hears of it by mail, whoever changed it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from tests.cast import PASSWORD, Cast
from tests.codes import set_up
from tests.support.databases import on_both
from tests.support.mailbox import Mailbox
from webapp.errors import ValidationError
from webapp.extensions import db, transaction
from webapp.models import Notice, NoticeKind, Role
from webapp.services import (
    account_notices,
    audit,
    emergency,
    invitations,
    notice_sending,
    notices,
    people,
    retention,
    roles,
    second_factor,
)
from webapp.services.audit_events import Event

ANOTHER = "nine herons read old maps"
REASON = "nobody else is there"
pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture
def environment(environment: dict[str, str], box: Mailbox) -> dict[str, str]:
    return environment | box.settings | {"PUBLIC_URL": "https://sync.clinic.example"}


def told(recipient: str = "bob@example.com") -> list[Notice]:
    """What somebody is told, oldest first."""
    db.session.rollback()
    theirs = Notice.recipient == recipient
    return list(db.session.scalars(select(Notice).where(theirs).order_by(Notice.id)))


def remove_factor(cast: Cast) -> None:
    set_up(cast.bob)
    second_factor.remove(cast.bob, PASSWORD)


def use_recovery_code(cast: Cast) -> None:
    second_factor.accept(cast.bob, set_up(cast.bob).recovery_codes[0])


def make_recovery_codes(cast: Cast) -> None:
    set_up(cast.bob)
    second_factor.new_recovery_codes(cast.bob)


def activate(cast: Cast) -> None:
    people.deactivate(cast.bob, actor=cast.alice)
    people.activate(cast.bob, actor=cast.alice)


def choose_by_link(cast: Cast) -> None:
    invitations.accept(invitations.renew(cast.bob, actor=cast.alice), ANOTHER)


def reset_factor(cast: Cast) -> None:
    set_up(cast.bob)
    second_factor.reset(cast.bob, actor=cast.alice)


def reset_factor_by_command(cast: Cast) -> None:
    set_up(cast.bob)
    emergency.reset_second_factor(cast.bob, reason=REASON)


def close(cast: Cast) -> None:
    with transaction():
        cast.bob.failures_in_a_row = 98
    for _ in range(4):
        people.authenticate("bob@example.com", "wrong")


# What is done with Bob's account, what he is told last, and by whom it was.
YOU, MANAGER, COMMAND = "by you or by", "by somebody who manages people", "by a command"
CHANGES: list[tuple[Event, Callable[[Cast], object], str]] = [
    (Event.PASSWORD_CHANGED, lambda c: people.set_password(c.bob, ANOTHER, actor=c.bob), YOU),
    (Event.PASSWORD_CHANGED, choose_by_link, YOU),
    (Event.PASSWORD_CHANGED, lambda c: people.set_password(c.bob, ANOTHER), COMMAND),
    (Event.SECOND_FACTOR_SET, lambda c: set_up(c.bob), YOU),
    (Event.SECOND_FACTOR_REMOVED, remove_factor, YOU),
    (Event.SECOND_FACTOR_RESET, reset_factor, MANAGER),
    (Event.SECOND_FACTOR_RESET, reset_factor_by_command, COMMAND),
    (Event.RECOVERY_CODES_MADE, make_recovery_codes, YOU),
    (Event.RECOVERY_CODE_USED, use_recovery_code, YOU),
    (
        Event.ROLE_CHANGED,
        lambda c: roles.change(c.bob, Role.VIEWER, c.surf.id, actor=c.alice),
        MANAGER,
    ),
    (Event.ADMIN_GRANTED, lambda c: emergency.grant_admin(c.bob, reason=REASON), COMMAND),
    (Event.PERSON_DEACTIVATED, lambda c: people.deactivate(c.bob, actor=c.alice), MANAGER),
    (Event.PERSON_ACTIVATED, activate, MANAGER),
    (Event.ACCOUNT_LOCKED, close, "after a hundred wrong passwords or codes in a row."),
]


@on_both
@pytest.mark.parametrize(("event", "change", "by"), CHANGES)
def test_they_are_told_once_of_each_change(
    cast: Cast, event: Event, change: Callable[[Cast], object], by: str
) -> None:
    change(cast)
    what = account_notices.WHAT[event]
    (notice,) = (each for each in told() if each.subject == what)
    assert told()[-1].id == notice.id
    assert (notice.kind, notice.organization_id) == (NoticeKind.ACCOUNT, None)
    assert by in notice.text
    assert "alice@example.com" not in notice.text
    assert told("alice@example.com") == told("vera@example.com") == []


def test_every_change_that_is_told_is_shown_here() -> None:
    assert {event for event, _, _ in CHANGES} == set(account_notices.WHAT)


def test_a_mail_says_what_when_and_what_to_do_and_has_nothing_to_click_on(
    cast: Cast, box: Mailbox
) -> None:
    notices.want(cast.bob, False)  # it is not up to them
    people.set_password(cast.bob, ANOTHER, actor=cast.bob)
    assert [notice_sending.send(taken) for taken in notice_sending.take_due(10)] == [True]
    (letter,) = box.mails
    assert (letter["To"], letter["Subject"]) == ("bob@example.com", told()[0].subject)
    text = " ".join(letter.get_content().split())
    assert "A new password was set for your account in Patient Sync on 2026-03-02 at 09:00" in text
    assert "tell an admin at once" in text
    assert "sign out everywhere else" in text
    for absent in ("http", "sync.clinic.example", ANOTHER, PASSWORD):
        assert absent not in text


def test_whose_account_was_closed_is_told_how_to_open_it(cast: Cast) -> None:
    close(cast)
    (notice,) = told()
    assert "An admin can give you a link to choose another password" in notice.text
    assert "If you know of this, there is nothing to do" not in notice.text
    assert notice.text.endswith("mails like this one never hold a link.")


@pytest.mark.parametrize(
    "change",
    [
        lambda cast: roles.change(cast.bob, Role.MANAGER, cast.northside.id, actor=cast.alice),
        lambda cast: roles.change(cast.bob, Role.ADMIN, None, actor=cast.alice),
        lambda cast: emergency.grant_admin(cast.bob, reason=REASON),
    ],
    ids=["elsewhere", "admin", "admin by a command"],
)
def test_who_begins_anew_is_told_that_the_password_has_ended_and_who_gives_another_link(
    cast: Cast, change: Callable[[Cast], object]
) -> None:
    set_up(cast.bob)
    change(cast)
    text = told()[-1].text
    assert "Your password has ended with it, and your second factor if you had one." in text
    assert "Whoever changed this can give you a link to choose another password" in text
    assert "there is nothing to do" not in text
    assert text.endswith("mails like this one never hold a link.")


def test_who_stays_in_the_clinic_keeps_the_password_and_has_nothing_to_do(cast: Cast) -> None:
    roles.change(cast.bob, Role.VIEWER, cast.surf.id, actor=cast.alice)
    (notice,) = told()
    assert "If you know of this, there is nothing to do." in notice.text
    assert "has ended" not in notice.text


@on_both
def test_nobody_is_told_of_what_did_not_happen(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("the trail cannot be written")

    monkeypatch.setattr(audit, "record", refuse)
    with pytest.raises(RuntimeError):
        people.set_password(cast.bob, ANOTHER, actor=cast.bob)
    assert told() == []


def test_a_link_that_was_made_and_sessions_that_were_ended_are_no_such_change(cast: Cast) -> None:
    invitations.renew(cast.bob, actor=cast.alice)
    people.end_sessions(cast.bob, actor=cast.alice)
    assert told() == []


def test_whoever_was_only_invited_is_told_nothing(cast: Cast) -> None:
    clinic = cast.surf.id
    nina, _ = invitations.invite("nina@example.com", role=Role.VIEWER, organization_id=clinic)
    roles.change(nina, Role.MANAGER, clinic, actor=cast.alice)
    people.deactivate(nina, actor=cast.alice)
    people.activate(nina, actor=cast.alice)
    assert told("nina@example.com") == []
    invitations.accept(invitations.renew(nina, actor=cast.alice), ANOTHER)
    assert [each.subject for each in told("nina@example.com")] == [
        account_notices.WHAT[Event.PASSWORD_CHANGED]
    ]


def test_somebody_who_is_changed_to_and_fro_is_told_ten_times_within_an_hour(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    for _ in range(10):
        activate(cast)
    assert len(told()) == 10
    clock.shift(timedelta(hours=1))
    activate(cast)
    assert len(told()) == 12


def test_a_role_that_somebody_has_already_is_no_change(cast: Cast, hashes: list[str]) -> None:
    epoch = cast.bob.session_epoch
    with pytest.raises(ValidationError, match="has this role already"):
        roles.change(cast.bob, Role.MANAGER, cast.surf.id, actor=cast.alice)
    assert told() == []
    assert hashes == []
    assert cast.bob.session_epoch == epoch


def test_without_a_mail_server_nothing_is_written_down(app: Flask, cast: Cast) -> None:
    app.config["SMTP_URL"] = None
    people.set_password(cast.bob, ANOTHER, actor=cast.bob)
    assert told() == []


def test_what_was_told_goes_after_thirty_days(cast: Cast, clock: time_machine.Traveller) -> None:
    people.set_password(cast.bob, ANOTHER, actor=cast.bob)
    clock.shift(timedelta(days=30))
    retention.clean_up()
    assert len(told()) == 1
    clock.shift(timedelta(seconds=1))
    assert retention.clean_up()["notices"] == 1
    assert told() == []
