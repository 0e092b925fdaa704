"""The clinics: add one, give it a key, and the figures that the clinics page shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, func, select, true
from sqlalchemy.orm import aliased, load_only

from webapp.cliniko.errors import AuthFailed, Forbidden, InvalidKey
from webapp.cliniko.shard import shard_of, without_shard
from webapp.clock import now
from webapp.errors import AccountMismatch, ErrorCode, OrganizationNotFound, ValidationError
from webapp.extensions import db, transaction
from webapp.models import (
    HeldRemoval,
    Organization,
    SyncLog,
    SyncStatus,
    User,
    newest_in_step,
)
from webapp.models.sync_log import READS_ALL
from webapp.services import audit, connection, counts, credentials, names, schedules
from webapp.services.audit import Event, Result

MAX_NAME = 200

# Built once: every open clinics page asks them again and again.
_THERE = Organization.deleted_at.is_(None)
_ALL = select(Organization).where(_THERE).order_by(func.lower(Organization.name), Organization.id)
_ONE = select(Organization).where(Organization.id == bindparam("id"), _THERE)
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
_WAITING = (
    select(HeldRemoval.organization_id)
    .where(
        HeldRemoval.organization_id.in_(bindparam("ids", expanding=True)),
        HeldRemoval.kept_at.is_(None),
    )
    .distinct()
)
_FULL = aliased(SyncLog)
_LAST_FULL = (
    select(_FULL.id)
    .where(
        _FULL.organization_id.between(Organization.id, Organization.id),
        READS_ALL,
        _FULL.status != SyncStatus.RUNNING,
        _FULL.error_code.is_distinct_from(str(ErrorCode.SYNC_CANCELLED)),
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


def visible_to(user: User) -> list[Organization]:
    """The clinics that a person may see, by name."""
    if user.organization_id is None:
        return list(db.session.scalars(_ALL))
    return list(db.session.scalars(_ONE, {"id": user.organization_id}))


def names_for(user: User) -> dict[int, str]:
    """What a person may call the clinics that they may see, by id: none is called as another."""
    return names.told_apart({each.id: each.name for each in visible_to(user)})


def get(organization_id: int) -> Organization | None:
    """The clinic with this id; None if there is none, or it was deleted."""
    return db.session.scalar(_ONE, {"id": organization_id})


def add(
    name: str,
    api_key: str | None = None,
    *,
    scheduled: bool = False,
    actor: User | None = None,
) -> Organization:
    """Add a clinic, with its key if there is one already, and `scheduled` with the usual schedule.

    Raises ValidationError for a name or key that cannot be used.
    """
    name = names.checked(name, of="clinic", most=MAX_NAME, in_mails=True)
    key = _checked_key(api_key) if api_key else None
    with transaction() as session:
        organization = Organization(name=name)
        session.add(organization)
        session.flush()
        if key is not None:
            _store_key(organization, key)
        if scheduled:
            session.add(schedules.usual(organization))
        _record(Event.CLINIC_ADDED, organization, actor, with_key=key is not None)
    return organization


def rename(organization: Organization, name: str, *, actor: User | None = None) -> None:
    """Give a clinic another name. Raises ValidationError for one that cannot be used."""
    name = names.checked(name, of="clinic", most=MAX_NAME, in_mails=True)
    with transaction():
        organization.name = name
        _record(Event.CLINIC_RENAMED, organization, actor)


def replace_key(organization: Organization, api_key: str, *, actor: User | None = None) -> None:
    """Store a new key after asking Cliniko whose it is.

    If Cliniko cannot be asked the key is stored all the same: each sync asks again before it
    stores a patient. Raises ValidationError for a key of impossible form, AccountMismatch for one
    of another account, AuthFailed or Forbidden if Cliniko refuses it; these three are recorded.
    BadResponse if its answer makes no sense, OrganizationNotFound if the clinic was deleted
    meanwhile.
    """
    key = _checked_key(api_key)
    organization_id = organization.id
    try:
        account = connection.account_of(key)
        if account is not None:
            connection.check_account(organization, account)
        with transaction() as session:
            session.refresh(organization, with_for_update={"key_share": True})
            if organization.deleted_at is not None:
                raise OrganizationNotFound(organization_id=organization_id)
            _store_key(organization, key)
            if account is not None:
                connection.note_account(organization, account)
            _record(Event.KEY_SET, organization, actor)
    except (AccountMismatch, AuthFailed, Forbidden) as error:
        # Somebody may be trying keys that they have found, or of another clinic.
        audit.note_anyway(
            Event.KEY_REFUSED,
            actor=actor,
            organization_id=organization_id,
            subject=f"clinic {organization_id}",
            result=Result.REFUSED,
            error_code=str(error.error_code),
        )
        raise


def figures(organizations: list[Organization]) -> list[ClinicFigures]:
    """Counts, latest, recent, last full and last completed syncs of each clinic, in a few queries
    for all."""
    ids = [organization.id for organization in organizations]
    recent: dict[int, list[SyncLog]] = {each: [] for each in ids}
    for log in db.session.scalars(_SHOWN[db.engine.dialect.name], {"ids": ids}):
        recent[log.organization_id].append(log)
    lasts = db.session.execute(_LASTS, {"ids": ids}).all()
    last_full = {row.id: row.full for row in lasts if row.full is not None}
    last_synced = {row.id: row.completed_at for row in lasts}
    newest = {each: logs[0].id for each, logs in recent.items() if logs}
    asked = {"ids": [*newest.values(), *last_full.values()]}
    whole = {log.id: log for log in db.session.scalars(_WHOLE, asked)}
    latest = {each: whole[log_id] for each, log_id in newest.items() if log_id in whole}
    waiting = set(db.session.scalars(_WAITING, {"ids": ids}))
    patients = counts.by_state_of(organizations, latest)
    chosen, moment = schedules.of_many(organizations), now()
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


def _record(event: Event, organization: Organization, actor: User | None, **details: Any) -> None:
    subject = f"clinic {organization.id}"
    audit.record(event, actor=actor, organization_id=organization.id, subject=subject, **details)


def _store_key(organization: Organization, api_key: str) -> None:
    organization.encrypted_api_key = credentials.encrypt(organization.id, api_key)
    organization.shard = shard_of(api_key)
    organization.api_key_hint = without_shard(api_key)[-4:]
    organization.credentials_saved_at = now()
    organization.connection_checked_at = None
    organization.connection_error_code = None


def _checked_key(api_key: str) -> str:
    api_key = api_key.strip()
    try:
        shard_of(api_key)
    except InvalidKey as error:
        raise ValidationError(str(error), parameter="api_key") from error
    return api_key
