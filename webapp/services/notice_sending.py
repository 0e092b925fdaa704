"""Sending the mails that were written: whose turn it is, and what came of it.

There may be several senders. Each proves by the number of its try that a mail is still its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import select, update

from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import Notice, NoticeState
from webapp.services import mail, retries
from webapp.services.notices import recipients

log = structlog.get_logger()

# Longer than a mail can take, of which each answer of the server may take `mail.SECONDS`.
TURN = timedelta(minutes=10)


@dataclass(frozen=True)
class Taken:
    """The right to send one mail, proven by the number of its try."""

    notice_id: int
    number: int


def take_due(most: int) -> list[Taken]:
    """Take up to so many mails that are due. A sender that dies lets its try run out."""
    waiting = Notice.state == NoticeState.WAITING
    due = select(Notice.id, Notice.tries).where(waiting, Notice.next_attempt_at <= now())
    found = db.session.execute(due.order_by(Notice.next_attempt_at).limit(most)).all()
    db.session.rollback()
    return [taken for taken in (_take(row.id, row.tries) for row in found) if taken is not None]


def send(taken: Taken) -> bool:
    """Send a mail and write down what came of it; says whether it was sent. Whoever may hear of the
    clinic no more, or does not want to, is not told what has waited meanwhile."""
    notice = db.session.get(Notice, taken.notice_id)
    if notice is None:
        return False
    what = (notice.recipient, notice.subject, notice.text, _message_id(notice))
    wanted = _is_wanted(notice)
    db.session.rollback()  # no transaction is open while the mail server thinks
    sent = wanted and _sent(taken, *what)
    with transaction() as session:
        written = session.get(Notice, taken.notice_id, with_for_update=True)
        if written is not None:
            _after(written, taken, sent=sent, wanted=wanted)
    return sent


def _is_wanted(notice: Notice) -> bool:
    """Whether the recipient would be told now; of their own account they are told in any case."""
    clinic = notice.organization_id
    return clinic is None or notice.recipient in recipients(clinic)


def _message_id(notice: Notice) -> str:
    """The same at each try. The moment tells it from the mail that had its number before a restore,
    or has it in another installation: a mail system drops what it takes for a copy."""
    return f"notice-{notice.id}-{notice.created_at:%Y%m%dT%H%M%S%fZ}"


def _sent(taken: Taken, recipient: str, subject: str, text: str, message_id: str) -> bool:
    try:
        mail.send(recipient, subject, text, message_id=message_id)
    except Exception as error:  # whatever it is, this try has failed, and it is one of ten
        log.warning("notice_not_sent", notice_id=taken.notice_id, error=type(error).__name__)
        return False
    return True


def _take(notice_id: int, tries: int) -> Taken | None:
    with transaction() as session:
        number = session.scalar(
            update(Notice)
            .where(
                Notice.id == notice_id,
                Notice.tries == tries,
                Notice.state == NoticeState.WAITING,
            )
            .values(tries=tries + 1, next_attempt_at=now() + TURN)
            .returning(Notice.tries)
            .execution_options(synchronize_session=False)
        )
        return None if number is None else Taken(notice_id, number)


def _after(notice: Notice, taken: Taken, *, sent: bool, wanted: bool) -> None:
    """What was sent is not to be sent again, whoever has taken it meanwhile; of a failure only the
    last who took it may tell. What nobody wants any more is given up."""
    if sent:
        notice.state = NoticeState.SENT
        return
    if notice.state != NoticeState.WAITING or notice.tries != taken.number:
        return
    again = retries.next_try(notice.created_at, notice.tries, now(), None)
    if not wanted:
        notice.state = NoticeState.UNWANTED
    elif again is None:
        notice.state = NoticeState.FAILED
    else:
        notice.next_attempt_at = again
