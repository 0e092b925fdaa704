"""Mails to those who run a clinic: one at each turn of events, through a real mail server."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update

from tests.api.rows import make_log
from tests.cast import Cast
from tests.cliniko.certificate import write_self_signed
from tests.support.databases import on_both
from tests.support.mailbox import Mailbox, mailbox
from webapp.clock import now
from webapp.errors import ErrorCode
from webapp.extensions import db, transaction
from webapp.models import (
    Notice,
    NoticeKind,
    NoticeState,
    OperationType,
    Organization,
    Role,
    SyncLog,
    SyncStatus,
)
from webapp.services import mail, notice_sending, notices, people, retention, roles, schedules
from webapp.sync import ending, suspension


@pytest.fixture
def environment(environment: dict[str, str], box: Mailbox) -> dict[str, str]:
    return environment | box.settings | {"PUBLIC_URL": "https://sync.clinic.example"}


FULL, CHANGED = OperationType.FULL_PATIENTS, OperationType.CHANGED_PATIENTS


def fails(
    clinic: Organization,
    code: ErrorCode = ErrorCode.CLINIKO_UNAVAILABLE,
    kind: OperationType = FULL,
) -> SyncLog:
    log = make_log(clinic, SyncStatus.RUNNING, operation_type=kind)
    with transaction():
        ending.fail(log, ending.Closing(code, "Cliniko has trouble. Try again later."))
    return log


def completes(clinic: Organization, kind: OperationType = FULL, records_failed: int = 0) -> SyncLog:
    log = make_log(clinic, SyncStatus.RUNNING, operation_type=kind, records_failed=records_failed)
    with transaction():
        ending.complete(log)
    return log


def kinds(recipient: str) -> list[str]:
    db.session.rollback()
    found = select(Notice.kind).where(Notice.recipient == recipient).order_by(Notice.id)
    return list(db.session.scalars(found))


def send_due() -> list[bool]:
    return [notice_sending.send(taken) for taken in notice_sending.take_due(10)]


@on_both
def test_the_first_failure_and_the_recovery_are_told_and_nothing_between(cast: Cast) -> None:
    completes(cast.surf)
    for _ in range(5):
        fails(cast.surf)
    for _ in range(3):
        completes(cast.surf)
    fails(cast.surf)
    told = [NoticeKind.FAILING, NoticeKind.RECOVERED, NoticeKind.FAILING]
    assert kinds("bob@example.com") == kinds("alice@example.com") == told


@on_both
def test_full_syncs_that_never_complete_are_told_of_once_whatever_smaller_ones_do(
    cast: Cast,
) -> None:
    completes(cast.surf)
    for _ in range(3):  # nights, with hours between them
        fails(cast.surf)
        completes(cast.surf, CHANGED)
        fails(cast.surf, kind=CHANGED)
        completes(cast.surf, OperationType.ACTIVE_PATIENTS)
    assert kinds("bob@example.com") == [NoticeKind.FAILING]
    text = db.session.scalars(select(Notice.text)).first() or ""
    assert "one more mail when a full sync has completed again.\n" in text
    completes(cast.surf)
    completes(cast.surf, CHANGED)
    assert kinds("bob@example.com") == [NoticeKind.FAILING, NoticeKind.RECOVERED]


def test_a_full_sync_ends_what_a_smaller_one_has_begun_and_so_does_a_smaller_one(
    cast: Cast,
) -> None:
    completes(cast.surf)
    told: list[NoticeKind] = []
    for kind in (FULL, CHANGED):
        fails(cast.surf, kind=CHANGED)
        fails(cast.surf, kind=CHANGED)
        completes(cast.surf, kind)
        told += [NoticeKind.FAILING, NoticeKind.RECOVERED]
    assert kinds("bob@example.com") == told
    text = db.session.scalars(select(Notice.text)).first() or ""
    assert "one more mail when a sync has completed again" in text


def test_a_full_sync_that_fails_while_smaller_ones_do_is_no_new_beginning(cast: Cast) -> None:
    fails(cast.surf, kind=CHANGED)
    fails(cast.surf)
    completes(cast.surf, CHANGED)
    assert kinds("bob@example.com") == [NoticeKind.FAILING]
    text = db.session.scalars(select(Notice.text)).first() or ""
    promised = "completed again; should a full sync fail before that, when a full one has.\n"
    assert promised in text
    completes(cast.surf)
    assert kinds("bob@example.com") == [NoticeKind.FAILING, NoticeKind.RECOVERED]


def test_the_very_first_sync_may_fail_and_a_success_is_no_news(cast: Cast) -> None:
    completes(cast.northside)
    assert kinds("charlie@example.com") == []
    fails(cast.surf)
    assert kinds("bob@example.com") == [NoticeKind.FAILING]


def test_what_somebody_has_cancelled_is_neither(cast: Cast) -> None:
    completes(cast.surf)
    fails(cast.surf, ErrorCode.SYNC_CANCELLED)
    completes(cast.surf)
    assert kinds("bob@example.com") == []
    fails(cast.surf)
    fails(cast.surf, ErrorCode.SYNC_CANCELLED)
    fails(cast.surf)
    assert kinds("bob@example.com") == [NoticeKind.FAILING]


def test_managers_of_the_clinic_and_admins_are_told_unless_they_want_no_mail(cast: Cast) -> None:
    assert notices.recipients(cast.surf.id) == ["alice@example.com", "bob@example.com"]
    notices.want(cast.alice, False)
    assert notices.recipients(cast.surf.id) == ["bob@example.com"]
    assert notices.recipients(cast.northside.id) == ["charlie@example.com"]
    with transaction():
        cast.bob.active = False
    assert notices.recipients(cast.surf.id) == []


def test_a_mail_says_what_happened_and_what_to_do(cast: Cast, box: Mailbox) -> None:
    log = fails(cast.surf)
    assert send_due() == [True, True]
    assert send_due() == []
    assert box.recipients == [["alice@example.com"], ["bob@example.com"]]
    letter = box.mails[1]
    assert letter["Subject"] == "Syncs of “Surf Rehab” are failing"
    assert (letter["From"], letter["To"]) == ("sync@clinic.example", "bob@example.com")
    assert letter["Auto-Submitted"] == "auto-generated"
    text = letter.get_content()
    assert f"Sync {log.id} of “Surf Rehab” has failed: CLINIKO_UNAVAILABLE." in text
    assert "Cliniko has trouble. Try again later." in text
    assert "Your account" in text
    assert f"https://sync.clinic.example/clinics/{cast.surf.id}\r\n" in text


@pytest.mark.parametrize(
    ("records_failed", "words"),
    [
        (0, ""),
        (1, "\n\n1 record could not be stored; its page says why."),
        (1_500, "\n\n1,500 records could not be stored; its page says why."),
    ],
)
def test_a_recovery_says_no_more_than_what_has_happened(
    cast: Cast, records_failed: int, words: str
) -> None:
    fails(cast.surf)
    log = completes(cast.surf, records_failed=records_failed)
    text = db.session.scalars(select(Notice.text).order_by(Notice.id.desc())).first() or ""
    assert text.startswith(
        f"Sync {log.id} of “Surf Rehab” has completed.{words}\n\nhttps://sync.clinic.example/"
    )


def test_a_mail_about_a_webhook_tells_what_is_sent_later_and_what_is_not(cast: Cast) -> None:
    loses_a_webhook(cast.surf)
    text = db.session.scalars(select(Notice.text)).first() or ""
    assert "The message that led to the stop was given up: send it again there." in text


def falls_behind(clinic: Organization) -> None:
    schedules.save(clinic, changes_every=15, full_at=None, time_zone="Australia/Sydney", actor=None)
    with time_machine.travel(now() + timedelta(days=1)):
        notices.look_for_overdue()


def loses_a_webhook(clinic: Organization) -> None:
    with transaction():
        notices.webhook_stopped(clinic.id, 1, "it answered 410.")


TELLS: dict[str, Callable[[Cast], object]] = {
    "failing": lambda cast: fails(cast.surf),
    "recovered": lambda cast: (fails(cast.surf), completes(cast.surf)),
    "overdue": lambda cast: falls_behind(cast.surf),
    "webhook": lambda cast: loses_a_webhook(cast.surf),
}


@pytest.mark.parametrize("what", TELLS)
def test_what_somebody_has_called_a_clinic_is_not_taken_for_our_words(
    cast: Cast, what: str
) -> None:
    """A manager writes it, and all admins get the mail."""
    name = "X” has failed. Sign in at evil.example to see “" + "why " * 36
    with transaction():
        cast.surf.name = name
    TELLS[what](cast)
    notice = db.session.scalars(select(Notice).order_by(Notice.id.desc())).first()
    assert notice is not None
    quoted = "“X' has failed. Sign in at evil.example to see 'why why why …”"
    for text in (notice.subject, notice.text):
        assert quoted in text
        assert text.count("evil") == 1


def test_a_mail_server_in_trouble_is_asked_again_with_the_same_mail(
    cast: Cast, box: Mailbox
) -> None:
    notices.want(cast.alice, False)
    box.refusals = 2
    with time_machine.travel(now(), tick=False) as clock:
        fails(cast.surf)
        assert send_due() == [False]
        assert send_due() == []
        clock.shift(6)
        assert send_due() == [False]
        clock.shift(timedelta(minutes=6))
        assert send_due() == [True]
    (letter,) = box.mails
    notice = db.session.scalars(select(Notice)).one()
    assert notice.state == NoticeState.SENT
    written = notice.created_at.strftime("%Y%m%dT%H%M%S%fZ")  # and not when it was tried
    assert letter["Message-ID"] == f"<notice-{notice.id}-{written}@clinic.example>"


@on_both
def test_a_mail_from_after_a_restore_is_no_copy_of_the_one_that_had_its_number(
    cast: Cast, box: Mailbox
) -> None:
    notices.want(cast.alice, False)
    fails(cast.surf)
    assert send_due() == [True]
    with transaction() as session:
        moment = now()
        another = {"created_at": moment, "next_attempt_at": moment, "state": NoticeState.WAITING}
        session.execute(update(Notice).values(another))
    assert send_due() == [True]
    first, second = (letter["Message-ID"] for letter in box.mails)
    assert first != second


def test_after_a_day_a_mail_is_given_up(app: Flask, cast: Cast) -> None:
    notices.want(cast.alice, False)
    app.config["SMTP_URL"] = "smtp://127.0.0.1:1"
    with time_machine.travel(now(), tick=False) as clock:
        fails(cast.surf)
        for _ in range(26 * 12):
            send_due()
            clock.shift(timedelta(minutes=5))
    notice = db.session.scalars(select(Notice)).one()
    assert (notice.state, notice.tries) == (NoticeState.FAILED, 10)


def test_a_mail_from_before_the_weekend_outlives_a_mail_server_that_comes_an_hour_later(
    cast: Cast, box: Mailbox
) -> None:
    notices.want(cast.alice, False)
    with time_machine.travel(now(), tick=False) as clock:
        fails(cast.surf)
        clock.shift(timedelta(days=3))
        for minutes in range(0, 130, 5):
            box.refusals = 1 if minutes < 60 else 0
            send_due()
            clock.shift(timedelta(minutes=5))
    notice = db.session.scalars(select(Notice)).one()
    assert (notice.state, notice.tries) == (NoticeState.SENT, 5)


def test_a_mail_that_cannot_be_written_is_given_up_as_others_are(cast: Cast, box: Mailbox) -> None:
    notices.want(cast.alice, False)
    with transaction():
        cast.bob.email = "x@[1.2"  # from before such addresses were refused
    with time_machine.travel(now(), tick=False) as clock:
        fails(cast.surf)
        for _ in range(10):
            assert send_due() == [False]
            clock.shift(timedelta(days=1))
    assert db.session.scalars(select(Notice.state)).one() == NoticeState.FAILED


@on_both
@pytest.mark.parametrize(
    "change",
    [
        lambda cast: people.deactivate(cast.bob, actor=cast.alice),
        lambda cast: roles.change(cast.bob, Role.VIEWER, cast.surf.id, actor=cast.alice),
        lambda cast: roles.change(cast.bob, Role.MANAGER, cast.northside.id, actor=cast.alice),
        lambda cast: notices.want(cast.bob, False),
        lambda cast: suspension.disable(cast.surf, actor=cast.alice),
    ],
    ids=["deactivated", "viewer", "elsewhere", "unwanted", "disabled"],
)
def test_what_waits_is_not_told_to_who_may_hear_of_the_clinic_no_more(
    cast: Cast, box: Mailbox, change: Callable[[Cast], object]
) -> None:
    fails(cast.surf)
    waiting = list(db.session.scalars(select(Notice.id).order_by(Notice.id)))
    change(cast)
    send_due()
    db.session.rollback()
    states = [db.session.get_one(Notice, each).state for each in waiting]
    assert states == [NoticeState.SENT, NoticeState.UNWANTED]  # to Alice, to Bob
    assert "Syncs of “Surf Rehab” are failing" not in [
        letter["Subject"] for letter in box.mails if letter["To"] == "bob@example.com"
    ]


@on_both
def test_a_mail_is_taken_by_one_and_goes_again_if_they_die(cast: Cast, box: Mailbox) -> None:
    notices.want(cast.alice, False)
    with time_machine.travel(now(), tick=False) as clock:
        fails(cast.surf)
        (taken,) = notice_sending.take_due(10)
        assert notice_sending.take_due(10) == []
        clock.shift(notice_sending.TURN + timedelta(seconds=1))
        box.refusals = 1
        assert send_due() == [False]
        box.refusals = 1
        assert not notice_sending.send(taken)  # it was only asleep: its failure is not written down
    assert db.session.scalars(select(Notice.tries)).one() == 2


@on_both
def test_a_mail_that_took_too_long_was_sent_all_the_same(cast: Cast, box: Mailbox) -> None:
    notices.want(cast.alice, False)
    with time_machine.travel(now(), tick=False) as clock:
        fails(cast.surf)
        (slow,) = notice_sending.take_due(10)
        clock.shift(notice_sending.TURN + timedelta(seconds=1))
        (late,) = notice_sending.take_due(10)
        assert notice_sending.send(slow)
        assert db.session.scalars(select(Notice.state)).one() == NoticeState.SENT
        box.refusals = 1
        assert not notice_sending.send(late)  # which does not make it one to be sent again
        clock.shift(timedelta(days=2))
        assert send_due() == []
    assert db.session.scalars(select(Notice.state)).one() == NoticeState.SENT
    assert len(box.mails) == 1


@pytest.mark.parametrize("farewell", ["451 Not now", "250 And what else?"])
def test_a_server_that_takes_the_mail_and_no_good_bye_has_the_mail(
    cast: Cast, box: Mailbox, farewell: str
) -> None:
    box.farewell = farewell
    fails(cast.surf)
    assert send_due() == [True, True]
    assert set(db.session.scalars(select(Notice.state))) == {NoticeState.SENT}


def test_a_turn_is_longer_than_all_answers_of_a_slow_server_together(
    app: Flask, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[object] = []
    getreply = smtplib.SMTP.getreply

    def counted(server: smtplib.SMTP) -> tuple[int, bytes]:
        answers.append(server)
        return getreply(server)

    monkeypatch.setattr(smtplib.SMTP, "getreply", counted)
    mail.send("bob@example.com", "Hello", "Text", message_id="notice-1")
    beside = 10  # the name, the connection, TLS and what is said again behind it, the password
    assert notice_sending.TURN.total_seconds() > 2 * (len(answers) + beside) * mail.SECONDS


def test_without_a_mail_server_nothing_is_written_down(app: Flask, cast: Cast) -> None:
    app.config["SMTP_URL"] = None
    fails(cast.surf)
    assert kinds("bob@example.com") == []


@pytest.mark.parametrize(
    "name",
    ["Surf\r\nBcc: evil@example.com", "Surf\nSubject: x", "Surf\x0bRehab\u2028B: c", "x" * 400],
)
def test_no_name_adds_a_header(cast: Cast, box: Mailbox, name: str) -> None:
    with transaction():
        cast.surf.name = name
    fails(cast.surf)
    send_due()
    assert [sorted(letter.keys()) for letter in box.mails] == [
        sorted(
            [
                *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
                *("Content-Type", "Content-Transfer-Encoding", "MIME-Version"),
            ]
        )
    ] * 2
    assert [who for who in box.recipients if "evil@example.com" in who] == []


@pytest.mark.parametrize("recipient", ["bob@example.com\r\nBcc: evil@example.com", "a\nb@x.y"])
def test_no_recipient_adds_one_either(app: Flask, box: Mailbox, recipient: str) -> None:
    with pytest.raises(ValueError, match=r"linefeed|CR|invalid"):
        mail.send(recipient, "Hello", "Text", message_id="notice-1")
    assert box.mails == []


def test_the_password_goes_over_tls_alone(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pem = write_self_signed(tmp_path / "mail.pem", name="localhost", since=datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    trusting = ssl.create_default_context(cafile=str(pem))
    with mailbox(tls_context=context) as box, mailbox(auth_require_tls=False) as plain:
        app.config["SMTP_URL"] = box.url.replace("//127.0.0.1", "//sync:p%40ss@localhost")
        with pytest.raises(ssl.SSLCertVerificationError):  # nobody vouches for this certificate
            mail.send("bob@example.com", "Hello", "Text", message_id="notice-1")
        assert box.logins == []
        monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)
        mail.send("bob@example.com", "Hello", "Text", message_id="notice-1")
        assert box.logins == [(b"sync", b"p@ss")]
        assert len(box.mails) == 1

        app.config["SMTP_URL"] = plain.url.replace("//", "//sync:p%40ss@")
        with pytest.raises(smtplib.SMTPNotSupportedError):
            mail.send("bob@example.com", "Hello", "Text", message_id="notice-1")
        assert (plain.logins, plain.mails) == ([], [])


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_server_on_this_machine_needs_no_certificate_that_anybody_vouches_for(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    """As Debian's Postfix with its own, for another name; nothing leaves the machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(write_self_signed(tmp_path / "mail.pem", name="debian"))
    options = {"tls_context": context} if scheme == "smtp" else {"ssl_context": context}
    with mailbox(**options) as box:
        address = box.url.replace("smtp:", f"{scheme}:")
        monkeypatch.setattr(socket, "create_connection", _to("127.0.0.1"))
        for host in ("127.0.0.1", "127.0.1.1", "localhost", "LOCALHOST"):
            app.config["SMTP_URL"] = address.replace("127.0.0.1", host)
            mail.send("bob@example.com", "Hello", "Text", message_id="notice-1")
        assert len(box.mails) == 4

        for elsewhere in ("mail.clinic.example", "localhost.clinic.example", "192.0.2.7"):
            app.config["SMTP_URL"] = address.replace("127.0.0.1", elsewhere)
            with pytest.raises(ssl.SSLCertVerificationError):
                mail.send("bob@example.com", "Hello", "Text", message_id="notice-1")
        assert len(box.mails) == 4


