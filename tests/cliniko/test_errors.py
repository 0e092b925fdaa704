"""Every failure has a code for programs and a sentence for people."""

from __future__ import annotations

import pytest

from webapp.cliniko.errors import (
    AuthFailed,
    BadResponse,
    ClinikoError,
    Forbidden,
    MalformedRecord,
    RateLimited,
    TimedOut,
    Unavailable,
)

CODES = {
    AuthFailed: ("CLINIKO_AUTH_FAILED", False),
    Forbidden: ("CLINIKO_FORBIDDEN", False),
    RateLimited: ("CLINIKO_RATE_LIMITED", True),
    Unavailable: ("CLINIKO_UNAVAILABLE", True),
    TimedOut: ("CLINIKO_UNAVAILABLE", True),
    BadResponse: ("CLINIKO_BAD_RESPONSE", False),
}


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_a_failure_has_a_code_and_a_sentence(kind: type[ClinikoError]) -> None:
    error = kind(http_status=418, retry_after=7)

    assert (error.error_code, error.retryable) == CODES[kind]
    assert (error.http_status, error.retry_after) == (418, 7)
    assert error.message == str(error)
    assert error.message.endswith(".")


def test_no_kind_of_failure_is_forgotten_here() -> None:
    def kinds(parent: type[ClinikoError]) -> set[type[ClinikoError]]:
        return {parent}.union(*map(kinds, parent.__subclasses__()))

    assert kinds(ClinikoError) - {ClinikoError} == set(CODES)


def test_a_malformed_record_says_whose_it_is_and_why() -> None:
    error = MalformedRecord("123", "email", "is not a text")

    assert (error.cliniko_patient_id, error.field, error.reason) == (
        "123",
        "email",
        "is not a text",
    )
    assert str(error) == "email: is not a text"
