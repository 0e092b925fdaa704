"""The clinics: add one, give it a key, and the figures that the clinics page shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import aliased, load_only

from webapp.cliniko.errors import ClinikoError, InvalidKey
from webapp.cliniko.shard import shard_of
from webapp.clock import now
from webapp.errors import AccountMismatch, ErrorCode, OrganizationNotFound, ValidationError
from webapp.extensions import db, transaction
from webapp.models import (
    HeldRemoval,
    OperationType,
    Organization,
    SyncLog,
    SyncStatus,
    User,
    newest_in_step,
)
from webapp.services import audit, connection, counts, credentials, names, schedules
from webapp.services.audit import Event, Result

MAX_NAME = 200

# Built once: every open clinics page asks them again and again.
_THERE = Organization.deleted_at.is_(None)
_ALL = select(Organization).where(_THERE).order_by(func.lower(Organization.name), Organization.id)
_ONE = select(Organization).where(Organization.id == bindparam("id"), _THERE)
_THEIRS = SyncLog.organization_id.in_(bindparam("ids", expanding=True))
_NEWEST = select(SyncLog).where(
    SyncLog.id.in_(select(func.max(SyncLog.id)).where(_THEIRS).group_by(SyncLog.organization_id))
)
# As many as the picture in its row has room for; found by the index, however many there were.
SHOWN_SYNCS = 14
_ANY = aliased(SyncLog)
_FIRST_SHOWN = (
    select(_ANY.id)
    .where(_ANY.organization_id == Organization.id)
    .order_by(_ANY.id.desc())
    .limit(1)
    .offset(SHOWN_SYNCS - 1)
    .scalar_subquery()
)
_SHOWN = (
    select(SyncLog)
    .join(Organization, SyncLog.organization_id == Organization.id)
    .where(
        Organization.id.in_(bindparam("ids", expanding=True)),
        SyncLog.id >= func.coalesce(_FIRST_SHOWN, 0),
    )
    .order_by(SyncLog.id.desc())
    .options(
        load_only(
            *(SyncLog.organization_id, SyncLog.status, SyncLog.started_at, SyncLog.completed_at),
            *(SyncLog.records_failed, SyncLog.error_code),
        )
    )
)
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
        _FULL.organization_id == Organization.id,
        _FULL.operation_type == OperationType.FULL_PATIENTS,
        _FULL.status != SyncStatus.RUNNING,
        _FULL.error_code.is_distinct_from(str(ErrorCode.SYNC_CANCELLED)),
    )
    .order_by(_FULL.id.desc())
    .limit(1)
    .scalar_subquery()
)
_LAST_FULLS = select(SyncLog).where(
    SyncLog.organization_id.in_(bindparam("ids", expanding=True)),
    SyncLog.id.in_(select(_LAST_FULL).where(Organization.id.in_(bindparam("ids", expanding=True)))),
)
_LAST_END = newest_in_step(SyncLog.completed_at, Organization.id).scalar_subquery()
_ENDS = select(Organization.id, _LAST_END).where(
    Organization.id.in_(bindparam("ids", expanding=True))
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
    name = names.checked(name, of="clinic", most=MAX_NAME)
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
    """Give a clinic another name. Raises ValidationError for an empty or overlong one."""
    name = names.checked(name, of="clinic", most=MAX_NAME)
    with transaction():
        organization.name = name
        _record(Event.CLINIC_RENAMED, organization, actor)


def replace_key(organization: Organization, api_key: str, *, actor: User | None = None) -> None:
    """Store a new key after asking Cliniko whose it is.

    If Cliniko cannot be asked the key is stored all the same: each sync asks again before it
    stores a patient. Raises ValidationError for a key of impossible form, AccountMismatch for one
    of another account, AuthFailed or Forbidden if Cliniko refuses it, which is recorded, and
    OrganizationNotFound if the clinic was deleted meanwhile.
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
    except (AccountMismatch, ClinikoError) as error:
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
    latest = {log.organization_id: log for log in db.session.scalars(_NEWEST, {"ids": ids})}
    last_full = {log.organization_id: log for log in db.session.scalars(_LAST_FULLS, {"ids": ids})}
    last_synced = {row[0]: row[1] for row in db.session.execute(_ENDS, {"ids": ids})}
    recent: dict[int, list[SyncLog]] = {each: [] for each in ids}
    for log in db.session.scalars(_SHOWN, {"ids": ids}):
        recent[log.organization_id].append(log)
    waiting = set(db.session.scalars(_WAITING, {"ids": ids}))
    patients = counts.by_state_of(organizations, latest)
    chosen, moment = schedules.of_many(organizations), now()
    return [
        ClinicFigures(
            organization,
            sum(patients[organization.id].values()),
            latest.get(organization.id),
            last_full.get(organization.id),
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
    organization.api_key_hint = api_key.rpartition("-")[0][-4:] or api_key[-4:]
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
