"""A clinic with a webhook that leads to a real receiver on this machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from config import Settings
from tests.cast import Cast
from tests.support.receiver import Receiver
from webapp import create_core
from webapp.extensions import db, transaction
from webapp.models import SUBSCRIBABLE, WebhookDelivery, WebhookEndpoint, WebhookEvent
from webapp.services.webhooks import endpoints, outbox, sending


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"WEBHOOK_ALLOWED_HOSTS": "localhost"}


@pytest.fixture
def factory() -> Callable[[Settings], Flask]:
    return create_core


@pytest.fixture
def added(cast: Cast, there: Receiver) -> tuple[WebhookEndpoint, str]:
    """A webhook of Surf Rehab that wants everything, and its secret."""
    return endpoints.add(cast.surf, there.url, SUBSCRIBABLE, actor=cast.bob)


@pytest.fixture
def endpoint(added: tuple[WebhookEndpoint, str]) -> WebhookEndpoint:
    return added[0]


@pytest.fixture
def secret(added: tuple[WebhookEndpoint, str]) -> str:
    return added[1]


@pytest.fixture
def tell(endpoint: WebhookEndpoint) -> Callable[..., WebhookDelivery]:
    """Puts a message in the outbox."""

    def tell(**data: object) -> WebhookDelivery:
        with transaction():
            return outbox.put_for(endpoint, WebhookEvent.SYNC_COMPLETED, data)

    return tell


def send_due() -> int:
    """Send whatever is due now, one turn each; how many were sent."""
    db.session.rollback()
    turns = sending.take_turns(100)
    for turn in turns:
        sending.send(turn)
    return len(turns)
