"""What webhooks receive is what the OpenAPI document says under `webhooks`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest
import time_machine
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.api.rows import make_log, record, store
from tests.api.test_openapi import closed
from tests.cast import Cast
from webapp.api.webhook_messages import EXAMPLES, HEADERS
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import SUBSCRIBABLE, ChangeKind, SyncStatus, WebhookDelivery, WebhookEvent
from webapp.services.webhooks import endpoints, signing
from webapp.sync import ending

Json = dict[str, Any]
MODELS = {example.event: type(example) for example in EXAMPLES}


@pytest.fixture
def published(client: FlaskClient) -> Json:
    document: Json = client.get("/api/v1/openapi.json").get_json()
    return document


@pytest.fixture
def written(cast: Cast) -> dict[str, str]:
    """The body that the outbox holds for each event, put there by what it tells of."""
    webhook, _ = endpoints.add(
        cast.surf, "https://hooks.example.com/", SUBSCRIBABLE, actor=cast.bob
    )
    changed = store(cast.surf, record(1, "Olivia", "Nguyen"))
    broken = make_log(cast.surf, SyncStatus.RUNNING, records_success=2, records_failed=1)
    with transaction():
        ending.tell_of_changes(changed, dict.fromkeys(ChangeKind, 1), cursor=0)
        ending.fail(broken, ending.Closing("CLINIKO_FORBIDDEN", "It may not see the patients."))
    whole = make_log(cast.surf, SyncStatus.RUNNING, records_success=3)
    with transaction():
        ending.complete(whole)
    endpoints.send_test(webhook, actor=cast.bob)
    db.session.rollback()
    return {each.event: each.body for each in db.session.scalars(select(WebhookDelivery))}


@pytest.mark.parametrize("event", WebhookEvent)
def test_what_the_outbox_writes_is_what_is_described(
    event: WebhookEvent, written: dict[str, str], published: Json
) -> None:
    body = json.loads(written[event])
    operation = published["webhooks"][event]["post"]
    (content,) = operation["requestBody"]["content"].values()
    schema = content["schema"] | {"components": closed(published["components"])}

    shown = json.loads(MODELS[event].model_validate_json(written[event]).model_dump_json())

    assert shown == body
    assert list(shown["data"]) == list(body["data"])
    jsonschema_rs.validate(schema, body)
    jsonschema_rs.validate(schema, content["example"])
    for other in MODELS.keys() - {event}:
        with pytest.raises(jsonschema_rs.ValidationError):
            jsonschema_rs.validate(schema, json.loads(written[other]))


@pytest.mark.parametrize("event", WebhookEvent)
def test_each_message_is_described_with_its_headers_and_its_answer(
    event: WebhookEvent, published: Json
) -> None:
    sent = signing.headers("msg_1", datetime.now(UTC), b"", [signing.new_secret()])

    operation = published["webhooks"][event]["post"]

    assert [each["name"] for each in operation["parameters"]] == list(sent)
    assert all(each["required"] and each["in"] == "header" for each in operation["parameters"])
    assert list(operation["responses"]) == ["2XX"]
    assert operation["description"].endswith(".")


def test_the_words_about_signatures_tell_how_many_there_can_be(cast: Cast) -> None:
    webhook, _ = endpoints.add(
        cast.surf, "https://hooks.example.com/", SUBSCRIBABLE, actor=cast.bob
    )
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        for _ in range(endpoints.MOST_OLD):
            endpoints.rotate(webhook, actor=cast.bob)
            clock.shift(60)
        sent = signing.headers("msg_1", now(), b"", endpoints.secrets_of(webhook))

    assert len(sent["webhook-signature"].split(" ")) == 3
    assert "usually one, up to three for a day" in HEADERS["webhook-signature"]


def test_no_message_shares_its_name_with_an_operation(published: Json) -> None:
    names = [
        operation["operationId"]
        for part in ("paths", "webhooks")
        for methods in published[part].values()
        for operation in methods.values()
    ]
    assert len(names) == len(set(names))
    assert set(published["webhooks"]) == set(WebhookEvent)
