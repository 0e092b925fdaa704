"""What is asked about messages, however many there are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cast import Cast
from tests.support.databases import on_both
from tests.support.receiver import Receiver
from tests.support.statements import asked_meanwhile, plan_of
from webapp.models import SUBSCRIBABLE, WebhookDelivery
from webapp.services.webhooks import deliveries, endpoints
from webapp.sync import suspension


@on_both
def test_messages_are_counted_by_an_index(tell: Callable[..., WebhookDelivery]) -> None:
    """`/metrics` asks every few seconds, and of thirty days there are many, each with its text."""
    tell()
    with asked_meanwhile() as asked:
        counts = deliveries.count_by_state()

    assert counts == {"waiting": 1, "held": 0, "delivered": 0, "failed": 0}
    plan = plan_of(*asked[-1])
    assert plan.count("ix_webhook_deliveries_") == 3, plan


@on_both
@pytest.mark.parametrize(
    "hold",
    [
        lambda message, cast: endpoints.pause(message.endpoint, actor=cast.bob),
        lambda message, cast: suspension.disable(cast.surf, actor=cast.alice),
    ],
    ids=["paused", "disabled"],
)
def test_what_nobody_may_send_now_is_no_sign_of_a_lost_sender(
    there: Receiver,
    tell: Callable[..., WebhookDelivery],
    cast: Cast,
    hold: Callable[[WebhookDelivery, Cast], object],
) -> None:
    other, _ = endpoints.add(cast.northside, there.url, SUBSCRIBABLE, actor=None)
    endpoints.send_test(other, actor=None)
    hold(tell(), cast)

    counts = deliveries.count_by_state()

    assert counts == {"waiting": 1, "held": 1, "delivered": 0, "failed": 0}
