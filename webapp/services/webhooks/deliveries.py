"""The messages of a clinic's webhooks, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, literal, not_, or_, select, union_all
from sqlalchemy.orm import contains_eager

from webapp.clock import now
from webapp.errors import NotFound
from webapp.extensions import db, transaction
from webapp.models import (
    IS_OPEN,
    DeliveryState,
    Organization,
    User,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from webapp.services import audit, locks
from webapp.services.audit_events import Event

HELD = "held"  # in the figures: waits, and may not be sent now


@dataclass(frozen=True)
class DeliveryPage:
    """Some messages, newest first, and how many match in all."""

    deliveries: list[WebhookDelivery]
    total: int


def find(
    endpoint: WebhookEndpoint,
    *,
    limit: int,
    offset: int = 0,
    state: DeliveryState | None = None,
    event: WebhookEvent | None = None,
) -> DeliveryPage:
    """The messages of an endpoint that match, newest first."""
    conditions = [WebhookDelivery.endpoint_id == endpoint.id]
    if state is not None:
        conditions.append(WebhookDelivery.state == state)
    if event is not None:
        conditions.append(WebhookDelivery.event == event)
    matching = select(func.count()).select_from(WebhookDelivery).where(*conditions)
    query = select(WebhookDelivery).where(*conditions).order_by(WebhookDelivery.id.desc())
    found = list(db.session.scalars(query.limit(limit).offset(offset)))
    return DeliveryPage(found, db.session.scalar(matching) or 0)


def get(organization: Organization, delivery_id: int) -> WebhookDelivery:
    """One message of this clinic. Raises NotFound for one that is none of the clinic's."""
    query = select(WebhookDelivery).join(WebhookDelivery.endpoint)
    ours = WebhookEndpoint.organization_id == organization.id
    delivery = db.session.scalar(
        query.options(contains_eager(WebhookDelivery.endpoint)).where(
            WebhookDelivery.id == delivery_id, ours
        )
    )
    if delivery is None:
        raise NotFound()
    return delivery


def last_of_each(endpoints: Iterable[WebhookEndpoint]) -> dict[int, WebhookDelivery]:
    """The newest message of each endpoint that has one, by the endpoint's id."""
    ids = [endpoint.id for endpoint in endpoints]
    newest = (
        select(func.max(WebhookDelivery.id))
        .where(WebhookDelivery.endpoint_id.in_(ids))
        .group_by(WebhookDelivery.endpoint_id)
    )
    found = db.session.scalars(select(WebhookDelivery).where(WebhookDelivery.id.in_(newest)))
    return {delivery.endpoint_id: delivery for delivery in found}


def next_try(delivery: WebhookDelivery, organization: Organization) -> datetime | None:
    """When a message of this clinic is sent, at the earliest. None where it does not wait, or where
    nobody may send it now: its endpoint is paused, or its clinic disabled."""
    endpoint, due = delivery.endpoint, delivery.next_attempt_at
    waits = delivery.state == DeliveryState.WAITING
    if not waits or endpoint.is_held(organization):
        return None
    return max(due, endpoint.rests_until or due)


def resend(delivery: WebhookDelivery, *, actor: User | None) -> None:
    """Send a message again, under the same id and with all of its tries anew; to a paused endpoint
    when it is resumed. Raises NotFound if it was deleted since it was read."""
    endpoint = delivery.endpoint
    with transaction():
        locks.row(endpoint)
        locks.row(delivery)
        endpoint.rests_until = None
        delivery.state = DeliveryState.WAITING
        delivery.tries, delivery.first_tried_at, delivery.next_attempt_at = 0, None, now()
        audit.record(
            Event.WEBHOOK_RESENT,
            actor=actor,
            organization_id=endpoint.organization_id,
            subject=f"webhook {endpoint.id}",
            message_id=delivery.message_id,
        )


def count_by_state() -> dict[str, int]:
    """How many messages of all clinics stand how. Of those that wait, the ones that nobody may send
    now are `held`: their webhook is paused, or their clinic disabled."""
    is_held = or_(WebhookEndpoint.paused_at.is_not(None), not_(IS_OPEN))
    counted = union_all(  # at one moment
        _count_waiting(str(DeliveryState.WAITING), not_(is_held)),
        _count_waiting(HELD, is_held),
        select(WebhookDelivery.state, func.count())
        .where(WebhookDelivery.state.in_((DeliveryState.DELIVERED, DeliveryState.FAILED)))
        .group_by(WebhookDelivery.state),
    )
    counts = dict.fromkeys((*map(str, DeliveryState), HELD), 0)
    counts.update((state, count) for state, count in db.session.execute(counted))
    return counts


def _count_waiting(name: str, condition: ColumnElement[bool]) -> Select[str, int]:
    return (
        select(literal(name), func.count(WebhookDelivery.id))
        .join(WebhookDelivery.endpoint)
        .join(Organization, Organization.id == WebhookEndpoint.organization_id)
        .where(WebhookDelivery.state == DeliveryState.WAITING, condition)
    )
