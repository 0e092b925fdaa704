"""The outbox: what is to be told, written in the transaction of what it tells of.

So nothing is lost, and nothing is told that was rolled back. Bodies are thin: counts and ids, and
nothing about a patient.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update

from webapp.clock import now
from webapp.extensions import db
from webapp.models import DeliveryState, WebhookDelivery, WebhookEndpoint, WebhookEvent
from webapp.services.webhooks.signing import new_message_id


def put(organization_id: int, event: WebhookEvent, data: Mapping[str, Any]) -> None:
    """Write down one message for each endpoint of the clinic that wants this event, paused ones
    included, inside the caller's transaction."""
    endpoints = select(WebhookEndpoint).where(WebhookEndpoint.organization_id == organization_id)
    # One that is being deleted is waited for: its message would have nowhere to belong to, and what
    # it tells of would not have happened.
    there = endpoints.order_by(WebhookEndpoint.id).with_for_update(read=True, key_share=True)
    for endpoint in db.session.scalars(there):
        if event in endpoint.events:
            put_for(endpoint, event, data)


def put_for(
    endpoint: WebhookEndpoint, event: WebhookEvent, data: Mapping[str, Any]
) -> WebhookDelivery:
    """Write down a message for one endpoint, inside the caller's transaction."""
    told = {"event": event, "organization_id": endpoint.organization_id, "data": data}
    delivery = WebhookDelivery(
        endpoint_id=endpoint.id,
        event=event,
        message_id=new_message_id(),
        body=json.dumps(told, separators=(",", ":")),
    )
    db.session.add(delivery)
    return delivery


def begin_anew(endpoint: WebhookEndpoint) -> None:
    """Forget what has failed until now: what waits for an endpoint is due, and has all of its
    tries, inside the caller's transaction."""
    endpoint.failures_in_a_row, endpoint.rests_until = 0, None
    waiting = update(WebhookDelivery).where(
        WebhookDelivery.endpoint_id == endpoint.id,
        WebhookDelivery.state == DeliveryState.WAITING,
    )
    db.session.execute(waiting.values(tries=0, first_tried_at=None, next_attempt_at=now()))
