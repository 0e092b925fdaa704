"""The schedules of clinics: what was chosen, what follows from it, and who has fallen behind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import and_, bindparam, or_, select

from webapp.clock import MAY_DIFFER, now
from webapp.errors import ValidationError
from webapp.extensions import db, transaction
from webapp.models import (
    CAN_BE_SYNCED,
    Organization,
    Schedule,
    SyncLog,
    SyncOrigin,
    User,
    newest_in_step,
)
from webapp.services import audit, locks, time_zones
from webapp.services.audit_events import Event
from webapp.services.timetable import LONGEST_NIGHT, Run, Timetable

log = structlog.get_logger()

CHANGES_EVERY = (15, 30, 60, 120, 240, 480)  # minutes to choose from

# What a new clinic gets if it is to be kept in step by itself.
USUAL_CHANGES = 60
USUAL_FULL = time(2, 0)

# Built once: every open clinics page asks it again and again.
_OF_MANY = select(Schedule).where(
    Schedule.organization_id.in_(bindparam("ids", expanding=True)),
)

# One run that fails is no alarm yet, but for a night's: that would be found late.
_MOST_GRACE = timedelta(hours=6)
_TO_RUN = timedelta(minutes=15)


def of(organization: Organization) -> Schedule | None:
    """The schedule of a clinic; None if nobody has ever chosen one."""
    return db.session.get(Schedule, organization.id)


def of_many(organizations: Sequence[Organization]) -> dict[int, Schedule]:
    """The schedules of those clinics that have one, by clinic."""
    rows = db.session.scalars(_OF_MANY, {"ids": [each.id for each in organizations]})
    return {row.organization_id: row for row in rows}


def zone_of(organization: Organization) -> str | None:
    """The clinic's time zone; None while nobody has told it, or where this machine knows none of
    that name."""
    return organization.time_zone if organization.time_zone in time_zones.choices() else None


def clock_of(organization: Organization) -> tzinfo:
    """The clock of the clinic's time zone; that of UTC while no zone is known."""
    return ZoneInfo(zone_of(organization) or "UTC")


def timetable(organization: Organization, schedule: Schedule) -> Timetable:
    """When the clinic is to be synced."""
    zone = zone_of(organization)
    return Timetable(organization.id, schedule.changes_every, schedule.full_at, zone)


def next_runs(organization: Organization, after: datetime, count: int) -> list[Run]:
    """The next few runs of a clinic's schedule."""
    schedule = of(organization)
    return timetable(organization, schedule).next_runs(after, count) if schedule else []


def save(
    organization: Organization,
    *,
    changes_every: int | None,
    full_at: time | None,
    time_zone: str | None,
    actor: User | None,
) -> None:
    """Choose when a clinic is synced by itself: changes every so many minutes, a full sync at a
    time of its day; None: never. Without a time zone the known one stays, or Cliniko's is taken at
    the next connection. What is left as it was goes on as it did: a run that waits, and how long
    the clinic has not been in step.

    Raises ValidationError for what is none of the choices.
    """
    if changes_every is not None and changes_every not in CHANGES_EVERY:
        raise ValidationError("Choose one of the intervals.", parameter="changes_every")
    if time_zone is not None and time_zone not in time_zones.choices():
        raise ValidationError("Choose one of the time zones.", parameter="time_zone")
    with transaction() as session:
        # The lock makes two who save at once one after the other, before there is a row to lock.
        locks.clinic(organization.id)
        schedule = session.get(Schedule, organization.id, populate_existing=True)
        before = timetable(organization, schedule) if schedule else None
        schedule = schedule or Schedule(organization_id=organization.id)
        session.add(schedule)
        organization.time_zone = time_zone or organization.time_zone
        schedule.changes_every, schedule.full_at = changes_every, full_at
        _plan(organization, schedule, before)
        audit.record(
            Event.SCHEDULE_CHANGED,
            actor=actor,
            organization_id=organization.id,
            changes_every=changes_every,
            full_at=f"{full_at:%H:%M}" if full_at else None,
            time_zone=organization.time_zone,
        )


def usual(organization: Organization) -> Schedule:
    """The schedule of a new clinic that is to be kept in step by itself."""
    schedule = Schedule(
        organization_id=organization.id, changes_every=USUAL_CHANGES, full_at=USUAL_FULL
    )
    _plan(organization, schedule)
    return schedule


