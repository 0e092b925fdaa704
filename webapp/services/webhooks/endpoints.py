"""The endpoints of a clinic: whom it tells what happens.

What changes one raises NotFound if somebody has deleted it since it was read.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, select

from webapp.clock import now
from webapp.durations import remaining_words
from webapp.errors import NotFound, SecretUnreadable, ValidationError
from webapp.extensions import db, transaction
from webapp.models import (
    SUBSCRIBABLE,
    Organization,
    PauseReason,
    User,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from webapp.services import audit, locks
from webapp.services.audit_events import Event
from webapp.services.sealing import Purpose, seal, unseal
from webapp.services.webhooks import addresses, outbox, signing

MOST = 10  # of one clinic
BOTH_SECRETS_FOR = timedelta(hours=24)
MOST_OLD = 2  # of one endpoint at a time
IN_A_ROW = timedelta(seconds=10)
_TEST = {
    # The keys that every message was promised to have.
    "patients_synced": 0,
    "duration": "0s",
    "success_rate": 100.0,
    "message": "This is a test. If you can read it and its signature holds, all is well.",
}


def of(organization: Organization) -> list[WebhookEndpoint]:
    """The endpoints of a clinic, in the order in which they were added."""
    return list(db.session.scalars(_of(organization)))


def locked(organization: Organization) -> list[WebhookEndpoint]:
    """The same as they are now, locked to the end of the caller's transaction."""
    ours = _of(organization).with_for_update()
    return list(db.session.scalars(ours.execution_options(populate_existing=True)))


def get(organization: Organization, endpoint_id: int) -> WebhookEndpoint:
    """One endpoint of this clinic. Raises NotFound for one that is none of the clinic's."""
    endpoint = db.session.get(WebhookEndpoint, endpoint_id)
    if endpoint is None or endpoint.organization_id != organization.id:
        raise NotFound()
    return endpoint


def stopped(organization: Organization) -> int:
    """How many endpoints of a clinic were paused by us."""
    return sum(endpoint.is_stopped for endpoint in of(organization))


def add(
    organization: Organization, address: str, events: Iterable[str], *, actor: User | None
) -> tuple[WebhookEndpoint, str]:
    """Add an endpoint, and the secret with which its messages are signed: it is told this once.

    Asked twice in a row, as after an answer that was lost, the first one gets another secret in
    place of the one that nobody has. Raises ValidationError for an address or events that cannot
    be, and for one too many.
    """
    address, events = addresses.checked(address), _checked(events)
    secret = signing.new_secret()
    with transaction() as session:
        locks.clinic(organization.id)
        ours = locked(organization)
        for each in ours:
            is_new = each.created_at > now() - IN_A_ROW
            if is_new and (each.address, each.events) == (address, events):
                each.sealed_secret = seal(Purpose.WEBHOOK_SECRET, organization.id, secret)
                _record(Event.WEBHOOK_SECRET_ROTATED, each, actor)
                return each, secret
        if len(ours) >= MOST:
            raise ValidationError(
                f"A clinic has {MOST} webhooks at most. Delete one first.", parameter="address"
            )
        endpoint = WebhookEndpoint(
            organization_id=organization.id,
            address=address,
            sealed_secret=seal(Purpose.WEBHOOK_SECRET, organization.id, secret),
            events=events,
        )
        session.add(endpoint)
        session.flush()
        _record(Event.WEBHOOK_ADDED, endpoint, actor)
    return endpoint, secret


def change(
    endpoint: WebhookEndpoint,
    *,
    address: str | None = None,
    events: Iterable[str] | None = None,
    paused: bool | None = None,
    actor: User | None,
) -> None:
    """Give an endpoint another address or other events, pause or resume it; None changes nothing.
    Messages that wait go to the new address, and their tries begin anew; if the same change pauses
    the endpoint, they wait on. Raises ValidationError as `add` does."""
    new_address = None if address is None else addresses.checked(address)
    new_events = None if events is None else _checked(events)
    with transaction():
        locks.row(endpoint)
        changed = []
        if new_address is not None and new_address != endpoint.address:
            endpoint.address = new_address
            # What the old address answers yet is not the new one's: it would even stop it.
            endpoint.turn, endpoint.busy_until = endpoint.turn + 1, None
            outbox.begin_anew(endpoint)
            changed.append("address")
        if new_events is not None and new_events != endpoint.events:
            endpoint.events = new_events
            changed.append("events")
        if changed:
            _record(Event.WEBHOOK_CHANGED, endpoint, actor, changed)
        if paused is not None and paused != (endpoint.paused_at is not None):
            _set_paused(endpoint, actor, paused=paused)


def pause(endpoint: WebhookEndpoint, *, actor: User | None) -> None:
    """Send nothing until somebody resumes it; what happens meanwhile waits."""
    change(endpoint, paused=True, actor=actor)


def resume(endpoint: WebhookEndpoint, *, actor: User | None) -> None:
    """Send again, beginning with what waits, which has all of its tries anew."""
    change(endpoint, paused=False, actor=actor)


