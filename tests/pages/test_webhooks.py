"""The webhooks of a clinic, at /clinics/<id>/webhooks"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select

from tests.cast import Cast
from tests.pages.visitor import Parsed, Visitor, text_of
from tests.services.webhooks.conftest import send_due
from tests.support.databases import on_both
from tests.support.receiver import Receiver, Reply
from webapp.clock import iso, now
from webapp.extensions import db, transaction
from webapp.models import (
    SUBSCRIBABLE,
    AuditEvent,
    DeliveryState,
    PauseReason,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from webapp.services.webhooks import endpoints, outbox
from webapp.sync import suspension

ADDRESS = "https://hooks.example.com/patients"
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"WEBHOOK_ALLOWED_HOSTS": "localhost"}


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/clinics/{cast.surf.id}/webhooks"


@pytest.fixture
def endpoint(cast: Cast, there: Receiver) -> WebhookEndpoint:
    return endpoints.add(cast.surf, there.url, SUBSCRIBABLE, actor=cast.bob)[0]


@pytest.fixture
def its(path: str, endpoint: WebhookEndpoint) -> str:
    """The page of the webhook."""
    return f"{path}/{endpoint.id}"


def audited() -> list[str]:
    db.session.rollback()
    events = select(AuditEvent.event).where(AuditEvent.event.like("webhook:%"))
    return list(db.session.scalars(events.order_by(AuditEvent.id)))


def rate_limited() -> int:
    """How often somebody is on record who came too often."""
    events = select(AuditEvent).where(AuditEvent.event == "access:rate_limited")
    return len(db.session.scalars(events).all())


def test_it_says_what_webhooks_are_good_for_before_there_is_one(bob: Visitor, path: str) -> None:
    page = text_of(bob.get(path))
    assert "No webhooks yet" in page
    assert "nothing about a patient" in page


def test_a_new_one_shows_its_secret_once(bob: Visitor, path: str) -> None:
    added = bob.post(path, address=f" {ADDRESS} ", events="sync.failed")
    (secret,) = set(SECRET.findall(added.text))
    assert "will not be shown again" in text_of(added)

    db.session.rollback()
    row = db.session.scalars(select(WebhookEndpoint)).one()
    assert (row.address, row.events) == (ADDRESS, ["sync.failed"])
    assert secret not in row.sealed_secret
    for later in (bob.get(path), bob.get(f"{path}/{row.id}")):
        assert ADDRESS in later.text
        assert "whsec_" not in later.text
    assert audited() == ["webhook:added"]


def test_a_form_that_is_sent_twice_adds_one_and_shows_the_secret_that_holds(
    bob: Visitor, path: str
) -> None:
    for _ in range(2):
        shown = bob.post(path, address=ADDRESS, events="sync.failed")
    db.session.rollback()
    row = db.session.scalars(select(WebhookEndpoint)).one()
    assert endpoints.secrets_of(row) == SECRET.findall(shown.text)[:1]
    assert audited() == ["webhook:added", "webhook:rotated"]


def test_the_secret_is_shown_whatever_stands_in_the_address(bob: Visitor, path: str) -> None:
    added = bob.post(f"{path}?page=x&state=nonsense", address=ADDRESS, events="sync.failed")

    assert added.status_code == 200
    assert SECRET.search(added.text)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"address": "http://example.com/", "events": "sync.failed"}, "address"),
        ({"address": "https://127.0.0.1/", "events": "sync.failed"}, "address"),
        ({"address": "", "events": "sync.failed"}, "address"),
        ({"address": ADDRESS}, "events"),
        ({"address": ADDRESS, "events": "patient.deleted"}, "events"),
    ],
)
def test_what_cannot_be_is_told_at_its_field(
    bob: Visitor, path: str, fields: dict[str, str], wrong: str
) -> None:
    answer = bob.post(path, **fields)
    assert answer.status_code == 422
    marked = Parsed(answer.text).having(name=wrong)
    assert all(field["aria-invalid"] == "true" for field in marked)
    assert db.session.scalars(select(WebhookEndpoint)).all() == []


def test_a_clinic_has_ten_at_most(bob: Visitor, path: str, cast: Cast) -> None:
    for number in range(endpoints.MOST):
        endpoints.add(cast.surf, f"{ADDRESS}/{number}", SUBSCRIBABLE, actor=None)
    assert "10 webhooks at most" in text_of(bob.get(path))
    answer = bob.post(path, address=ADDRESS, events="sync.failed")
    assert answer.status_code == 422


def test_it_can_be_given_another_address_and_other_events(
    bob: Visitor, its: str, endpoint: WebhookEndpoint
) -> None:
    assert bob.post(its, address=ADDRESS, events="sync.completed").status_code == 303
    db.session.rollback()
    assert (endpoint.address, endpoint.events) == (ADDRESS, ["sync.completed"])
    bob.post(its, address=ADDRESS, events="sync.completed")  # nothing changed
    assert audited() == ["webhook:added", "webhook:changed"]

    refused = bob.post(its, address="https://localhost.localdomain/", events="sync.completed")
    assert refused.status_code == 422
    db.session.rollback()
    assert endpoint.address == ADDRESS


def test_a_test_is_sent_and_its_way_can_be_followed(
    bob: Visitor, its: str, there: Receiver
) -> None:
    bob.post(f"{its}/test")
    page = text_of(bob.get(its))
    assert "A test message is on its way" in page
    assert "webhook.test" in page
    assert "Waiting" in page

    there.answer = lambda _: Reply(500, body=b"canary <script>")
    send_due()
    page = text_of(bob.get(its))
    assert "Failed" in page
    assert re.search(r": 500 after \d+ ms", page)
    assert "canary" not in page  # nothing of the answer but its status

    db.session.rollback()
    message = db.session.scalars(select(WebhookDelivery)).one()
    there.always(204)
    bob.post(f"/clinics/{message.endpoint.organization_id}/deliveries/{message.id}/resend")
    send_due()
    assert "Delivered" in text_of(bob.get(its))
    first, second = there.received
    assert first.message_id == second.message_id == message.message_id
    assert audited() == ["webhook:added", "webhook:tested", "webhook:resent"]


def test_it_can_be_paused_and_resumed(bob: Visitor, its: str, there: Receiver) -> None:
    bob.post(f"{its}/pause")
    bob.get(its)  # with a word about what was pressed, which is news
    page = bob.get(its)
    assert "What happens meanwhile waits" in text_of(page)
    assert "notice" not in [each.get("class") for each in Parsed(page.text).having(role="status")]
    assert f"{its}/test" not in page.text
    bob.post(f"{its}/test")
    assert "Resume the webhook first" in text_of(bob.get(its))
    assert send_due() == 0
    bob.post(f"{its}/resume")
    bob.post(f"{its}/test")
    assert send_due() == 1
    assert audited()[1:] == ["webhook:paused", "webhook:resumed", "webhook:tested"]


def test_another_secret_is_shown_once(bob: Visitor, its: str) -> None:
    answer = bob.post(f"{its}/rotate")
    assert len(set(SECRET.findall(answer.text))) == 1
    page = bob.get(its)
    assert "whsec_" not in page.text
    assert "signed with the new secret and with the one before" in text_of(page)
    assert audited() == ["webhook:added", "webhook:rotated"]


def test_a_third_within_a_day_is_refused_and_says_when(bob: Visitor, its: str) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        for _ in range(2):
            assert "whsec_" in bob.post(f"{its}/rotate").text
            clock.shift(60)
        assert f"{its}/rotate" not in bob.get(its).text
        assert bob.post(f"{its}/rotate").status_code == 303
        page = text_of(bob.get(its))
        assert "Make another in 23 hours 58 minutes." in page
        assert "with the one before that; another can be made then" in page
    assert audited() == ["webhook:added", *["webhook:rotated"] * 2]


def test_deleting_asks_first_and_takes_the_messages_along(
    bob: Visitor, its: str, path: str, endpoint: WebhookEndpoint
) -> None:
    bob.post(f"{its}/test")
    assert "Delete this webhook?" in text_of(bob.get(its))
    answer = bob.post(f"{its}/delete")
    assert answer.headers["Location"] == path
    assert bob.get(its).status_code == 404
    assert db.session.scalars(select(WebhookDelivery)).all() == []
    assert audited()[-1] == "webhook:deleted"


@pytest.mark.parametrize(
    ("reason", "words"), [(PauseReason.GONE, "it answered 410"), (PauseReason.EXHAUSTED, "a day")]
)
def test_every_page_of_the_clinic_says_that_one_was_stopped(
    bob: Visitor,
    vera: Visitor,
    its: str,
    path: str,
    endpoint: WebhookEndpoint,
    reason: PauseReason,
    words: str,
) -> None:
    overview = path.removesuffix("/webhooks")
    assert "webhook was stopped" not in text_of(bob.get(overview))
    with transaction():
        endpoint.paused_at, endpoint.paused_because = endpoint.created_at, reason
    for page in (overview, f"{overview}/syncs", path):
        assert "A webhook was stopped" in text_of(bob.get(page))
    shown = text_of(bob.get(its))
    assert words in shown
    assert "The message that led to the stop was given up: send it again below." in shown
    assert "webhook" not in text_of(vera.get(overview)).lower()


@pytest.mark.parametrize(
    ("what", "after"),
    [
        *((what, "get") for what in ("rotate", "pause", "test", "delete")),
        *(("rotate", "rotate"), ("pause", "pause"), ("test", "send_test")),
    ],
)
def test_one_that_somebody_else_deletes_meanwhile_is_not_there(
    bob: Visitor, its: str, deleted_after: Callable[[str], None], what: str, after: str
) -> None:
    """Deleted after it was found, or after all was done and before it is shown."""
    deleted_after(after)
    answer = bob.post(f"{its}/{what}")
    assert answer.status_code == 404
    assert "There is nothing here" in text_of(answer)


def test_messages_can_be_filtered(bob: Visitor, its: str) -> None:
    bob.post(f"{its}/test")
    assert "No message matches" in text_of(bob.get(f"{its}?state=delivered"))
    assert "No message matches" in text_of(bob.get(f"{its}?event=sync.failed"))
    assert "Show all messages" not in text_of(bob.get(f"{its}?state=waiting&event=webhook.test"))
    assert bob.get(f"{its}?state=lost").status_code == 400


def test_a_message_is_sent_again_from_among_those_that_are_shown(
    bob: Visitor, its: str, there: Receiver
) -> None:
    there.always(500)
    bob.post(f"{its}/test")
    send_due()
    asked = {"state": "failed", "event": "webhook.test"}
    page = Parsed(bob.get(its, query_string=asked).text)
    (button,) = (found for found in page.having(class_="btn small") if "aria-label" in found)
    assert (button["aria-label"] or "").startswith("Send again")
    hidden = {found["name"]: found["value"] or "" for found in page.having(type_="hidden")}
    assert hidden.items() >= (asked | {"page": "1"}).items()

    path = its.replace("webhooks", "deliveries") + "/resend"
    back = bob.post(path, **asked, page="2").headers["Location"]
    assert back == f"{its}?page=2&state=failed&event=webhook.test"
    assert bob.post(path, state="nonsense").status_code == 400


def test_while_a_webhook_is_left_alone_its_page_says_until_when(
    bob: Visitor, its: str, there: Receiver, endpoint: WebhookEndpoint
) -> None:
    there.always(503, Retry_After="86400")
    with time_machine.travel(now(), tick=False) as clock:
        for _ in range(2):
            with transaction():
                outbox.put(endpoint.organization_id, WebhookEvent.SYNC_COMPLETED, {})
        assert send_due() == 1
        clock.shift(60)
        page = bob.get(its)
        assert "nothing more is sent before" in text_of(page)
        until = f'datetime="{iso(now() + timedelta(hours=23, minutes=59))}"'
        assert page.text.count(until) == 3  # of the webhook, and of both messages

        bob.post(f"{its}/test")
        assert "nothing more is sent before" not in text_of(bob.get(its))


@on_both
def test_the_eleventh_test_in_a_minute_is_not_sent(alice: Visitor, bob: Visitor, its: str) -> None:
    for _ in range(10):
        assert bob.post(f"{its}/test").status_code == 303

    refused = bob.post(f"{its}/test")

    assert refused.status_code == 429
    assert "You have sent 10 test messages within a minute" in text_of(refused)
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert audited().count("webhook:tested") == 10
    assert alice.post(f"{its}/test").status_code == 303


RESENDS = {
    "a message": ("", {}),
    "resumed": ("/resume", {}),
    "saved": ("", {"address": "https://another.example/", "events": "sync.failed"}),
}


@on_both
@pytest.mark.parametrize("last", RESENDS)
def test_the_sixty_first_message_in_a_minute_is_not_sent_again(
    alice: Visitor, bob: Visitor, its: str, last: str
) -> None:
    """Nor is all that waits, which another address and resuming send at once."""
    bob.post(f"{its}/test")
    db.session.rollback()
    message = db.session.scalars(select(WebhookDelivery)).one()
    path = f"{its.partition('/webhooks')[0]}/deliveries/{message.id}/resend"
    for _ in range(60):
        assert bob.post(path).status_code == 303
    bob.post(f"{its}/pause")
    before = audited()

    where, fields = RESENDS[last]
    url = path if last == "a message" else its + where
    refused = bob.post(url, **fields)

    assert refused.status_code == 429
    words = "You have sent messages again, or saved or resumed webhooks, 60 times within a minute"
    assert words in text_of(refused)
    if last == "saved":
        (field,) = Parsed(refused.text).having(name="address")
        assert (field["value"], field["aria-invalid"]) == (fields["address"], "true")
    assert audited() == before
    assert before.count("webhook:resent") == 60
    assert rate_limited() == 1
    assert alice.post(url, **fields).status_code == 303


def test_nobody_of_another_clinic_comes_near(
    charlie: Visitor, its: str, cast: Cast, endpoint: WebhookEndpoint
) -> None:
    assert charlie.get(its).status_code == 403
    own = f"/clinics/{cast.northside.id}/webhooks/{endpoint.id}"
    assert charlie.get(own).status_code == 404
    assert charlie.post(f"{own}/rotate").status_code == 404
    assert audited() == ["webhook:added"]


def delivery_of(endpoint: WebhookEndpoint) -> WebhookDelivery:
    db.session.rollback()
    asked = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint.id)
    return db.session.scalars(asked).one()


def test_what_is_sent_again_to_a_paused_webhook_is_said_to_wait(
    bob: Visitor, path: str, its: str, there: Receiver, endpoint: WebhookEndpoint
) -> None:
    there.always(500)
    bob.post(f"{its}/test")
    send_due()
    with transaction():
        delivery_of(endpoint).state = DeliveryState.FAILED
    bob.post(f"{its}/pause")

    bob.post(f"/clinics/{endpoint.organization_id}/deliveries/{delivery_of(endpoint).id}/resend")
    words = text_of(bob.get(its))
    assert "sent again as soon as the webhook is resumed" in words
    assert "Waiting" in words
    assert "Trying again" not in words


def test_a_webhook_of_a_disabled_clinic_is_resumed_and_waits(
    alice: Visitor, cast: Cast, its: str
) -> None:
    alice.post(f"{its}/pause")
    suspension.disable(cast.surf, actor=cast.alice)

    alice.post(f"{its}/resume")
    assert "Messages wait until the clinic is enabled" in text_of(alice.get(its))


def wants_mails(cast: Cast) -> bool:
    db.session.rollback()
    return cast.bob.notices


def test_mails_can_be_had_or_not(bob: Visitor, vera: Visitor, cast: Cast) -> None:
    (box,) = Parsed(bob.get("/account").text).having(name="notices")
    assert "checked" in box
    bob.post("/account/notices")
    assert "You get no mails" in text_of(bob.get("/account"))
    assert not wants_mails(cast)
    answer = bob.post("/account/notices", notices="1")
    assert wants_mails(cast)
    assert answer.headers["Location"] == "/account"
    assert "You get mails about syncs as soon as a mail server" in text_of(bob.get("/account"))
    assert Parsed(vera.get("/account").text).having(name="notices") == []
