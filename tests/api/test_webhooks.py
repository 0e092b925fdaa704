"""/api/v1/cliniko/webhooks"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from standardwebhooks import Webhook, WebhookVerificationError

from tests.api.envelope import details_of as refused
from tests.cast import Cast
from tests.services.webhooks.conftest import send_due
from tests.support.receiver import Receiver
from webapp.api.reference import reference
from webapp.api.webhooks import State
from webapp.clock import now
from webapp.errors import AuditUnavailable
from webapp.extensions import db, transaction
from webapp.models import (
    SUBSCRIBABLE,
    AuditEvent,
    DeliveryState,
    PauseReason,
    WebhookDelivery,
    WebhookEvent,
)
from webapp.services import audit
from webapp.services.audit_events import Event
from webapp.services.webhooks import endpoints, outbox

Json = dict[str, Any]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"WEBHOOK_ALLOWED_HOSTS": "localhost"}


@pytest.fixture
def path(cast: Cast) -> str:
    return f"/api/v1/cliniko/webhooks/{cast.surf.id}"


@pytest.fixture
def added(bob: FlaskClient, path: str, there: Receiver) -> Json:
    body = {"address": there.url, "events": ["sync.failed", "sync.completed"]}
    answer = bob.post(path, json=body)
    assert answer.status_code == 201
    told: Json = answer.get_json()
    return told


def audited() -> list[str]:
    """What was done to webhooks."""
    db.session.rollback()
    events = db.session.scalars(select(AuditEvent.event).order_by(AuditEvent.id))
    return [each for each in events if each.startswith("webhook")]


def test_it_is_added_listed_and_read(
    bob: FlaskClient, path: str, added: Json, there: Receiver, cast: Cast
) -> None:
    webhook = added["webhook"]
    assert webhook["address"] == there.url
    assert webhook["events"] == ["sync.completed", "sync.failed"]
    assert (webhook["state"], webhook["paused_because"]) == ("active", None)
    assert added["secret"].startswith("whsec_")
    assert added["old_secret_until"] is None
    assert bob.get(path).get_json() == {"webhooks": [webhook]}
    assert bob.get(f"{path}/{webhook['id']}").get_json() == webhook


def test_whoever_asks_again_after_a_lost_answer_has_one_webhook_and_the_secret_that_holds(
    bob: FlaskClient, path: str, there: Receiver
) -> None:
    body = {"address": there.url, "events": ["sync.failed", "sync.completed"]}
    with time_machine.travel(now(), tick=False) as clock:
        for number in range(endpoints.MOST - 1):
            bob.post(path, json=body | {"address": f"{there.url}/{number}"})
        lost = bob.post(path, json=body).get_json()
        clock.shift(9)
        answer = bob.post(path, json=body | {"events": body["events"][::-1]})

    assert answer.status_code == 201
    again = answer.get_json()
    assert again["webhook"] == lost["webhook"]
    assert again["old_secret_until"] is None
    assert len(bob.get(path).get_json()["webhooks"]) == endpoints.MOST
    assert audited() == [*["webhook:added"] * endpoints.MOST, "webhook:rotated"]
    bob.post(f"{path}/{again['webhook']['id']}/test")
    send_due()
    (came,) = there.received
    Webhook(again["secret"]).verify(came.body, dict(came.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(lost["secret"]).verify(came.body, dict(came.headers))


@pytest.mark.parametrize(
    ("other", "seconds"),
    [({}, 11), ({"events": ["sync.failed"]}, 0), ({"address": "https://example.com/"}, 0)],
)
def test_what_was_asked_for_long_ago_or_is_something_else_stays_as_it_is(
    bob: FlaskClient, path: str, added: Json, there: Receiver, other: Json, seconds: int
) -> None:
    body = {"address": there.url, "events": ["sync.failed", "sync.completed"]}
    with time_machine.travel(now() + timedelta(seconds=seconds)):
        second = bob.post(path, json=body | other).get_json()
    assert second["webhook"]["id"] != added["webhook"]["id"]
    assert len(bob.get(path).get_json()["webhooks"]) == 2
    assert audited() == ["webhook:added"] * 2


def test_another_clinic_may_have_the_same_address(
    bob: FlaskClient, alice: FlaskClient, path: str, added: Json, there: Receiver, cast: Cast
) -> None:
    body = {"address": there.url, "events": ["sync.failed", "sync.completed"]}
    theirs = alice.post(f"/api/v1/cliniko/webhooks/{cast.northside.id}", json=body).get_json()
    assert theirs["webhook"]["organization_id"] == cast.northside.id
    assert bob.get(path).get_json() == {"webhooks": [added["webhook"]]}


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "address"),
        ({"address": "https://example.com/"}, "events"),
        ({"address": "https://example.com/", "events": []}, "events"),
        ({"address": "https://example.com/", "events": ["webhook.test"]}, "events"),
        ({"address": "https://example.com/", "events": "sync.failed"}, "events"),
        ({"address": "https://example.com/", "events": [7]}, "events"),
        ({"address": "https://[::1]/", "events": ["sync.failed"]}, "address"),
        ({"address": "https://evil.com/" + "a" * 2_100, "events": ["sync.failed"]}, "address"),
        ({"address": 7, "events": ["sync.failed"]}, "address"),
        ({"address": "https://example.com/", "events": ["sync.failed"], "secret": "x"}, "secret"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    bob: FlaskClient, path: str, body: Json, parameter: str
) -> None:
    details = refused(bob.post(path, json=body), 400, "VALIDATION_ERROR")
    assert details["parameter"] == parameter
    assert bob.get(path).get_json() == {"webhooks": []}


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ('"sync.failed"', "events must be a list."),
        ("[7]", "each of events must be text."),
        ('["sync.failed"],', "The body is not JSON: trailing comma at line 1 column 63."),
    ],
)
def test_a_refusal_says_what_is_wrong(
    bob: FlaskClient, path: str, events: str, sentence: str
) -> None:
    body = f'{{"address": "https://example.com/", "events": {events}}}'
    answer = bob.post(path, data=body, content_type="application/json")
    refused(answer, 400, "VALIDATION_ERROR")
    assert answer.get_json()["message"] == sentence


def test_a_message_arrives_and_is_on_record(
    bob: FlaskClient, path: str, added: Json, there: Receiver, cast: Cast
) -> None:
    mine = f"{path}/{added['webhook']['id']}"
    sent = bob.post(f"{mine}/test").get_json()
    assert (sent["event"], sent["state"], sent["attempts"]) == ("webhook.test", "waiting", [])

    send_due()

    (came,) = there.received
    told = Webhook(added["secret"]).verify(came.body, dict(came.headers))
    assert list(told) == ["event", "organization_id", "data"]
    page = bob.get(f"{mine}/deliveries?limit=10").get_json()
    assert page["pagination"] == {"total": 1, "limit": 10, "offset": 0, "has_next": False}
    (delivery,) = page["deliveries"]
    assert (delivery["state"], delivery["next_attempt_at"]) == ("delivered", None)
    assert delivery["message_id"] == came.message_id
    assert delivery["body"] == came.body.decode()
    (attempt,) = delivery["attempts"]
    assert (attempt["status"], attempt["problem"]) == (204, None)

    again = f"{path}/deliveries/{delivery['id']}/resend"
    assert bob.post(again).get_json()["state"] == "waiting"
    send_due()
    assert [each.message_id for each in there.received] == [came.message_id] * 2


def test_a_sync_tells_the_promised_five_keys(
    bob: FlaskClient, path: str, added: Json, there: Receiver, cast: Cast, work: Any
) -> None:
    bob.post(f"/api/v1/cliniko/sync-all/{cast.surf.id}")
    work()
    send_due()

    (came,) = there.received
    assert len(came.body) < 20_000
    told = json.loads(came.body)
    assert list(told) == ["event", "organization_id", "data"]
    assert (told["event"], told["organization_id"]) == ("sync.completed", cast.surf.id)
    data = told["data"]
    assert list(data)[:3] == ["patients_synced", "duration", "success_rate"]
    assert (data["patients_synced"], data["success_rate"]) == (648, 100.0)
    log = bob.get(f"/api/v1/cliniko/sync-logs/{cast.surf.id}/{data['sync_log_id']}").get_json()
    assert data["completed_at"] == log["completed_at"]
    assert data["records_failed"] == 0


def test_it_is_changed_paused_and_resumed(
    bob: FlaskClient, path: str, added: Json, there: Receiver
) -> None:
    mine = f"{path}/{added['webhook']['id']}"
    assert bob.patch(mine, json={}).get_json() == added["webhook"]
    changed = bob.patch(mine, json={"events": ["patients.changed"], "state": "paused"}).get_json()
    assert (changed["events"], changed["state"]) == (["patients.changed"], "paused")
    assert changed["paused_because"] == "person"
    details = refused(bob.post(f"{mine}/test"), 400, "VALIDATION_ERROR")
    assert details["parameter"] == "webhook"
    resumed = bob.patch(mine, json={"state": "active"}).get_json()
    assert (resumed["state"], resumed["paused_at"]) == ("active", None)
    refused(bob.patch(mine, json={"state": "gone"}), 400, "VALIDATION_ERROR")
    refused(bob.patch(mine, json={"address": "ftp://x"}), 400, "VALIDATION_ERROR")
    assert bob.get(mine).get_json() == resumed


def test_all_that_is_asked_for_at_once_happens_or_nothing_does(
    bob: FlaskClient, path: str, added: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or messages that wait would go to the new address before it is paused."""
    record = audit.record

    def all_but_pauses(event: Event, **told: Any) -> None:
        if event == Event.WEBHOOK_PAUSED:
            raise AuditUnavailable
        record(event, **told)

    monkeypatch.setattr(audit, "record", all_but_pauses)
    mine = f"{path}/{added['webhook']['id']}"
    body = {"address": "https://example.com/elsewhere", "state": "paused"}
    assert bob.patch(mine, json=body).status_code == 503
    db.session.rollback()
    assert bob.get(mine).get_json() == added["webhook"]


