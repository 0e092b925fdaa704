"""The figures of each clinic that the clinics page shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, bindparam, select, true
from sqlalchemy.orm import aliased, load_only

from webapp.clock import MAY_DIFFER, now
from webapp.errors import ErrorCode
from webapp.extensions import db
from webapp.models import (
    HeldRemoval,
    Organization,
    Patient,
    SyncLog,
    SyncStatus,
    newest_in_step,
)
from webapp.models.held_removal import still_gone
from webapp.models.sync_log import READS_ALL
from webapp.services import counts, schedules

# Built once: every open clinics page asks them again and again.
_THESE = Organization.id.in_(bindparam("ids", expanding=True))
# As many as the picture in its row has room for; found by the index, however many there were.
SHOWN_SYNCS = 14


def _shown(log: type[SyncLog]) -> Select[SyncLog]:
    times = log.started_at, log.completed_at
    columns = load_only(log.organization_id, log.status, *times, log.records_failed, log.error_code)
    return select(log).where(_THESE).order_by(log.id.desc()).options(columns)


# By a range of one clinic, as `newest_in_step`.
_ONE_OF_THEM = aliased(SyncLog)
_LAST_OF_EACH = (
    select(_ONE_OF_THEM)
    .where(_ONE_OF_THEM.organization_id.between(Organization.id, Organization.id))
    .order_by(_ONE_OF_THEM.organization_id.desc(), _ONE_OF_THEM.id.desc())
    .limit(SHOWN_SYNCS)
    .correlate(Organization)
)
_BESIDE = aliased(SyncLog, _LAST_OF_EACH.lateral())  # which SQLite does not know
_IDS = _LAST_OF_EACH.with_only_columns(_ONE_OF_THEM.id)
_SHOWN = {
    "sqlite": _shown(SyncLog).join_from(Organization, SyncLog, SyncLog.id.in_(_IDS)),
    "postgresql": _shown(_BESIDE).join_from(Organization, _BESIDE, true()),
}
_WHOLE = select(SyncLog).where(SyncLog.id.in_(bindparam("ids", expanding=True)))
_WAITING = select(Organization.id).where(
    _THESE,
    select(HeldRemoval.id)
    .join(Patient, still_gone())
    .where(HeldRemoval.organization_id == Organization.id, HeldRemoval.kept_at.is_(None))
    .exists(),
)


def _ended_by_itself(log: type[SyncLog]) -> ColumnElement[bool]:
    by_somebody = str(ErrorCode.SYNC_CANCELLED)
    return and_(log.status != SyncStatus.RUNNING, log.error_code.is_distinct_from(by_somebody))


_FULL = aliased(SyncLog)
_LAST_FULL = (
    select(_FULL.id)
    .where(
        _FULL.organization_id.between(Organization.id, Organization.id),
        READS_ALL,
        _ended_by_itself(_FULL),
    )
    .order_by(_FULL.organization_id.desc(), _FULL.id.desc())
    .limit(1)
    .scalar_subquery()
)
_LAST_END = newest_in_step(SyncLog.completed_at, Organization.id).scalar_subquery()
_LASTS = select(Organization.id, _LAST_FULL.label("full"), _LAST_END.label("completed_at")).where(
    _THESE
)


@dataclass(frozen=True)
class ClinicFigures:
    """A row of the clinics page."""

    organization: Organization
    patients: int
    latest: SyncLog | None
    last_full: SyncLog | None  # that has ended, and not by somebody's will
    last_synced: datetime | None
    recent: list[SyncLog]  # newest first
    overdue: bool
    removals_wait: bool  # for a decision


def figures(organizations: list[Organization]) -> list[ClinicFigures]:
    """Counts, latest, recent, last full and last completed syncs of each clinic, in a few queries
    for all."""
    ids = [organization.id for organization in organizations]
    recent: dict[int, list[SyncLog]] = {each: [] for each in ids}
    for log in db.session.scalars(_SHOWN[db.engine.dialect.name], {"ids": ids}):
        recent[log.organization_id].append(log)
    moment = now()
    lasts = db.session.execute(_LASTS, {"ids": ids, "latest": moment + MAY_DIFFER}).all()
    last_full = {row.id: row.full for row in lasts if row.full is not None}
    last_synced = {row.id: row.completed_at for row in lasts}
    newest = {each: logs[0].id for each, logs in recent.items() if logs}
    asked = {"ids": [*newest.values(), *last_full.values()]}
    whole = {log.id: log for log in db.session.scalars(_WHOLE, asked)}
    latest = {each: whole[log_id] for each, log_id in newest.items() if log_id in whole}
    waiting = set(db.session.scalars(_WAITING, {"ids": ids}))
    patients = counts.by_state_of(organizations, latest)
    chosen = schedules.of_many(organizations)
    return [
        ClinicFigures(
            organization,
            sum(patients[organization.id].values()),
            latest.get(organization.id),
            whole.get(last_full.get(organization.id, 0)),
            last_synced.get(organization.id),
            recent[organization.id],
            schedules.is_overdue(
                organization, chosen.get(organization.id), last_synced.get(organization.id), moment
            ),
            organization.id in waiting,
        )
        for organization in organizations
    ]


def last_full(organization: Organization) -> SyncLog | None:
    """The last sync of all patients that has ended, and not by somebody's will, of one clinic."""
    newest = (
        select(SyncLog)
        .where(SyncLog.organization_id == organization.id, READS_ALL, _ended_by_itself(SyncLog))
        .order_by(SyncLog.id.desc())
        .limit(1)
    )
    return db.session.scalar(newest)