def _to(host: str) -> Callable[..., socket.socket]:
    """What connects to the same port of this host, whichever was meant."""
    connect = socket.create_connection

    def connected(address: tuple[str, int], *more: Any, **options: Any) -> socket.socket:
        return connect((host, address[1]), *more, **options)

    return connected


def test_what_is_only_read_again_and_the_end_of_a_clinic_are_no_news(cast: Cast) -> None:
    completes(cast.surf)
    fails(cast.surf, ErrorCode.ORGANIZATION_NOT_FOUND)
    log = make_log(cast.surf, SyncStatus.RUNNING, operation_type=OperationType.RETRY_FAILED)
    with transaction():
        ending.fail(log, ending.Closing(ErrorCode.CLINIKO_UNAVAILABLE, "Cliniko has trouble."))
    completes(cast.surf)
    assert kinds("bob@example.com") == []


def test_a_clinic_that_was_enabled_again_and_is_overdue_is_told_of_anew(cast: Cast) -> None:
    schedules.save(
        cast.surf, changes_every=15, full_at=None, time_zone="Australia/Sydney", actor=cast.bob
    )
    completes(cast.surf)
    with time_machine.travel(now(), tick=False) as clock:
        clock.shift(timedelta(days=1))
        notices.look_for_overdue()
        suspension.disable(cast.surf, actor=cast.alice)
        clock.shift(timedelta(days=1))
        suspension.enable(cast.surf, actor=cast.alice)
        notices.look_for_overdue()
        assert kinds("bob@example.com") == [NoticeKind.OVERDUE]
        clock.shift(timedelta(days=1))
        for _ in range(2):
            notices.look_for_overdue()
    assert kinds("bob@example.com") == [NoticeKind.OVERDUE] * 2


