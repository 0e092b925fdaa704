"""The outbox, beside somebody who deletes the webhook."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import delete, func, select

from tests.cast import Cast
from tests.support.locks import until_somebody_waits
from webapp.extensions import db, transaction
from webapp.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from webapp.services.webhooks import outbox


@pytest.mark.parametrize("database", ["postgresql"])  # SQLite lets one write after the other
def test_a_webhook_that_is_deleted_at_this_moment_undoes_nothing_of_what_is_told(
    app: Flask, cast: Cast, endpoint: WebhookEndpoint
) -> None:
    """A sync that has completed must not be taken for failed, because nobody listens any more."""
    surf_id, endpoint_id = cast.surf.id, endpoint.id

    def tell() -> None:
        with app.app_context(), transaction():
            outbox.put(surf_id, WebhookEvent.SYNC_COMPLETED, {})

    with ThreadPoolExecutor(1) as pool:
        with transaction() as session:
            session.get_one(WebhookEndpoint, endpoint_id, with_for_update=True)
            session.execute(delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id))
            told = pool.submit(tell)
            until_somebody_waits()
        told.result(30)

    assert db.session.scalar(select(func.count()).select_from(WebhookDelivery)) == 0
