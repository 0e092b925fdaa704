"""The messages to a webhook: reading them, sending a test, sending one again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from webapp import models
from webapp.api import webhook_messages
from webapp.api.blueprints import guarded
from webapp.api.shapes import (
    Answer,
    Count,
    Id,
    Moment,
    Offset,
    Pagination,
    Query,
    UpTo100,
    pagination,
)
from webapp.api.webhooks import described, found
from webapp.auth.bearer import current_actor
from webapp.auth.guards import id_of
from webapp.errors import ErrorCode
from webapp.models import DeliveryState, Organization, WebhookEvent
from webapp.services.webhooks import deliveries, endpoints
from webapp.services.webhooks.line import Problem


class DeliveryQuery(Query):
    """Which messages are asked for."""

    limit: UpTo100 = 25
    offset: Offset = 0
    state: Annotated[DeliveryState | None, Field(description="Only those in this state.")] = None
    event: Annotated[WebhookEvent | None, Field(description="Only those of this event.")] = None


class Attempt(Answer):
    """One try to send a message."""

    at: Moment
    status: Annotated[int | None, Field(description="Of the answer; null if there was none.")]
    problem: Annotated[Problem | None, Field(description="Why there was none.")]
    ms: Annotated[Count, Field(description="How many milliseconds it took.")]


class Delivery(Answer):
    """One message to a webhook."""

    id: Id
    webhook_id: Id
    event: WebhookEvent
    message_id: Annotated[str, Field(description="The header `webhook-id`, the same every time.")]
    state: Annotated[
        DeliveryState, Field(description="`failed` ones were given up, and can be sent again.")
    ]
    created_at: Moment
    next_attempt_at: Annotated[
        Moment | None,
        Field(
            description="The earliest moment. Null when it does not wait, and while the webhook is "
            "paused or its clinic disabled."
        ),
    ]
    attempts: Annotated[list[Attempt], Field(description="The oldest first; at most 50.")]
    body: Annotated[str, Field(description="Exactly what is sent.")]


class DeliveryPage(Answer):
    """Some messages, newest first."""

    deliveries: list[Delivery]
    pagination: Pagination


EXAMPLE = Delivery(
    id=9,
    webhook_id=7,
    event=WebhookEvent.SYNC_COMPLETED,
    message_id="msg_5f2b9f0c6a4d4e5b8c7d6e5f4a3b2c1d",
    state=DeliveryState.DELIVERED,
    created_at=datetime(2024, 1, 15, 10, 34, 22, tzinfo=UTC),
    next_attempt_at=None,
    attempts=[
        Attempt(at=datetime(2024, 1, 15, 10, 34, 23, tzinfo=UTC), status=204, problem=None, ms=87)
    ],
    body=webhook_messages.EXAMPLES[0].model_dump_json(),
)
SENT_AGAIN = EXAMPLE.model_copy(
    update={
        "state": DeliveryState.WAITING,
        "next_attempt_at": datetime(2024, 1, 15, 10, 40, tzinfo=UTC),
    }
)
TEST = EXAMPLE.model_copy(
    update={
        "event": WebhookEvent.TEST,
        "state": DeliveryState.WAITING,
        "next_attempt_at": EXAMPLE.created_at,
        "attempts": [],
        "body": webhook_messages.EXAMPLES[-1].model_dump_json(),
    }
)


@guarded.get("/cliniko/webhooks/<org_id>/<webhook_id>/deliveries")
@described(
    summary="List the messages to a webhook",
    description="Newest first, each with every try; they are kept for 30 days.",
    query=DeliveryQuery,
    example=DeliveryPage(deliveries=[EXAMPLE], pagination=pagination(1, 25, 0, 1)),
    errors=(ErrorCode.NOT_FOUND,),
)
def webhook_deliveries(
    organization: Organization, webhook_id: str, query: DeliveryQuery
) -> DeliveryPage:
    page = deliveries.find(found(organization, webhook_id), **dict(query))
    shown = len(page.deliveries)
    return DeliveryPage(
        deliveries=[shaped(each, organization) for each in page.deliveries],
        pagination=pagination(page.total, query.limit, query.offset, shown),
    )


@guarded.post("/cliniko/webhooks/<org_id>/<webhook_id>/test")
@described(
    summary="Send a test message",
    description="Signed and sent as any other, but tried once, and before all others: where the "
    "webhook has failed and is left alone for a while, that ends. Answered before it is sent: list "
    "the messages until its `state` is not `waiting`. While the webhook is paused, or its clinic "
    "disabled, it is a 400.",
    example=TEST,
    errors=(ErrorCode.NOT_FOUND,),
)
def test_webhook(organization: Organization, webhook_id: str) -> Delivery:
    endpoint = found(organization, webhook_id)
    return shaped(endpoints.send_test(endpoint, actor=current_actor()), organization)


@guarded.post("/cliniko/webhooks/<org_id>/deliveries/<delivery_id>/resend")
@described(
    summary="Send a message again",
    description="Under the same id, with all of its tries anew; to a paused webhook when it is "
    "resumed. As a test does, it ends the time for which the webhook is left alone. Answered "
    "before it is sent, as a test is. Changes of webhooks are counted together with it.",
    example=SENT_AGAIN,
    errors=(ErrorCode.NOT_FOUND,),
)
def resend_delivery(organization: Organization, delivery_id: str) -> Delivery:
    delivery = deliveries.get(organization, id_of(delivery_id))
    deliveries.resend(delivery, actor=current_actor())
    return shaped(delivery, organization)


def shaped(delivery: models.WebhookDelivery, organization: Organization) -> Delivery:
    """A message as the API shows it."""
    fields: dict[str, Any] = {
        "id": delivery.id,
        "webhook_id": delivery.endpoint_id,
        "event": delivery.event,
        "message_id": delivery.message_id,
        "state": delivery.state,
        "created_at": delivery.created_at,
        "next_attempt_at": deliveries.next_try(delivery, organization),
        "attempts": delivery.attempts,
        "body": delivery.body,
    }
    return Delivery.model_validate(fields)