def test_a_clinic_that_is_overdue_is_told_of_once_until_it_is_in_step_again(cast: Cast) -> None:
    schedules.save(
        cast.surf, changes_every=15, full_at=None, time_zone="Australia/Sydney", actor=cast.bob
    )
    completes(cast.surf)
    with time_machine.travel(now(), tick=False) as clock:
        notices.look_for_overdue()
        assert kinds("bob@example.com") == []
        clock.shift(timedelta(days=1))
        for _ in range(3):
            notices.look_for_overdue()
        assert kinds("bob@example.com") == [NoticeKind.OVERDUE]
        log = make_log(cast.surf, started_at=now())  # in step again
        assert log.completed_at is not None
        notices.look_for_overdue()
        clock.shift(timedelta(days=1))
        notices.look_for_overdue()
    assert kinds("bob@example.com") == [NoticeKind.OVERDUE] * 2
    assert kinds("charlie@example.com") == []


@on_both
def test_a_clinic_that_is_overdue_for_months_is_told_of_once(cast: Cast) -> None:
    schedules.save(
        cast.surf, changes_every=15, full_at=None, time_zone="Australia/Sydney", actor=cast.bob
    )
    completes(cast.surf)
    with time_machine.travel(now(), tick=False) as clock:
        for _ in range(3):
            clock.shift(timedelta(days=31))
            retention.clean_up()
            notices.look_for_overdue()
        assert kinds("bob@example.com") == [NoticeKind.OVERDUE]
        make_log(cast.surf, started_at=now())  # in step again: nothing rests on the mail any more
        clock.shift(timedelta(days=1))
        assert retention.clean_up()["notices"] == 2  # Bob's and Alice's