def test_a_new_secret_is_told_once_and_the_old_one_holds_for_a_day(
    bob: FlaskClient, path: str, added: Json, there: Receiver
) -> None:
    mine = f"{path}/{added['webhook']['id']}"
    rotated = bob.post(f"{mine}/rotate").get_json()
    assert rotated["secret"] != added["secret"]
    assert rotated["old_secret_until"].endswith("Z")
    bob.post(f"{mine}/test")
    send_due()
    (came,) = there.received
    data = json.loads(came.body)["data"]
    assert list(data) == ["patients_synced", "duration", "success_rate", "message"]
    for secret in (added["secret"], rotated["secret"]):
        Webhook(secret).verify(came.body, dict(came.headers))
    assert "whsec_" not in bob.get(mine).text


def test_a_third_new_secret_within_a_day_is_refused(
    bob: FlaskClient, path: str, added: Json
) -> None:
    rotate = f"{path}/{added['webhook']['id']}/rotate"
    with time_machine.travel(now(), tick=False) as clock:
        for _ in range(2):
            assert bob.post(rotate).status_code == 200
            clock.shift(60)
        details = refused(bob.post(rotate), 400, "VALIDATION_ERROR")
        assert details["parameter"] == "webhook"


def test_tests_and_messages_that_are_sent_again_are_limited(
    bob: FlaskClient, alice: FlaskClient, path: str, added: Json
) -> None:
    test = f"{path}/{added['webhook']['id']}/test"
    again = f"{path}/deliveries/{alice.post(test).get_json()['id']}/resend"
    for url, limit in ((test, 10), (again, 60)):
        for left in reversed(range(limit)):
            answer = bob.post(url)
            assert answer.status_code == 200
            assert answer.headers["X-RateLimit-Limit"] == str(limit)
            assert answer.headers["X-RateLimit-Remaining"] == str(left)
        before = audited()

        answer = bob.post(url)

        refused(answer, 429, "RATE_LIMITED")
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert audited() == before
        assert alice.post(url).status_code == 200


