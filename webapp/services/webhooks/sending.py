"""Sending what is in the outbox: at least once, by one at a time, and again until it is taken.

The row is the truth. Whoever sends takes an endpoint's turn first; a sender that dies lets the turn
run out, and its message goes again under the same id.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from webapp.clock import iso, now
from webapp.errors import SecretUnreadable
from webapp.extensions import db, transaction
from webapp.models import (
    IS_OPEN,
    DeliveryState,
    Organization,
    PauseReason,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from webapp.services import audit, notices, retries
from webapp.services.audit_events import Event
from webapp.services.webhooks import endpoints, line, signing
from webapp.services.webhooks.line import Outcome, Problem

log = structlog.get_logger()

# Longer than a try can take, with what the clocks of two machines may differ by.
TURN = timedelta(seconds=60)
MOST_KEPT = 50  # tries of a message
MOST_OF_A_CLINIC = 2  # at once, by each sender: its slow receivers must leave places to others


_WHY = {
    PauseReason.GONE: "it answered 410, which asks us not to come again.",
    PauseReason.EXHAUSTED: "a message to it has failed for a day.",
}


@dataclass(frozen=True)
class Turn:
    """The right to send one message, proven by the number of the endpoint's turn."""

    endpoint_id: int
    number: int
    delivery_id: int


def take_turns(most: int) -> list[Turn]:
    """Take the turns of up to so many endpoints for which something is due, of each clinic two at
    once, and none of a clinic that is disabled or deleted. They come in random order, not oldest
    first: a slow receiver's messages are always the oldest. Nothing is locked where nothing is due.
    """
    if most <= 0:
        return []
    moment = now()
    clinic = WebhookEndpoint.organization_id
    due = (
        select(WebhookEndpoint.id, clinic)
        .join(WebhookDelivery, WebhookDelivery.endpoint_id == WebhookEndpoint.id)
        .join(Organization, Organization.id == clinic)
        .where(IS_OPEN, *_due(moment), *_is_free(moment))
        .group_by(WebhookEndpoint.id)
        .order_by(func.random())
    )
    busy = select(clinic, func.count()).where(WebhookEndpoint.busy_until > moment).group_by(clinic)
    at_once = Counter(dict(db.session.execute(busy).all()))
    ids: list[int] = []
    for endpoint_id, organization_id in db.session.execute(due):
        if len(ids) < most and at_once[organization_id] < MOST_OF_A_CLINIC:
            at_once[organization_id] += 1
            ids.append(endpoint_id)
    db.session.rollback()
    return [turn for turn in map(_take, ids) if turn is not None]


def send(turn: Turn) -> Outcome | None:
    """Send the message whose turn it is, and write down what came of it; None if it is gone."""
    delivery = db.session.get(WebhookDelivery, turn.delivery_id)
    if delivery is None:
        return None
    begun = now()
    address, body = delivery.endpoint.address, delivery.body.encode()
    try:
        secrets = endpoints.secrets_of(delivery.endpoint)
    except SecretUnreadable:
        outcome = Outcome(problem=Problem.SECRET_UNREADABLE)
    else:
        headers = signing.headers(delivery.message_id, begun, body, secrets)
        db.session.rollback()  # no transaction is open while the receiver thinks
        outcome = line.post(address, body, headers)
    _write_down(turn, outcome, begun)
    return outcome


def _due(moment: datetime) -> list[ColumnElement[bool]]:
    return [
        WebhookDelivery.state == DeliveryState.WAITING,
        WebhookDelivery.next_attempt_at <= moment,
    ]