def remove(endpoint: WebhookEndpoint, *, actor: User | None) -> None:
    """Delete an endpoint with all of its messages, those that wait included."""
    with transaction() as session:
        locks.row(endpoint)
        theirs = WebhookDelivery.endpoint_id == endpoint.id
        session.execute(delete(WebhookDelivery).where(theirs))
        _record(Event.WEBHOOK_DELETED, endpoint, actor)
        session.delete(endpoint)


def rotate(endpoint: WebhookEndpoint, *, actor: User | None) -> str:
    """Another secret, told this once; for a day messages are signed with the one before, too, and
    with one that was promised earlier until its own time.

    Asked twice in a row, as by a second click, the one before the first stays: the receiver has it.
    One that no key of ours opens any more is dropped, for nothing can be signed with it. Raises
    ValidationError for a third within a day.
    """
    secret = signing.new_secret()
    with transaction():
        locks.row(endpoint)
        held, until = endpoint.old_secrets, endpoint.old_secret_until
        if until is None or until - BOTH_SECRETS_FOR < now() - IN_A_ROW:
            held.insert(0, (endpoint.sealed_secret, now() + BOTH_SECRETS_FOR))
        _keep(endpoint, [each for each in held if _opens(endpoint, each[0])])
        endpoint.sealed_secret = seal(Purpose.WEBHOOK_SECRET, endpoint.organization_id, secret)
        _record(Event.WEBHOOK_SECRET_ROTATED, endpoint, actor)
    return secret


def send_test(endpoint: WebhookEndpoint, *, actor: User | None) -> WebhookDelivery:
    """Put a test message in the outbox; it is sent like any other, but tried once only.

    Raises ValidationError while the endpoint is paused or its clinic disabled.
    """
    with transaction() as session:
        locks.row(endpoint)
        if session.get_one(Organization, endpoint.organization_id).disabled_at is not None:
            raise ValidationError(
                "Enable the clinic first: nothing is sent for it meanwhile.", parameter="webhook"
            )
        if endpoint.paused_at is not None:
            raise ValidationError("Resume the webhook first: it is paused.", parameter="webhook")
        endpoint.rests_until = None
        delivery = outbox.put_for(endpoint, WebhookEvent.TEST, _TEST)
        _record(Event.WEBHOOK_TESTED, endpoint, actor)
        return delivery


def secrets_of(endpoint: WebhookEndpoint) -> list[str]:
    """What messages are signed with now, the newest first. Raises SecretUnreadable."""
    sealed = [endpoint.sealed_secret, *(each for each, _ in endpoint.old_secrets)]
    return [unseal(Purpose.WEBHOOK_SECRET, endpoint.organization_id, each) for each in sealed]


def _of(organization: Organization) -> Select[WebhookEndpoint]:
    ours = WebhookEndpoint.organization_id == organization.id
    return select(WebhookEndpoint).where(ours).order_by(WebhookEndpoint.id)


def _checked(events: Iterable[str]) -> list[str]:
    wanted = set(events)
    if not wanted or wanted - set(SUBSCRIBABLE):
        choices = ", ".join(SUBSCRIBABLE)
        raise ValidationError(f"Choose one or more of: {choices}.", parameter="events")
    return [str(event) for event in SUBSCRIBABLE if event in wanted]


def _keep(endpoint: WebhookEndpoint, old: list[tuple[str, datetime]]) -> None:
    """Store what holds beside the new secret, the newest first."""
    if len(old) > MOST_OLD:
        wait = remaining_words((old[-1][1] - now()).total_seconds())
        raise ValidationError(
            "Messages are signed with the two secrets before this one, too, as was promised. "
            f"Make another in {wait}.",
            parameter="webhook",
        )
    previous, earlier, *_ = [*old, (None, None), (None, None)]
    endpoint.sealed_previous_secret, endpoint.previous_secret_until = previous
    endpoint.sealed_earlier_secret, endpoint.earlier_secret_until = earlier


def _opens(endpoint: WebhookEndpoint, sealed: str) -> bool:
    """Whether a key of ours opens this secret of it."""
    try:
        unseal(Purpose.WEBHOOK_SECRET, endpoint.organization_id, sealed)
    except SecretUnreadable:
        return False
    return True


def _set_paused(endpoint: WebhookEndpoint, actor: User | None, *, paused: bool) -> None:
    if paused:
        endpoint.paused_at, endpoint.paused_because = now(), PauseReason.PERSON
        _record(Event.WEBHOOK_PAUSED, endpoint, actor)
    else:
        endpoint.paused_at = endpoint.paused_because = None
        outbox.begin_anew(endpoint)
        _record(Event.WEBHOOK_RESUMED, endpoint, actor)


def _record(
    event: Event, endpoint: WebhookEndpoint, actor: User | None, fields: list[str] | None = None
) -> None:
    audit.record(
        event,
        actor=actor,
        organization_id=endpoint.organization_id,
        subject=f"webhook {endpoint.id}",
        fields=fields,
    )
