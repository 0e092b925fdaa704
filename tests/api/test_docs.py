"""GET /api/docs: the page for people. Its examples are run in tests/contract/test_examples.py."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape

import pytest
from flask import Flask
from flask.testing import FlaskClient

from webapp.api.error_codes import ONLY_IN_SYNC_LOGS, STATUS
from webapp.api.openapi import document, operations
from webapp.api.reference import with_code
from webapp.errors import ErrorCode
from webapp.models import ChangeKind
from webapp.services import retention, retries
from webapp.sync.lease import QUEUE_LIMIT
from webapp.sync.recovery import NEVER_PICKED_UP, OUT_OF_REACH


@pytest.fixture
def page(client: FlaskClient) -> str:
    answer = client.get("/api/docs")
    assert answer.status_code == 200
    return answer.text


def test_it_tells_of_every_endpoint_and_every_error_code(app: Flask, page: str) -> None:
    for path, method, _, definition in operations(app):
        assert f"{method} {path}</code>" in page
        assert definition.summary in page
    for code in ErrorCode:
        meaning = page.split(f'<dt id="{code}">')[1].split("</dd>")[0]
        told = "error_details" if code in ONLY_IN_SYNC_LOGS else f"{STATUS[code].value}."
        assert told in meaning


@pytest.mark.parametrize(
    ("operation", "parameter", "told"),
    [
        ("active_patients", "orgId", "integer from 1 to 9,999,999,999,999,999. "),
        ("active_patients", "limit", "integer from 1, by default <code>50</code>. "),
        ("active_patients", "offset", "integer from 0 to 1,000,000. "),
        ("active_patients", "search", "string of at most 320 characters. "),
        (
            "sync_all",
            "Idempotency-Key",
            "header, string of 1 to 255 characters. 1 to 255 printable",
        ),
        ("issue_token", "email", "string of 1 to 320 characters"),
        ("issue_token", "code", "string of at most 64 characters or null. "),
        ("change_webhook", "address", "string of at most 2,048 characters or null. "),
        ("sync_logs", "logs[].id", "integer from 1"),
        ("sync_logs", "logs[].records_processed", "integer. "),
        ("sync_logs", "logs[].metadata.progress_percent", "number from 0 to 100. "),
    ],
)
def test_it_tells_how_long_and_how_large_a_value_may_be(
    operation: str, parameter: str, told: str, page: str
) -> None:
    section = page.split(f'<section class="card" id="{operation}"')[1].split("</section>")[0]
    assert f"<dt><code>{parameter}</code></dt><dd>{told}" in section


def test_the_former_address_of_a_start_has_no_limit_and_the_present_one_has(page: str) -> None:
    sections = {
        name: page.split(f'<section class="card" id="{name}"')[1].split("</section>")[0]
        for name in ("sync", "sync_all", "limits")
    }
    assert "<dt>Rate limit</dt>" not in sections["sync"]
    assert "<dt>Rate limit</dt><dd>1 per 5 minutes</dd>" in sections["sync_all"]
    assert "/cliniko/sync-all/{orgId}</code>" in sections["limits"]
    assert "/cliniko/sync/{orgId}</code>" not in sections["limits"]


def test_it_does_not_promise_that_a_failed_connection_test_uses_nothing_up(page: str) -> None:
    section = page.split('<section class="card" id="limits"')[1].split("</section>")[0]
    counted = section.split("use nothing up")[1]
    assert "counts, as does" in counted
    assert "a connection test that fails, whatever its status" in counted


def test_it_tells_of_every_trouble_of_ours_when_to_ask_again(page: str) -> None:
    section = page.split('<section class="card" id="again"')[1].split("</section>")[0]
    told = {STATUS[code] for code in set(STATUS) - ONLY_IN_SYNC_LOGS if STATUS[code] >= 500}
    for status in {*told, 429, 504}:
        assert f"<code>{int(status)}</code>" in section
    assert "<code>Retry-After</code>" in section


def test_it_shows_what_a_message_about_changes_holds(page: str) -> None:
    example = page.split("&#34;event&#34;: &#34;patients.changed&#34;")[1].split("</code>")[0]
    data = json.loads(unescape(example.split("&#34;data&#34;: ")[1]).rpartition("}")[0])
    assert list(data["changes"]) == list(ChangeKind)
    assert list(data)[-2:] == ["changes", "cursor"]


def test_it_tells_of_events_and_headers_what_the_document_tells(app: Flask, page: str) -> None:
    for event, message in document(app)["webhooks"].items():
        told = {event: message["post"]["description"]}
        told |= {each["name"]: each["description"] for each in message["post"]["parameters"]}
        for name, words in told.items():
            assert f"<dt><code>{name}</code></dt><dd>{with_code(words)}</dd>" in page


def test_it_tells_how_long_messages_wait_for_a_webhook_that_is_paused(page: str) -> None:
    days = retention.DAYS_OF_WHAT_HAS_ENDED
    assert f"what happens meanwhile waits for {days} days, and is sent when" in page
    assert f"While it is paused messages wait for {days} days." in page


def test_it_tells_how_long_a_receiver_is_left_alone_and_which_message_is_given_up(
    page: str,
) -> None:
    longest = retries.rest(99, None) // timedelta(minutes=1)
    assert f"a receiver that fails is left alone for up to {longest} minutes" in page
    assert retries.within_reason(timedelta(days=9)) == timedelta(days=1)
    assert "<code>Retry-After</code> is obeyed, for a day at most." in page
    assert "The message that led to the stop is given up (<code>failed</code>)" in page


def test_it_tells_how_long_a_sync_waits_for_a_worker(page: str) -> None:
    meaning = page.split('<dt id="QUEUE_UNAVAILABLE">')[1].split("</dd>")[0]
    minutes = QUEUE_LIMIT // timedelta(minutes=1)
    assert f"within {minutes} minutes while none was connected" in meaning
    assert f"within {3 * minutes} while the queue could not be reached" in meaning
    assert f"within {minutes} minutes, and none is connected" in NEVER_PICKED_UP.message
    assert f"within {3 * minutes} minutes, for the queue" in OUT_OF_REACH.message


def test_the_first_rule_tells_which_answers_are_not_ours(page: str) -> None:
    rule = page.split('id="rule-1"')[1].split("</li>")[0]
    assert re.findall(r"\d{3}", rule) == ["400", "400", "414", "431", "429", "413", "403"]


def test_every_link_of_the_page_leads_somewhere(client: FlaskClient, page: str) -> None:
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"', page):
        assert target in ids
    for address in set(re.findall(r'href="(/[^"#]*)"', page)):
        with client.get(address) as answer:
            assert answer.status_code in (200, 303), address


def test_the_rules_are_numbered_without_a_gap(page: str) -> None:
    numbers = [int(number) for number in re.findall(r'id="rule-(\d+)"', page)]

    assert numbers == list(range(1, len(numbers) + 1))


def test_what_stands_between_backticks_is_code_and_nothing_is_markup() -> None:
    assert with_code("a `b<c` <d>") == "a <code>b&lt;c</code> &lt;d&gt;"
