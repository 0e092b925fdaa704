"""Each way in which Cliniko can fail: what is tried again, how patiently, and what is said."""

from __future__ import annotations

import json
import ssl
import traceback
from collections.abc import Callable
from itertools import pairwise

import pytest
import requests
import responses
import time_machine
import urllib3.exceptions
from requests import exceptions as requests_exceptions

from tests.cliniko.stand_ins import BASE, BASIC, KEY, NotingBudget, Watched
from webapp.cliniko.answer import MAX_BODY
from webapp.cliniko.client import Listing
from webapp.cliniko.errors import (
    AuthFailed,
    BadResponse,
    ClinikoError,
    Forbidden,
    RateLimited,
    TimedOut,
    Unavailable,
)
from webapp.cliniko.records import PatientRecord, PatientState
from webapp.cliniko.throttle import FOR_PEOPLE, RetryPolicy, WaitReason

PATIENTS = f"{BASE}/patients"
GOOD = {"patients": [], "total_entries": 0}
GOOD_TEXT = json.dumps(GOOD)
JSON = "application/json"


def ask(watched: Watched) -> None:
    with watched.client as client:
        client.get_page(Listing.ACTIVE)


def add_good(answers: responses.RequestsMock) -> None:
    answers.get(PATIENTS, json=GOOD)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthFailed), (403, Forbidden)]
    + [(status, BadResponse) for status in (400, 404, 405, 409, 410, 418, 422)]
    + [(status, BadResponse) for status in (300, 301, 302, 303, 304, 307, 308)],
)
def test_what_a_status_says_plainly_is_not_asked_again(
    watched: Watched, answers: responses.RequestsMock, status: int, kind: type[ClinikoError]
) -> None:
    answers.get(PATIENTS, status=status, json=GOOD)

    with pytest.raises(kind) as error:
        ask(watched)

    assert type(error.value) is kind
    assert error.value.http_status == status
    assert watched.client.requests_made == 1
    assert watched.waiter.waits == []


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599])
@pytest.mark.parametrize("times", [1, 4])
def test_trouble_of_cliniko_s_own_passes(
    watched: Watched, answers: responses.RequestsMock, status: int, times: int
) -> None:
    for _ in range(times):
        answers.get(PATIENTS, status=status, body="<h1>Sorry</h1>", content_type="text/html")
    add_good(answers)

    ask(watched)

    assert watched.client.requests_made == times + 1
    waits = watched.waiter.seconds(WaitReason.RETRY)
    for wait, middle in zip(waits, [1, 2, 4, 8][:times], strict=True):
        assert 0.8 * middle <= wait <= 1.2 * middle