@on_both
def test_that_a_clinic_is_overdue_is_told_anew_once_a_day_until_a_mail_is_sent(
    app: Flask, cast: Cast, box: Mailbox
) -> None:
    notices.want(cast.alice, False)
    schedules.save(
        cast.surf, changes_every=15, full_at=None, time_zone="Australia/Sydney", actor=cast.bob
    )
    app.config["SMTP_URL"] = "smtp://127.0.0.1:1"
    with time_machine.travel(now(), tick=False) as clock:
        clock.shift(timedelta(hours=1))

        def pass_days(days: int) -> None:
            for _ in range(days * 24 * 2):
                notices.look_for_overdue()
                send_due()
                clock.shift(timedelta(minutes=30))

        pass_days(3)
        assert kinds("bob@example.com") == [NoticeKind.OVERDUE] * 3
        app.config["SMTP_URL"] = box.url
        pass_days(2)
        assert len(box.mails) == 1
        clock.shift(timedelta(days=31))
        retention.clean_up()
        notices.look_for_overdue()
    (kept,) = db.session.scalars(select(Notice.state))
    assert kept == NoticeState.SENT


def test_an_overdue_clinic_whose_mail_nobody_wanted_is_not_told_of_again_and_again(
    cast: Cast, box: Mailbox
) -> None:
    notices.want(cast.alice, False)
    falls_behind(cast.surf)
    notices.want(cast.bob, False)
    with time_machine.travel(now() + timedelta(days=1)):
        for _ in range(3):
            send_due()
            notices.look_for_overdue()
        assert kinds("bob@example.com") == [NoticeKind.OVERDUE]
        notices.want(cast.bob, True)
        for _ in range(3):
            notices.look_for_overdue()
            send_due()
    assert kinds("bob@example.com") == [NoticeKind.OVERDUE] * 2
    assert len(box.mails) == 1
