"""What is asked about messages, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from webapp.extensions import db
from webapp.models import WebhookDelivery
from webapp.services.webhooks import deliveries


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_messages_are_counted_by_an_index(tell: Callable[..., WebhookDelivery]) -> None:
    """`/metrics` asks every few seconds, and of thirty days there are many, each with its text."""
    asked: list[str] = []

    def note(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    tell()
    event.listen(db.engine, "before_cursor_execute", note)
    counts = deliveries.count_by_state()
    event.remove(db.engine, "before_cursor_execute", note)

    assert counts == {"waiting": 1, "delivered": 0, "failed": 0}
    with db.engine.connect() as connection:
        explain = "EXPLAIN QUERY PLAN"
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # for a table of few rows
            explain = "EXPLAIN"
        plan = connection.exec_driver_sql(f"{explain} {asked[-1]}").all()
    assert "ix_webhook_deliveries_state" in str(plan)
