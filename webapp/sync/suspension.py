"""Disabling, enabling and deleting a clinic; a sync that runs ends at once.

Its worker is not asked: the sync is closed, so that the worker's next write finds nothing to write
to. Whatever page it was storing is stored before, for both lock the clinic's row first.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select

from webapp.clock import now
from webapp.errors import ErrorCode, OrganizationNotFound, ValidationError
from webapp.extensions import db, transaction
from webapp.models import Organization, User
from webapp.services import audit, locks, people, schedules
from webapp.services.audit_events import Event
from webapp.services.webhooks import endpoints, outbox
from webapp.sync import ending
from webapp.sync.ending import WHAT_IS_KEPT, Closing
from webapp.sync.start import running_sync

_DISABLED = Closing(
    ErrorCode.SYNC_CANCELLED,
    f"The clinic was disabled while this sync ran. {WHAT_IS_KEPT}",
)
_DELETED = Closing(ErrorCode.ORGANIZATION_NOT_FOUND, "The clinic was deleted while this sync ran.")


def disable(organization: Organization, *, actor: User) -> None:
    """Hide a clinic from everybody but admins; no sync of it starts until it is enabled.

    Raises OrganizationNotFound if it was deleted meanwhile.
    """
    with _changing(organization) as clinic:
        if clinic.disabled_at is None:
            clinic.disabled_at = now()
            _end_sync(clinic, _DISABLED, actor)
            _record(Event.CLINIC_DISABLED, clinic, actor)


def enable(organization: Organization, *, actor: User) -> None:
    """Let a clinic be seen and synced again; its webhooks begin with what waits.

    Raises OrganizationNotFound as `disable` does.
    """
    with _changing(organization) as clinic:
        if clinic.disabled_at is not None:
            schedules.count_from_now(clinic)
            for endpoint in endpoints.locked(clinic):
                outbox.begin_anew(endpoint)
            clinic.disabled_at = None
            _record(Event.CLINIC_ENABLED, clinic, actor)


def delete(organization: Organization, typed_name: str, *, actor: User) -> None:
    """Delete a clinic for good: nobody sees it any more, its key is gone and its people are let in
    no more. Its patients go with the next clean-up, which is a matter of seconds while a worker
    runs; what its syncs were is kept. Its Cliniko account can be added again, as another clinic.

    Raises ValidationError unless its name was typed, OrganizationNotFound as `disable` does.
    """
    if not hmac.compare_digest(typed_name.strip().encode(), organization.name.encode()):
        raise ValidationError(
            "This is not the name of the clinic. Nothing was deleted.", parameter="confirmation"
        )
    with _changing(organization) as clinic:
        clinic.deleted_at = now()
        clinic.encrypted_api_key = clinic.api_key_hint = clinic.credentials_saved_at = None
        clinic.cliniko_patients = clinic.forgetting_key = None
        # Its people before its sync, whose end is recorded: whoever signs in locks in this order.
        theirs = select(User).where(User.organization_id == clinic.id, User.active)
        some = db.session.scalars(theirs.order_by(User.id).with_for_update()).all()
        for user in some:
            user.active = False
            people.end_everything_of(user)
        _end_sync(clinic, _DELETED, actor)
        for user in some:
            people.record(Event.PERSON_DEACTIVATED, user, actor=actor)
        _record(Event.CLINIC_DELETED, clinic, actor)


@contextmanager
def _changing(organization: Organization) -> Iterator[Organization]:
    """A transaction that begins with the clinic locked, so that no sync of it starts meanwhile."""
    organization_id = organization.id
    with transaction():
        clinic = locks.clinic(organization_id)
        if clinic.deleted_at is not None:
            raise OrganizationNotFound(organization_id=organization_id)
        yield clinic


def _record(event: Event, organization: Organization, actor: User) -> None:
    """The last step of the transaction."""
    subject = f"clinic {organization.id}"
    audit.record(event, actor=actor, organization_id=organization.id, subject=subject)


def _end_sync(organization: Organization, closing: Closing, actor: User) -> None:
    sync_log = running_sync(organization.id, lock=True)
    if sync_log is not None:
        sync_log.lease_expires_at = None
        ending.fail(sync_log, closing, actor=actor)
