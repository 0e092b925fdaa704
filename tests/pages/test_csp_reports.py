"""POST /csp-report"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.pages.visitor import Visitor
from webapp.pages.csp_reports import LONGEST, MOST

Kept = Callable[[object], list[dict[str, Any]]]

NESTED = b"[" * 8000
REPORT = {
    "document-uri": "https://sync.example/invitation?secret=xyz",
    "effective-directive": "script-src-elem",
    "blocked-uri": "https://evil.example/x.js?patient=Olivia",
    "script-sample": "Olivia",
}


def report(visitor: Visitor, told: object) -> TestResponse:
    """What a browser sends by itself: no form, and no token."""
    body = told if isinstance(told, bytes) else json.dumps({"csp-report": told}).encode()
    return visitor.client.post("/csp-report", data=body, content_type="application/csp-report")


@pytest.fixture
def kept(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> Kept:
    """Sends a report, and gives what was logged of it."""

    def kept(told: object) -> list[dict[str, Any]]:
        assert report(visitor, told).status_code == 204
        return violations(caplog)

    return kept


def violations(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    told = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [line for line in told if line["event"] == "csp_violation"]


def test_a_report_is_logged_without_what_could_be_secret(kept: Kept) -> None:
    (line,) = kept(REPORT)

    assert (line["directive"], line["page"]) == ("script-src-elem", "/invitation")
    assert line["blocked"] == "evil.example"
    assert "Olivia" not in str(line)
    assert "xyz" not in str(line)


@pytest.mark.parametrize("word", ["inline", "eval"])
def test_what_has_no_address_is_told_by_its_word(kept: Kept, word: str) -> None:
    (line,) = kept(REPORT | {"blocked-uri": word})

    assert line["blocked"] == word


@pytest.mark.parametrize("odd", ["", "Olivia Nguyen", "http://[", "\n{}", "x" * 200])
def test_odd_values_are_left_out(kept: Kept, odd: object) -> None:
    (line,) = kept(dict.fromkeys(REPORT, odd))

    assert (line["directive"], line["page"], line["blocked"]) == ("", "", "")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"csp-report": 7}', NESTED, b"\xff"])
def test_what_is_no_report_is_passed_over(kept: Kept, body: bytes) -> None:
    assert kept(body) == []


def test_a_flood_is_not_written_down(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    answers = [report(visitor, REPORT).status_code for _ in range(MOST.amount + 20)]

    assert answers == [204] * MOST.amount + [429] * 20
    assert len(violations(caplog)) == MOST.amount


def test_a_long_one_is_refused(visitor: Visitor) -> None:
    assert report(visitor, b" " * (LONGEST + 1)).status_code == 413
