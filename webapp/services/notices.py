"""Mails to those who run a clinic: when its syncs begin to fail, when they work again, when it is
overdue, and when a webhook was stopped. One at each turn of events, never one each time.

They are written in the transaction of what they tell of, and hold nothing about a patient.
"""

from __future__ import annotations

from datetime import datetime

from flask import current_app
from sqlalchemy import ColumnElement, exists, func, select

from webapp.clock import now
from webapp.errors import ErrorCode
from webapp.extensions import db, transaction
from webapp.models import (
    BRINGS_IN_STEP,
    IS_OPEN,
    Notice,
    NoticeKind,
    NoticeState,
    OperationType,
    Organization,
    Role,
    Schedule,
    SyncLog,
    SyncStatus,
    User,
)
from webapp.services import locks, mail, names, people, schedules
from webapp.services.audit_events import Event

_ENDED_BY_SOMEBODY = (ErrorCode.SYNC_CANCELLED, ErrorCode.ORGANIZATION_NOT_FOUND)
_TOLD = Notice.state.in_((NoticeState.WAITING, NoticeState.SENT))  # what failed has told nobody
_OR_A_FULL_ONE = "; should a full sync fail before that, when a full one has"
_BYE = "\n\nWhether you get these mails is up to you: see “Your account” in Patient Sync."


def sync_ended(sync_log: SyncLog) -> None:
    """Tell once when syncs begin to fail and once when they work again, inside the caller's
    transaction. What a failed full sync has begun only a completed full sync ends, for smaller ones
    may complete all the while. A sync that somebody has ended tells nothing, nor does one that only
    reads failed records again."""
    again = sync_log.operation_type == OperationType.RETRY_FAILED
    if again or sync_log.error_code in _ENDED_BY_SOMEBODY:
        return
    failed = sync_log.status == SyncStatus.FAILED
    is_full = sync_log.operation_type == OperationType.FULL_PATIENTS
    full_awaited = _failed_before(sync_log, SyncLog.operation_type == OperationType.FULL_PATIENTS)
    failing_before = full_awaited or _failed_before(sync_log, BRINGS_IN_STEP)
    failing = failed or (full_awaited and not is_full)
    if failing == failing_before:
        return
    clinic = names.quoted(db.session.get_one(Organization, sync_log.organization_id).name)
    if failing:
        subject = f"Syncs of {clinic} are failing"
        which, otherwise = ("a full sync", "") if is_full else ("a sync", _OR_A_FULL_ONE)
        text = (
            f"Sync {sync_log.id} of {clinic} has failed: {sync_log.error_code}.\n"
            f"{sync_log.error_message}\n\n"
            f"What was stored is kept. You get one more mail when {which} has completed "
            f"again{otherwise}."
        )
        put(sync_log.organization_id, NoticeKind.FAILING, subject, text)
    else:
        subject = f"Syncs of {clinic} work again"
        text = f"Sync {sync_log.id} of {clinic} has completed.{_not_stored(sync_log)}"
        put(sync_log.organization_id, NoticeKind.RECOVERED, subject, text)


def look_for_overdue() -> None:
    """Tell once of each clinic that has not been in step for longer than its schedule allows; anew
    where no mail of that was sent within the day for which each is tried."""
    scheduled = select(Organization).join(Schedule, Schedule.organization_id == Organization.id)
    for clinic in list(db.session.scalars(scheduled.where(IS_OPEN))):
        if schedules.overdue(clinic, now()) and not _told_of_overdue(clinic):
            _tell_of_overdue(clinic)


def webhook_stopped(organization_id: int, endpoint_id: int, why: str) -> None:
    """Tell that we send nothing more to a webhook, inside the caller's transaction."""
    clinic = names.quoted(db.session.get_one(Organization, organization_id).name)
    text = (
        f"Webhook {endpoint_id} of {clinic} was stopped: {why}\n\n"
        "What happens meanwhile waits for 30 days and is sent as soon as somebody resumes it on "
        "the page “Webhooks” of the clinic. The message that led to the stop was given up: send it "
        "again there."
    )
    put(organization_id, NoticeKind.WEBHOOK_STOPPED, f"A webhook of {clinic} was stopped", text)


