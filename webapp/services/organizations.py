"""The clinics: those that somebody may see, add one, give it a name and a key."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, select

from webapp.cliniko.errors import AuthFailed, Forbidden, InvalidKey
from webapp.cliniko.shard import shard_of, without_shard
from webapp.clock import now
from webapp.errors import AccountMismatch, OrganizationNotFound, ValidationError
from webapp.extensions import db, transaction
from webapp.models import NOT_DELETED, Organization, User
from webapp.services import audit, connection, credentials, names, schedules
from webapp.services.audit import Result
from webapp.services.audit_events import Event

MAX_NAME = 200

# Built once: every open clinics page asks them again and again.
_ALL = (
    select(Organization).where(NOT_DELETED).order_by(func.lower(Organization.name), Organization.id)
)
_ONE = select(Organization).where(Organization.id == bindparam("id"), NOT_DELETED)


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
