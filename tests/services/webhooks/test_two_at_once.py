"""Two people at one webhook at once: whoever comes second to one that is gone is told so."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from flask import Flask
from sqlalchemy import delete

from tests.cast import Cast
from tests.support.databases import on_both
from tests.support.receiver import Receiver
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.models import SUBSCRIBABLE, Organization, User, WebhookDelivery, WebhookEndpoint
from webapp.services.webhooks import deliveries, endpoints

Do = Callable[[WebhookEndpoint, User], object]

pytestmark = on_both

DONE: dict[str, Do] = {
    "change": lambda it, who: endpoints.change(it, address="https://example.com/", actor=who),
    "pause": lambda it, who: endpoints.pause(it, actor=who),
    "resume": lambda it, who: endpoints.resume(it, actor=who),
    "rotate": lambda it, who: endpoints.rotate(it, actor=who),
    "test": lambda it, who: endpoints.send_test(it, actor=who),
    "remove": lambda it, who: endpoints.remove(it, actor=who),
}


def deleted_by_somebody_else() -> None:
    """On a connection of their own, so that this session knows nothing of it."""
    with db.engine.begin() as theirs:
        theirs.execute(delete(WebhookDelivery))
        theirs.execute(delete(WebhookEndpoint))


@pytest.mark.parametrize("do", DONE.values(), ids=DONE)
def test_nothing_can_be_done_to_one_that_was_deleted_meanwhile(
    endpoint: WebhookEndpoint, cast: Cast, do: Do
) -> None:
    assert endpoint.address  # read, as a request does before it decides
    deleted_by_somebody_else()
    with pytest.raises(NotFound):
        do(endpoint, cast.bob)


def test_no_message_is_sent_again_that_was_deleted_meanwhile(
    tell: Callable[..., WebhookDelivery], cast: Cast
) -> None:
    delivery = deliveries.get(cast.surf, tell().id)
    assert delivery.endpoint.address
    deleted_by_somebody_else()
    with pytest.raises(NotFound):
        deliveries.resend(delivery, actor=cast.bob)


@pytest.mark.parametrize("do", [DONE["remove"], DONE["rotate"]], ids=["remove", "rotate"])
def test_of_those_who_come_with_a_deletion_at_once_none_meets_an_error_of_ours(
    app: Flask, endpoint: WebhookEndpoint, cast: Cast, do: Do
) -> None:
    endpoint_id, bob_id, together = endpoint.id, cast.bob.id, Barrier(4)
    db.session.rollback()

    def come(doing: Do) -> str:
        with app.app_context():
            it = db.session.get_one(WebhookEndpoint, endpoint_id)
            bob = db.session.get_one(User, bob_id)
            together.wait()
            try:
                doing(it, bob)
            except NotFound:
                return "not found"
            return "removed" if doing is DONE["remove"] else "done"

    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(come, [DONE["remove"], do, do, do]))

    assert said.count("removed") == 1
    assert set(said) <= {"removed", "not found", "done"}


def test_of_those_who_add_the_same_at_once_the_last_has_the_secret_of_the_only_one(
    app: Flask, there: Receiver, cast: Cast
) -> None:
    surf_id, url, together = cast.surf.id, there.url, Barrier(4)
    db.session.rollback()

    def come(_: int) -> tuple[int, str]:
        with app.app_context():
            surf = db.session.get_one(Organization, surf_id)
            together.wait()
            endpoint, secret = endpoints.add(surf, url, SUBSCRIBABLE, actor=None)
            return endpoint.id, secret

    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(come, range(4)))

    (endpoint,) = endpoints.of(cast.surf)
    assert {each for each, _ in told} == {endpoint.id}
    (holds,) = endpoints.secrets_of(endpoint)
    assert [secret for _, secret in told].count(holds) == 1