def _plan(organization: Organization, schedule: Schedule, before: Timetable | None = None) -> None:
    """Set the next runs of a schedule that was chosen now, where they are not those of before,
    inside the caller's transaction."""
    moment = now()
    times = timetable(organization, schedule)
    other_changes = before is None or before.changes_every != times.changes_every
    other_nights = before is None or (
        (before.full_at, before.time_zone) != (times.full_at, times.time_zone)
    )
    if other_changes:
        schedule.next_changes_at = times.next_changes(moment)
    if other_nights:
        schedule.next_full_at = times.next_full(moment)
    # By nights alone a clinic is measured by them, and a moved one may lie two days off.
    if other_changes or (other_nights and times.changes_every is None):
        schedule.saved_at = moment


def count_from_now(organization: Organization) -> None:
    """Begin anew to count how long a clinic has not been in step, as nothing could run until now;
    inside the caller's transaction."""
    schedule = of(organization)
    if schedule is not None:
        schedule.saved_at = now()


def learn_time_zone(organization: Organization, name: str) -> None:
    """Take the time zone that Cliniko tells where none is known, and plan the nights by it, inside
    the caller's transaction."""
    if organization.time_zone is None:
        schedule = of(organization)
        before = timetable(organization, schedule) if schedule else None
        organization.time_zone = time_zones.named_by_cliniko(name)
        if schedule is not None:
            _plan(organization, schedule, before)


def planned_too_late(moment: datetime) -> list[int]:
    """The clinics whose next run lies further ahead than one ever does: it was planned by a clock
    that ran ahead and was set back since."""
    latest = moment + MAY_DIFFER
    changes = (
        and_(
            Schedule.changes_every == minutes,
            Schedule.next_changes_at > latest + timedelta(minutes=minutes),
        )
        for minutes in CHANGES_EVERY
    )
    query = (
        select(Schedule.organization_id)
        .join(Organization, Organization.id == Schedule.organization_id)
        .where(CAN_BE_SYNCED, or_(Schedule.next_full_at > latest + LONGEST_NIGHT, *changes))
    )
    return list(db.session.scalars(query))


def plan_anew(organization_id: int, moment: datetime) -> None:
    """Bring runs back that lie further ahead than they can, and begin anew to count how long the
    clinic has not been in step: by what was written down meanwhile that cannot be told."""
    with transaction() as session:
        organization = locks.clinic(organization_id)
        schedule = session.get_one(Schedule, organization_id, populate_existing=True)
        times = timetable(organization, schedule)
        schedule.next_changes_at = _sooner(schedule.next_changes_at, times.next_changes(moment))
        schedule.next_full_at = _sooner(schedule.next_full_at, times.next_full(moment))
        schedule.saved_at = moment
    log.warning("clock_was_set_back", organization_id=organization_id)


def _sooner(planned: datetime | None, following: datetime | None) -> datetime | None:
    """What was planned, unless a later look would plan less: so a run that waits stays."""
    return min(planned, following) if planned and following else None


def last_run(organization: Organization) -> SyncLog | None:
    """The newest sync that the schedule has started."""
    return db.session.scalar(
        select(SyncLog)
        .where(SyncLog.organization_id == organization.id, SyncLog.origin == SyncOrigin.SCHEDULE)
        .order_by(SyncLog.id.desc())
        .limit(1)
    )


def overdue(organization: Organization, moment: datetime) -> bool:
    """Whether a clinic has not been in step for longer than its schedule allows."""
    last_synced = last_in_step(organization, moment)
    return is_overdue(organization, of(organization), last_synced, moment)


def is_overdue(
    organization: Organization,
    schedule: Schedule | None,
    last_synced: datetime | None,
    moment: datetime,
) -> bool:
    """Whether a clinic is overdue, where its schedule and the end of its last completed sync are
    known already."""
    if schedule is None or not organization.can_be_synced:
        return False
    gap = timetable(organization, schedule).longest_gap
    if gap is None:
        return False
    since = counted_since(organization, schedule, last_synced, moment)
    return moment > since + gap + min(gap, _MOST_GRACE) + _TO_RUN


def last_in_step(organization: Organization, moment: datetime) -> datetime | None:
    """When a sync has last brought a clinic in step, as of that moment."""
    newest = newest_in_step(SyncLog.completed_at, organization.id)
    return db.session.scalar(newest, {"latest": moment + MAY_DIFFER})


def counted_since(
    organization: Organization,
    schedule: Schedule,
    last_synced: datetime | None,
    moment: datetime,
) -> datetime:
    """Since when it counts that a clinic is not in step: time in which nothing could run does not,
    as before it was enabled or had its key. What was written down while a clock ran ahead tells
    nothing before its time has come."""
    moments = (schedule.saved_at, organization.credentials_saved_at, last_synced)
    latest = moment + MAY_DIFFER
    return max((each for each in moments if each and each <= latest), default=moment)