def test_changes_that_send_again_what_waits_are_counted_with_messages(
    bob: FlaskClient, alice: FlaskClient, path: str, added: Json
) -> None:
    mine = f"{path}/{added['webhook']['id']}"
    again = f"{path}/deliveries/{alice.post(f'{mine}/test').get_json()['id']}/resend"
    for left in reversed(range(30)):
        assert bob.post(again).headers["X-RateLimit-Remaining"] == str(2 * left + 1)
        state = "paused" if left % 2 else "active"
        answer = bob.patch(mine, json={"state": state})
        assert answer.headers["X-RateLimit-Remaining"] == str(2 * left)

    before = audited()
    for answer in (bob.patch(mine, json={"state": "active"}), bob.post(again)):
        refused(answer, 429, "RATE_LIMITED")
    assert audited() == before
    assert alice.patch(mine, json={"state": "active"}).status_code == 200


def test_when_a_message_is_tried_next_is_told_as_it_is(
    alice: FlaskClient, path: str, added: Json, there: Receiver, cast: Cast
) -> None:
    mine = f"{path}/{added['webhook']['id']}"

    def told() -> set[datetime | None]:
        page = alice.get(f"{mine}/deliveries?state=waiting").get_json()
        found = [each["next_attempt_at"] for each in page["deliveries"]]
        assert len(found) == 2
        return {each and datetime.fromisoformat(each) for each in found}

    there.always(503, Retry_After="86400")
    with time_machine.travel(now().replace(microsecond=0), tick=False) as clock:
        with transaction():
            for _ in range(2):  # one of them is tried, and the other waits with it
                outbox.put(cast.surf.id, WebhookEvent.SYNC_COMPLETED, {})
        assert send_due() == 1
        rested = now() + timedelta(days=1)
        clock.shift(3600)
        assert told() == {rested}
        alice.patch(mine, json={"state": "paused"})
        assert told() == {None}
        alice.patch(mine, json={"state": "active"})
        assert told() == {now()}
        with transaction():
            cast.surf.disabled_at = now()
        assert told() == {None}