def test_trouble_that_lasts_is_told_after_five_tries(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    answers.get(PATIENTS, status=502, body="<h1>Sorry</h1>", content_type="text/html")

    with pytest.raises(Unavailable) as error:
        ask(watched)

    assert error.value.http_status == 502
    assert watched.client.requests_made == 5
    waits = watched.waiter.seconds(WaitReason.RETRY)
    assert len(waits) == 4
    assert all(one < other for one, other in pairwise(waits))


def test_it_comes_back_when_a_503_says(watched: Watched, answers: responses.RequestsMock) -> None:
    answers.get(PATIENTS, status=503, headers={"Retry-After": "17"})
    add_good(answers)

    ask(watched)

    assert watched.waiter.waits == [(WaitReason.RETRY, 17)]


def test_a_refusal_is_waited_out_and_holds_everybody_with_the_key(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    date = "Sun, 01 Mar 2026 12:00:00 GMT"
    answers.get(PATIENTS, status=429, headers={"X-RateLimit-Reset": "1772366420", "Date": date})
    add_good(answers)

    ask(watched)

    assert watched.budget.held == [20]
    assert watched.waiter.waits == [(WaitReason.RATE_LIMITED, 20)]
    assert watched.client.requests_made == 2


@time_machine.travel("2026-03-01T12:00:00.600Z", tick=False)
def test_it_never_comes_back_before_the_reset(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    answers.get(PATIENTS, status=429, headers={"X-RateLimit-Reset": "1772366420"})
    add_good(answers)

    ask(watched)

    assert watched.waiter.waits == [(WaitReason.RATE_LIMITED, 20)]


def test_a_refusal_that_does_not_say_until_when_is_waited_out_longer_each_time(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    for _ in range(6):
        answers.get(PATIENTS, status=429)
    add_good(answers)

    ask(watched)

    waits = watched.waiter.seconds(WaitReason.RATE_LIMITED)
    for wait, middle in zip(waits, [5, 10, 20, 40, 60, 60], strict=True):
        assert 0.9 * middle <= wait <= 1.1 * middle
    assert watched.budget.held == waits


def test_a_refusal_for_ever_is_told_after_ten_minutes(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    answers.get(PATIENTS, status=429, headers={"Retry-After": "60"})

    with pytest.raises(RateLimited) as error:
        ask(watched)

    assert sum(watched.waiter.seconds(WaitReason.RATE_LIMITED)) == 600
    assert (error.value.http_status, error.value.retry_after) == (429, 60)
    assert watched.budget.held == [60] * 11  # the last one for those who come after us


def test_refusals_do_not_use_up_the_tries(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    for status in (429, 500, 429, 500, 429, 500, 429, 500, 429):
        answers.get(PATIENTS, status=status)
    add_good(answers)

    ask(watched)

    assert watched.client.requests_made == 10


@pytest.mark.parametrize(
    ("status", "kind"), [(429, RateLimited), (500, Unavailable), (200, BadResponse)]
)
def test_a_connection_test_does_not_wait(
    answers: responses.RequestsMock, status: int, kind: type[ClinikoError]
) -> None:
    answers.get(PATIENTS, status=status, body="no JSON", headers={"Retry-After": "31"})
    watched = Watched(policy=FOR_PEOPLE)

    with pytest.raises(kind) as error:
        ask(watched)

    assert watched.waiter.waits == []
    assert watched.client.requests_made == 1
    assert error.value.retry_after == (31 if status == 429 else None)


def test_a_connection_test_does_not_wait_for_the_budget_either(
    answers: responses.RequestsMock,
) -> None:
    watched = Watched(policy=FOR_PEOPLE, budget=NotingBudget(12.3))

    with pytest.raises(RateLimited) as error:
        ask(watched)

    assert error.value.retry_after == 13
    assert len(answers.calls) == 0
    assert watched.client.requests_made == 0


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (GOOD_TEXT, "text/html"),
        (GOOD_TEXT, "text/plain"),
        (GOOD_TEXT, "application/jsonp"),
        (GOOD_TEXT, ""),
        ("<h1>Maintenance</h1>", "text/html"),
        ("<h1>Maintenance</h1>", JSON),
        ("", JSON),
        (GOOD_TEXT[:-5], JSON),
        (GOOD_TEXT + "}", JSON),
        (b"\xef\xbb\xbf" + GOOD_TEXT.encode(), JSON),
        (GOOD_TEXT.encode("utf-16"), JSON),
        (GOOD_TEXT.encode("utf-16-le"), JSON),
        (b'{"patients": ["\xe9"], "total_entries": 0}', JSON),
        ('{"patients": [], "total_entries": NaN}', JSON),
        ('{"patients": [Infinity], "total_entries": 1}', JSON),
        ('{"patients": [{"notes": -Infinity}], "total_entries": 1}', JSON),
        ('{"patients": [], "patients": [], "total_entries": 0}', JSON),
        ('{"patients": [], "total_entries": 1, "total_entries": 0}', JSON),
        (
            '{"patients": [], "total_entries": 0, "links": {"next": null, "next": ""}}',
            "application/json",
        ),
        ("[" * 100_000, JSON),
        ('{"patients": [], "total_entries": %s}' % ("9" * 5000), JSON),
        ('{"patients": [], "total_entries": 10000001}', JSON),
        ("[]", JSON),
        ("null", JSON),
        ('"patients"', JSON),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_body_that_cannot_be_read_is_asked_for_three_times(
    watched: Watched, answers: responses.RequestsMock, body: str | bytes, kind: str
) -> None:
    answers.get(PATIENTS, body=body, content_type=kind)

    with pytest.raises(BadResponse) as error:
        ask(watched)

    assert watched.client.requests_made == 3
    assert len(watched.waiter.seconds(WaitReason.RETRY)) == 2
    assert "Maintenance" not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("status", [201, 202, 204, 206])
def test_a_success_that_is_no_answer_is_asked_again(
    watched: Watched, answers: responses.RequestsMock, status: int
) -> None:
    answers.get(PATIENTS, status=status, json=GOOD)

    with pytest.raises(BadResponse):
        ask(watched)

    assert watched.client.requests_made == 3


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_may_say_its_character_set(
    watched: Watched, answers: responses.RequestsMock, kind: str
) -> None:
    answers.get(PATIENTS, body=GOOD_TEXT, content_type=kind)

    ask(watched)

    assert watched.client.requests_made == 1


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"total_entries": 0},
        {"patients": []},
        {"patients": None, "total_entries": 0},
        {"patients": {}, "total_entries": 0},
        {"patients": "", "total_entries": 0},
        {"patients": [], "total_entries": None},
        {"patients": [], "total_entries": -1},
        {"patients": [], "total_entries": "0"},
        {"patients": [], "total_entries": 0.0},
        {"patients": [], "total_entries": False},
        {"patients": [], "total_entries": []},
        {"patients": [], "total_entries": 0, "links": "next"},
        {"patients": [], "total_entries": 0, "links": ["next"]},
        {"patients": [], "total_entries": 0, "links": {"next": 2}},
        {"patients": [], "total_entries": 0, "links": {"next": {}}},
    ],
)
@pytest.mark.parametrize("listing", list(Listing))
def test_a_list_with_parts_missing_is_never_the_end_of_the_list(
    watched: Watched, answers: responses.RequestsMock, content: object, listing: Listing
) -> None:
    answers.get(BASE + listing, json=content)

    with pytest.raises(BadResponse):
        watched.client.get_page(listing)

    assert watched.client.requests_made == 3


def test_an_answer_that_was_garbled_once_is_taken_the_second_time(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    answers.get(PATIENTS, json={"patients": None, "total_entries": 1})
    answers.get(PATIENTS, json={"patients": [{"id": "1"}], "total_entries": 1})

    assert watched.client.get_page(Listing.ACTIVE).records == [
        PatientRecord("1", PatientState.ACTIVE)
    ]


def test_a_body_may_have_twenty_megabytes(
    watched: Watched, answers: responses.RequestsMock
) -> None:
    answers.get(PATIENTS, body=GOOD_TEXT.ljust(MAX_BODY), content_type="application/json")

    ask(watched)

    assert watched.client.requests_made == 1


def test_a_larger_body_is_refused(answers: responses.RequestsMock) -> None:
    answers.get(PATIENTS, body=GOOD_TEXT.ljust(MAX_BODY + 1), content_type="application/json")
    watched = Watched(policy=RetryPolicy(bad_response_tries=1))

    with pytest.raises(BadResponse, match="far too large"):
        ask(watched)


class Cancelled(Exception):
    """What a waiter raises when somebody has cancelled the sync."""


@pytest.mark.parametrize("status", [429, 500, 204])
def test_what_a_waiter_raises_ends_everything(
    watched: Watched,
    answers: responses.RequestsMock,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    def cancel(seconds: float, reason: WaitReason) -> None:
        raise Cancelled

    answers.get(PATIENTS, status=status)
    monkeypatch.setattr(watched.waiter, "wait", cancel)

    with pytest.raises(Cancelled):
        ask(watched)

    assert watched.client.requests_made == 1


def kinds_of(parent: type[Exception]) -> list[type[Exception]]:
    return [parent, *(kind for child in parent.__subclasses__() for kind in kinds_of(child))]


def made(kind: type[Exception]) -> Exception:
    """An exception of this kind, however many things its maker would like to be told."""
    error = kind.__new__(kind)
    error.args = ("made by a test",)
    return error


LIBRARY_ERRORS = sorted(
    {
        kind
        for parent in (
            requests_exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            ssl.SSLError,
            ConnectionError,
            TimeoutError,
            OSError,
            UnicodeError,
        )
        for kind in kinds_of(parent)
        if kind.__module__.split(".")[0] in {"requests", "urllib3", "ssl", "builtins", "socket"}
    },
    key=lambda kind: f"{kind.__module__}.{kind.__qualname__}",
)


@pytest.mark.parametrize("kind", LIBRARY_ERRORS, ids=lambda kind: kind.__name__)
def test_no_exception_of_a_library_escapes(
    answers: responses.RequestsMock, kind: type[Exception]
) -> None:
    answers.get(PATIENTS, body=made(kind))
    watched = Watched(policy=FOR_PEOPLE)

    with pytest.raises(ClinikoError) as error:
        ask(watched)

    assert KEY not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    "raised",
    [
        requests.ConnectTimeout("slow"),
        requests.ReadTimeout("slow"),
        urllib3.exceptions.ReadTimeoutError(None, None, "slow"),  # type: ignore[arg-type]
        TimeoutError("slow"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_time_out_is_told_as_one(answers: responses.RequestsMock, raised: Exception) -> None:
    answers.get(PATIENTS, body=raised)
    watched = Watched(policy=RetryPolicy(tries=2))

    with pytest.raises(TimedOut):
        ask(watched)

    assert watched.client.requests_made == 2


def status(number: int) -> Callable[[responses.RequestsMock], None]:
    def add(answers: responses.RequestsMock) -> None:
        answers.get(PATIENTS, status=number, body=f"{KEY} {BASIC} canary")

    return add


def breaks(error: Exception) -> Callable[[responses.RequestsMock], None]:
    def add(answers: responses.RequestsMock) -> None:
        answers.get(PATIENTS, body=error)

    return add


@pytest.mark.parametrize(
    "fail",
    [status(number) for number in (200, 204, 302, 400, 401, 403, 404, 422, 429, 500, 503)]
    + [breaks(requests.ConnectionError("refused")), breaks(requests.exceptions.SSLError("bad"))],
)
def test_neither_the_key_nor_the_body_is_in_what_is_told(
    answers: responses.RequestsMock, fail: Callable[[responses.RequestsMock], None]
) -> None:
    fail(answers)
    watched = Watched(policy=FOR_PEOPLE)

    with pytest.raises(ClinikoError) as caught:
        ask(watched)

    error = caught.value
    told = str(error) + repr(error) + repr(vars(error))
    told += "".join(traceback.format_exception(error))
    for secret in (KEY, KEY.rpartition("-")[0], BASIC, BASIC.split()[1], "canary"):
        assert secret not in told
