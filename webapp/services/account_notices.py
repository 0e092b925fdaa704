"""Mails to a person when how they sign in, or what they may, was changed: whoever did not do it
themselves hears of it (OWASP ASVS 6.3.7). Whether they want other mails is not asked.

They are written in the transaction of the change, and hold no secret and no link: a mail that looks
like one of these must have nothing to click on.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select

from webapp.clock import now
from webapp.extensions import db
from webapp.models import Notice, NoticeKind, User
from webapp.services import mail
from webapp.services.audit_events import Event

WHAT = {
    Event.PASSWORD_CHANGED: "A new password was set for your account",
    Event.SECOND_FACTOR_SET: "A second factor was set up for your account",
    Event.SECOND_FACTOR_REMOVED: "The second factor of your account was removed",
    Event.SECOND_FACTOR_RESET: "The second factor of your account was reset",
    Event.RECOVERY_CODES_MADE: "New recovery codes were made for your account",
    Event.RECOVERY_CODE_USED: "A recovery code of your account was used",
    Event.ROLE_CHANGED: "The role of your account was changed",
    Event.ADMIN_GRANTED: "Your account was given the admin role",
    Event.PERSON_DEACTIVATED: "Your account was deactivated",
    Event.PERSON_ACTIVATED: "Your account was activated again",
    Event.ACCOUNT_LOCKED: "Your account was closed",
}
_WHAT_TO_DO = (
    "If you know of this, there is nothing to do. If not, tell an admin at once, and if you can "
    "still sign in, sign out everywhere else on the page “Your account” and choose another "
    "password."
)
_WHEN_CLOSED = (
    "Nobody was let in by them. An admin can give you a link to choose another password, which "
    "opens the account again. If it was not you, tell them so: somebody tries to get in."
)
_WHEN_ANEW = (
    "Your password has ended with it, and your second factor if you had one. Whoever changed this "
    "can give you a link to choose another password; if you did not expect it, tell an admin at "
    "once."
)
_NO_LINK = "Open Patient Sync as you always do: mails like this one never hold a link."


# So many mails at most within an hour: whoever changes somebody to and fro must not flood them.
MOST_IN_AN_HOUR = 10


def tell(event: Event, user: User, *, actor: User | None, begins_anew: bool = False) -> None:
    """Write down a mail to a person about a change of their account, inside the caller's
    transaction. Only for the events of WHAT, only with a mail server, and not to somebody who was
    only invited, for their address may be anybody's. Who `begins_anew` has no password any more."""
    what = WHAT.get(event)
    if what is None or user.invited or not mail.is_set_up() or _was_told_enough(user):
        return
    when = f"on {now():%Y-%m-%d at %H:%M} UTC"
    closed = event is Event.ACCOUNT_LOCKED
    why = "after a hundred wrong passwords or codes in a row" if closed else _by_whom(user, actor)
    then = _WHEN_CLOSED if closed else _WHEN_ANEW if begins_anew else _WHAT_TO_DO
    text = f"{what} in Patient Sync {when}, {why}.\n\n{then} {_NO_LINK}"
    db.session.add(Notice(kind=NoticeKind.ACCOUNT, recipient=user.email, subject=what, text=text))


def _was_told_enough(user: User) -> bool:
    theirs = (Notice.kind == NoticeKind.ACCOUNT) & (Notice.recipient == user.email)
    recent = theirs & (Notice.created_at > now() - timedelta(hours=1))
    told = db.session.scalar(select(func.count()).select_from(Notice).where(recent)) or 0
    return told >= MOST_IN_AN_HOUR


def _by_whom(user: User, actor: User | None) -> str:
    if actor is None:
        return "by a command on the server"
    if actor.id == user.id:
        return "by you or by somebody who acts as you"
    return "by somebody who manages people"