def test_a_test_ends_the_time_for_which_a_webhook_is_left_alone(
    bob: FlaskClient, path: str, added: Json, there: Receiver, cast: Cast
) -> None:
    there.always(503, Retry_After="86400")
    with transaction():
        outbox.put(cast.surf.id, WebhookEvent.SYNC_COMPLETED, {})
    assert send_due() == 1
    with transaction():
        outbox.put(cast.surf.id, WebhookEvent.SYNC_FAILED, {})
    assert send_due() == 0
    there.always(204)
    bob.post(f"{path}/{added['webhook']['id']}/test")
    assert [send_due() for _ in range(3)] == [1, 1, 0]


def test_it_is_deleted_with_its_messages(bob: FlaskClient, path: str, added: Json) -> None:
    mine = f"{path}/{added['webhook']['id']}"
    bob.post(f"{mine}/test")
    assert bob.delete(mine).get_json()["success"] is True
    refused(bob.get(mine), 404, "NOT_FOUND")
    assert db.session.scalars(select(WebhookDelivery)).all() == []
    assert audited() == ["webhook:added", "webhook:tested", "webhook:deleted"]


CHOICES = {*SUBSCRIBABLE, WebhookEvent.TEST, *DeliveryState, *State, *PauseReason}


def outline(told: Any) -> Any:
    """An answer without what is another each time: its keys, what is null, what can be chosen."""
    if isinstance(told, dict):
        return {key: outline(value) for key, value in told.items()}
    if isinstance(told, list):
        return [outline(each) for each in told]
    if isinstance(told, str) and told.startswith("{"):  # the body of a message
        return outline(json.loads(told))
    return told if told in CHOICES else type(told)


def test_each_example_is_what_the_endpoint_answers_to_the_request_beside_it(
    app: Flask, bob: FlaskClient, path: str, there: Receiver, cast: Cast, work: Any
) -> None:
    operations = reference(app)["Webhooks"]
    examples = {each.name: json.loads(each.answer) for each in operations}
    bodies = {
        each.name: json.loads(each.request.split("-d '")[1].rstrip("'"))
        for each in operations
        if each.definition.body
    }
    added = bob.post(path, json=bodies["add_webhook"] | {"address": there.url}).get_json()
    mine = f"{path}/{added['webhook']['id']}"
    answers = {"add_webhook": added, "webhooks": bob.get(path), "webhook": bob.get(mine)}
    bob.post(f"/api/v1/cliniko/sync-all/{cast.surf.id}")
    work()
    send_due()
    listed = answers["webhook_deliveries"] = bob.get(f"{mine}/deliveries").get_json()
    again = f"{path}/deliveries/{listed['deliveries'][0]['id']}/resend"
    answers |= {"resend_delivery": bob.post(again), "test_webhook": bob.post(f"{mine}/test")}
    answers["rotate_webhook"] = bob.post(f"{mine}/rotate")
    answers["change_webhook"] = bob.patch(mine, json=bodies["change_webhook"])
    answers["delete_webhook"] = bob.delete(mine)

    told = {
        name: outline(answer if isinstance(answer, dict) else answer.get_json())
        for name, answer in answers.items()
    }
    assert told == {name: outline(example) for name, example in examples.items()}


@pytest.mark.parametrize("after", ["get", "rotate"])
def test_one_that_somebody_else_deletes_meanwhile_is_not_there(
    bob: FlaskClient, path: str, added: Json, deleted_after: Callable[[str], None], after: str
) -> None:
    """Deleted after it was found, or after its secret was changed and before that is told."""
    deleted_after(after)
    refused(bob.post(f"{path}/{added['webhook']['id']}/rotate"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "state=lost", "event=patient.deleted", "offset=-1"]
)
def test_a_question_that_makes_no_sense_is_refused(
    bob: FlaskClient, path: str, added: Json, query: str
) -> None:
    answer = bob.get(f"{path}/{added['webhook']['id']}/deliveries?{query}")
    details = refused(answer, 400, "VALIDATION_ERROR")
    assert details["parameter"] == query.partition("=")[0]
