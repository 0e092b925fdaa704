"""GET /metrics"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from config import ROOT
from tests.api.rows import MORNING, make_log, record, store
from tests.cast import Cast
from webapp.clock import now
from webapp.extensions import transaction
from webapp.models import SUBSCRIBABLE, Notice, NoticeKind, NoticeState, SyncStatus
from webapp.services.webhooks import endpoints
from webapp.sync import suspension
from webapp.sync.lease import LEASE

TOKEN = "a token that opens the metrics"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"METRICS_TOKEN": TOKEN}


def ask(client: FlaskClient, token: str = TOKEN) -> TestResponse:
    return client.get("/metrics", headers={"Authorization": f"Bearer {token}"})


def samples(answer: TestResponse) -> dict[tuple[str, ...], float]:
    """Each value by its name and labels."""
    return {
        (sample.name.removeprefix("patient_sync_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def by_state(answer: TestResponse, figure: str) -> dict[str, float]:
    return {name[1]: value for name, value in samples(answer).items() if name[0] == figure}


def test_the_readme_names_each_figure(client: FlaskClient) -> None:
    named = set(re.findall(r"`(patient_sync_\w+)`", (ROOT / "README.md").read_text()))
    assert named == set(re.findall(r"^# TYPE (\w+)", ask(client).text, re.M))


def test_it_tells_how_syncs_ended_and_when_a_clinic_was_last_in_step(
    client: FlaskClient, cast: Cast
) -> None:
    make_log(cast.surf)
    make_log(cast.surf, SyncStatus.FAILED, error_code="CLINIKO_AUTH_FAILED", error_message="No.")
    make_log(
        cast.northside, SyncStatus.RUNNING, started_at=now(), worker="w", lease_expires_at=now()
    )

    found = samples(ask(client))

    assert found["syncs_total", "", "completed"] == 1
    assert found["syncs_total", "CLINIKO_AUTH_FAILED", "failed"] == 1
    assert found["syncs_total", "", "running"] == 1
    surf = str(cast.surf.id)
    assert found["last_success_timestamp_seconds", surf] == MORNING.timestamp() + 262
    assert found["last_success_duration_seconds", surf] == 262
    assert found["oldest_beat_seconds",] >= LEASE.total_seconds()
    assert (found["queue_length",], found["workers",]) == (0, 0)


def test_a_sync_that_is_said_to_have_ended_later_than_now_is_no_last_success(
    client: FlaskClient, cast: Cast
) -> None:
    """It would keep whoever compares it with now from being alarmed."""
    make_log(cast.surf)
    make_log(cast.surf, started_at=now() + timedelta(hours=11))

    at = samples(ask(client))["last_success_timestamp_seconds", str(cast.surf.id)]
    assert at == MORNING.timestamp() + 262


def test_a_sync_that_was_handed_over_and_waits_is_no_quiet_one(
    client: FlaskClient, cast: Cast
) -> None:
    make_log(cast.surf, SyncStatus.RUNNING, started_at=now(), lease_expires_at=now())

    assert ("oldest_beat_seconds",) not in samples(ask(client))


def test_nobody_is_alarmed_about_a_clinic_that_is_disabled_or_was_deleted(
    client: FlaskClient, cast: Cast
) -> None:
    surf, northside = str(cast.surf.id), str(cast.northside.id)
    make_log(cast.surf)
    make_log(cast.northside)
    suspension.disable(cast.surf, actor=cast.alice)
    suspension.delete(cast.northside, "Northside Physio", actor=cast.alice)

    found = samples(ask(client))

    assert ("last_success_timestamp_seconds", surf) not in found
    assert ("last_success_timestamp_seconds", northside) not in found


def test_it_counts_messages_to_webhooks(client: FlaskClient, cast: Cast) -> None:
    address = "https://hooks.example.com/secret-path"
    endpoint, _ = endpoints.add(cast.surf, address, SUBSCRIBABLE, actor=None)
    for _ in range(3):
        endpoints.send_test(endpoint, actor=None)
    answer = ask(client)
    assert by_state(answer, "webhook_messages") == {
        "waiting": 3,
        "held": 0,
        "delivered": 0,
        "failed": 0,
    }
    assert "hooks.example.com" not in answer.text
    endpoints.pause(endpoint, actor=None)
    found = by_state(ask(client), "webhook_messages")
    assert (found["waiting"], found["held"]) == (0, 3)


def test_it_counts_mails(client: FlaskClient, cast: Cast) -> None:
    with transaction() as session:
        for state in (NoticeState.FAILED, NoticeState.FAILED, NoticeState.UNWANTED):
            session.add(
                Notice(
                    organization_id=cast.surf.id,
                    kind=NoticeKind.FAILING,
                    recipient="bob@example.com",
                    subject="Syncs are failing",
                    text="Why",
                    state=state,
                )
            )
    answer = ask(client)
    found = by_state(answer, "mails")
    assert found == {"waiting": 0, "sent": 0, "failed": 2, "unwanted": 1}
    assert "bob@example.com" not in answer.text


def test_nobody_is_named_in_it(client: FlaskClient, cast: Cast) -> None:
    store(cast.surf, record(1, "Ottilie", "Quast", email="ottilie@example.com"))

    text = ask(client).text.lower()

    for word in ("ottilie", "quast", "example.com", "surf rehab"):
        assert word not in text


@pytest.mark.parametrize("token", ["", "another token", TOKEN + "x", "ümlaut"])
def test_it_opens_to_the_token_alone(client: FlaskClient, cast: Cast, token: str) -> None:
    answer = ask(client, token)

    assert (answer.status_code, answer.get_data()) == (401, b"")


def test_without_a_token_in_the_settings_there_is_none(app: Flask, client: FlaskClient) -> None:
    app.config["METRICS_TOKEN"] = None

    assert ask(client).status_code == 404