def _is_free(moment: datetime) -> list[ColumnElement[bool]]:
    def past(column: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
        return or_(column.is_(None), column <= moment)

    return [
        WebhookEndpoint.paused_at.is_(None),
        past(WebhookEndpoint.busy_until),
        past(WebhookEndpoint.rests_until),
    ]


def _take(endpoint_id: int) -> Turn | None:
    """Of two that want it, one finds the endpoint busy. A test message is sent before all others:
    somebody waits for it, and perhaps to find out why the others fail."""
    moment = now()
    with transaction() as session:
        number = session.scalar(
            update(WebhookEndpoint)
            .where(WebhookEndpoint.id == endpoint_id, *_is_free(moment))
            .values(turn=WebhookEndpoint.turn + 1, busy_until=moment + TURN)
            .returning(WebhookEndpoint.turn)
            .execution_options(synchronize_session=False)
        )
        if number is None:
            return None
        delivery_id = session.scalar(
            select(WebhookDelivery.id)
            .where(WebhookDelivery.endpoint_id == endpoint_id, *_due(moment))
            .order_by(
                WebhookDelivery.event != WebhookEvent.TEST,
                WebhookDelivery.next_attempt_at,
                WebhookDelivery.id,
            )
            .limit(1)
        )
        if delivery_id is None:  # it was sent a moment ago
            free = update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id)
            session.execute(free.values(busy_until=None))
            return None
        return Turn(endpoint_id, number, delivery_id)


def _write_down(turn: Turn, outcome: Outcome, begun: datetime) -> None:
    with transaction() as session:
        endpoint = session.scalar(
            select(WebhookEndpoint)
            .where(WebhookEndpoint.id == turn.endpoint_id, WebhookEndpoint.turn == turn.number)
            .with_for_update()
        )
        delivery = session.get(WebhookDelivery, turn.delivery_id, with_for_update=True)
        if endpoint is None or delivery is None:
            log.warning("webhook_turn_lost", endpoint_id=turn.endpoint_id)
            return
        endpoint.busy_until = None
        _add_attempt(delivery, outcome, begun)
        if outcome.is_delivered:
            delivery.state = DeliveryState.DELIVERED
            endpoint.failures_in_a_row, endpoint.rests_until = 0, None
        else:
            _after_failure(endpoint, delivery, outcome)
    log.info(
        "webhook_tried",
        endpoint_id=turn.endpoint_id,
        delivery_id=turn.delivery_id,
        status=outcome.status,
        problem=outcome.problem,
        ms=outcome.milliseconds,
    )


def _add_attempt(delivery: WebhookDelivery, outcome: Outcome, begun: datetime) -> None:
    attempt = {
        "at": iso(begun),
        "status": outcome.status,
        "problem": outcome.problem,
        "ms": outcome.milliseconds,
    }
    delivery.attempts = [*delivery.attempts, attempt][-MOST_KEPT:]
    delivery.tries += 1
    delivery.first_tried_at = delivery.first_tried_at or begun


def _after_failure(endpoint: WebhookEndpoint, delivery: WebhookDelivery, outcome: Outcome) -> None:
    moment = now()
    endpoint.failures_in_a_row += 1
    endpoint.rests_until = moment + retries.rest(endpoint.failures_in_a_row, outcome.asked)
    first = delivery.first_tried_at or moment
    again = retries.next_try(first, delivery.tries, moment, outcome.asked)
    clinic = db.session.get_one(Organization, endpoint.organization_id, populate_existing=True)
    if endpoint.is_held(clinic) and delivery.event != WebhookEvent.TEST:
        return  # meanwhile: it waits, and whoever ends that gives it all of its tries anew
    if outcome.status == line.GONE:
        delivery.state = DeliveryState.FAILED
        _stop(endpoint, PauseReason.GONE)
    elif delivery.event == WebhookEvent.TEST:
        delivery.state = DeliveryState.FAILED
    elif again is None or retries.has_failed_for_long(
        first, endpoint.failures_in_a_row, moment, outcome.asked
    ):
        delivery.state = DeliveryState.FAILED
        _stop(endpoint, PauseReason.EXHAUSTED)
    else:
        delivery.next_attempt_at = again


def _stop(endpoint: WebhookEndpoint, reason: PauseReason) -> None:
    """Send nothing more; the clinic's page says so. The last step of the caller's transaction."""
    if endpoint.paused_at is None:
        endpoint.paused_at, endpoint.paused_because = now(), reason
        notices.webhook_stopped(endpoint.organization_id, endpoint.id, _WHY[reason])
        log.warning("webhook_stopped", endpoint_id=endpoint.id, reason=reason)
        audit.record(
            Event.WEBHOOK_STOPPED,
            organization_id=endpoint.organization_id,
            subject=f"webhook {endpoint.id}",
            reason=str(reason),
        )