def put(organization_id: int, kind: NoticeKind, subject: str, text: str) -> None:
    """Write down a mail to everybody who wants to hear of this clinic, inside the caller's
    transaction. Without a mail server there is nobody to tell."""
    if not mail.is_set_up():
        return
    url = current_app.config["PUBLIC_URL"]
    place = f"\n\n{url}/clinics/{organization_id}" if url else ""
    for recipient in recipients(organization_id):
        db.session.add(
            Notice(
                organization_id=organization_id,
                kind=kind,
                recipient=recipient,
                subject=_one_line(subject),
                text=text + place + _BYE,
            )
        )


def recipients(organization_id: int) -> list[str]:
    """The addresses of the managers of a clinic, unless it is closed to them, and of all admins, of
    those who want mails."""
    clinic = select(Organization.id).where(Organization.id == organization_id, IS_OPEN)
    theirs = (User.role == Role.ADMIN) | (
        (User.role == Role.MANAGER) & User.organization_id.in_(clinic)
    )
    wanted = select(User.email).where(User.active, ~User.invited, User.notices, theirs)
    return list(db.session.scalars(wanted.order_by(User.id)))


def want(user: User, wanted: bool) -> None:
    """Whether a person gets these mails from now on, as they chose themselves. Raises NotFound if
    they were made somebody else's meanwhile."""
    with people.changing(user):
        if user.notices != wanted:
            user.notices = wanted
            people.record(Event.MAILS_CHOSEN, user, actor=user, wanted=wanted)


def count_by_state() -> dict[str, int]:
    """How many mails stand how, about all clinics and accounts."""
    counted = select(Notice.state, func.count()).group_by(Notice.state)
    counts = dict.fromkeys(map(str, NoticeState), 0)
    counts.update((state, count) for state, count in db.session.execute(counted))
    return counts


def is_over(before: datetime) -> ColumnElement[bool]:
    """The condition for a mail that was written before a moment and is needed no longer. What told
    that a clinic is overdue is, until it is in step again: without it everybody would be told anew.
    """
    planned = exists().where(
        Schedule.organization_id == Notice.organization_id, Schedule.saved_at < Notice.created_at
    )
    in_step_since = exists().where(
        SyncLog.organization_id == Notice.organization_id,
        SyncLog.status == SyncStatus.COMPLETED,
        BRINGS_IN_STEP,
        SyncLog.completed_at >= Notice.created_at,
    )
    stands = (Notice.kind == NoticeKind.OVERDUE) & _TOLD & planned & ~in_step_since
    return (Notice.created_at < before) & ~stands


def _tell_of_overdue(clinic: Organization) -> None:
    name = names.quoted(clinic.name)
    text = (
        f"{name} has not been synced for longer than its schedule allows.\n\n"
        "Look at its syncs, and whether workers and Redis run."
    )
    with transaction():
        locks.clinic(clinic.id)  # of two that look at once one tells
        if not _told_of_overdue(clinic):
            put(clinic.id, NoticeKind.OVERDUE, f"{name} is not in step", text)


def _told_of_overdue(clinic: Organization) -> bool:
    told = select(Notice.id).where(
        Notice.organization_id == clinic.id, Notice.kind == NoticeKind.OVERDUE, _TOLD
    )
    schedule, moment = schedules.of(clinic), now()
    if schedule is not None:
        last_synced = schedules.last_in_step(clinic, moment)
        since = schedules.counted_since(clinic, schedule, last_synced, moment)
        told = told.where(Notice.created_at > since)
    return db.session.scalar(told.limit(1)) is not None


def _failed_before(sync_log: SyncLog, kind: ColumnElement[bool]) -> bool:
    """Whether the last sync of this kind before this one that ended by itself has failed."""
    before = (
        select(SyncLog.status)
        .where(
            SyncLog.organization_id == sync_log.organization_id,
            SyncLog.id < sync_log.id,
            SyncLog.status != SyncStatus.RUNNING,
            kind,
            func.coalesce(SyncLog.error_code, "").not_in(_ENDED_BY_SOMEBODY),
        )
        .order_by(SyncLog.id.desc())
        .limit(1)
    )
    return db.session.scalar(before) == SyncStatus.FAILED


def _not_stored(sync_log: SyncLog) -> str:
    """What a completed sync had to leave out, if anything."""
    count = sync_log.records_failed
    if not count:
        return ""
    records = "1 record" if count == 1 else f"{count:,} records"
    return f"\n\n{records} could not be stored; its page says why."


def _one_line(text: str) -> str:
    """Names may come from anywhere: nothing in them may begin another header."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:300]
