"""What is asked about messages, however many there are."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.databases import on_both
from tests.support.statements import asked_meanwhile, plan_of
from webapp.models import WebhookDelivery
from webapp.services.webhooks import deliveries


@on_both
def test_messages_are_counted_by_an_index(tell: Callable[..., WebhookDelivery]) -> None:
    """`/metrics` asks every few seconds, and of thirty days there are many, each with its text."""
    tell()
    with asked_meanwhile() as asked:
        counts = deliveries.count_by_state()

    assert counts == {"waiting": 1, "delivered": 0, "failed": 0}
    assert "ix_webhook_deliveries_state" in plan_of(*asked[-1])
