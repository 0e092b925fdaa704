"""What can go wrong with Cliniko.

ClinikoError
├── AuthFailed       401: the key is wrong or was revoked
├── Forbidden        403: the key's user may not see this
├── RateLimited      429, and waiting did not help
├── Unavailable      5xx, refused, reset, cut short
│   └── TimedOut     no answer in time
└── BadResponse      an answer that is not what Cliniko's documentation promises

InvalidKey           a key of a form that no Cliniko key has; nothing was asked
MalformedRecord      one record that cannot be stored
"""

from __future__ import annotations

from typing import ClassVar


class ClinikoError(Exception):
    """Cliniko did not give what was asked for. The message is for people and holds no content."""

    error_code: ClassVar[str]
    default_message: ClassVar[str]
    retryable: bool = False

    def __init__(
        self,
        message: str | None = None,
        *,
        http_status: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.message = message or self.default_message
        self.http_status = http_status
        self.retry_after = retry_after
        super().__init__(self.message)


class AuthFailed(ClinikoError):
    error_code = "CLINIKO_AUTH_FAILED"
    default_message = (
        "Cliniko does not accept the API key. Create a new key in Cliniko and enter it in the "
        "settings of the clinic."
    )


class Forbidden(ClinikoError):
    error_code = "CLINIKO_FORBIDDEN"
    default_message = (
        "The API key's user may not see the patients in Cliniko. Give that user the right, or use "
        "the key of a user who has it."
    )


class RateLimited(ClinikoError):
    error_code = "CLINIKO_RATE_LIMITED"
    default_message = "Cliniko takes no more requests from this key for now. Try again in a minute."
    retryable = True


class Unavailable(ClinikoError):
    error_code = "CLINIKO_UNAVAILABLE"
    default_message = "Cliniko cannot be reached, or has trouble of its own. Try again later."
    retryable = True


class TimedOut(Unavailable):
    default_message = "Cliniko did not answer in time. Try again later."


class BadResponse(ClinikoError):
    error_code = "CLINIKO_BAD_RESPONSE"
    default_message = "Cliniko sent an answer that cannot be understood. Try again later."


class InvalidKey(ValueError):
    """No Cliniko key looks like this. The message is for people and does not repeat the key."""


class MalformedRecord(Exception):
    """A record that cannot be stored: whose, which field, and why; never the value itself."""

    def __init__(self, cliniko_patient_id: str | None, field: str, reason: str) -> None:
        self.cliniko_patient_id = cliniko_patient_id
        self.field = field
        self.reason = reason
        super().__init__(f"{field}: {reason}")
