"""What can go wrong, in words for people.

An error knows its code and its details, never an HTTP status: the edge translates.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """Every `error_code` that a client can meet."""

    AUTHENTICATION_REQUIRED = "AUTHENTICATION_REQUIRED"
    INSUFFICIENT_PERMISSIONS = "INSUFFICIENT_PERMISSIONS"
    INVALID_ORGANIZATION_ID = "INVALID_ORGANIZATION_ID"
    ORGANIZATION_NOT_FOUND = "ORGANIZATION_NOT_FOUND"
    ORGANIZATION_DISABLED = "ORGANIZATION_DISABLED"
    CURSOR_EXPIRED = "CURSOR_EXPIRED"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    RATE_LIMITED = "RATE_LIMITED"
    QUEUE_UNAVAILABLE = "QUEUE_UNAVAILABLE"
    SYNC_ALREADY_RUNNING = "SYNC_ALREADY_RUNNING"
    SYNC_NOT_RUNNING = "SYNC_NOT_RUNNING"
    SYNC_CANCELLED = "SYNC_CANCELLED"
    SYNC_INTERRUPTED = "SYNC_INTERRUPTED"
    SYNC_TIMEOUT = "SYNC_TIMEOUT"
    CLINIKO_AUTH_FAILED = "CLINIKO_AUTH_FAILED"
    CLINIKO_FORBIDDEN = "CLINIKO_FORBIDDEN"
    CLINIKO_RATE_LIMITED = "CLINIKO_RATE_LIMITED"
    CLINIKO_UNAVAILABLE = "CLINIKO_UNAVAILABLE"
    CLINIKO_BAD_RESPONSE = "CLINIKO_BAD_RESPONSE"
    CLINIKO_NOT_CONFIGURED = "CLINIKO_NOT_CONFIGURED"
    CLINIKO_ACCOUNT_MISMATCH = "CLINIKO_ACCOUNT_MISMATCH"
    CREDENTIALS_UNREADABLE = "CREDENTIALS_UNREADABLE"
    DATABASE_CONSTRAINT_ERROR = "DATABASE_CONSTRAINT_ERROR"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    STORAGE_FULL = "STORAGE_FULL"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class AppError(Exception):
    """An expected failure: a code for programs, a sentence for people, details as JSON values."""

    error_code: ClassVar[ErrorCode] = ErrorCode.INTERNAL_ERROR
    default_message: ClassVar[str] = (
        "Something went wrong on our side. Try again; if it stays, tell whoever runs Patient Sync."
    )
    retry_after: int | None = None  # seconds

    def __init__(self, message: str | None = None, /, **details: object) -> None:
        self.message = message or self.default_message
        self.details = details
        super().__init__(self.message)


class ValidationError(AppError):
    error_code = ErrorCode.VALIDATION_ERROR

    def __init__(self, message: str, /, *, parameter: str, **details: object) -> None:
        super().__init__(message, parameter=parameter, **details)
        self.parameter = parameter


class AddressTaken(ValidationError):
    def __init__(self, message: str = "Somebody with this e-mail address exists already.") -> None:
        super().__init__(message, parameter="email")


class AccountClosed(ValidationError):
    def __init__(self) -> None:
        super().__init__(
            "Your account was closed after a hundred wrong passwords or codes in a row. Ask an "
            "admin for a link to choose another password: it opens the account again.",
            parameter="current",
        )


class SentByOthers(ValidationError):
    def __init__(self) -> None:
        super().__init__(
            "This was sent by a page of another site, so nothing was done. Open the page here, "
            "then repeat what you did.",
            parameter="Origin",
        )


class AuthenticationRequired(AppError):
    error_code = ErrorCode.AUTHENTICATION_REQUIRED
    default_message = (
        "Authentication is required. Send a valid token in the header Authorization: Bearer TOKEN."
    )


class SecondFactorRequired(AppError):
    error_code = ErrorCode.AUTHENTICATION_REQUIRED
    default_message = (
        "You need a second factor here. Sign in to the dashboard with a browser, "
        "which leads to setting it up, then ask again with a code."
    )


class InsufficientPermissions(AppError):
    error_code = ErrorCode.INSUFFICIENT_PERMISSIONS
    default_message = "You do not have permission to do this. Ask an admin of Patient Sync."

    def __init__(self, asked: str | None = None, /, **details: object) -> None:
        """`asked` is what was asked for, which the audit trail keeps and nobody is told."""
        super().__init__(**details)
        self.asked = asked


class ProofRequired(InsufficientPermissions):
    default_message = "Enter your password again first. Nothing was changed."


class InvalidOrganizationId(AppError):
    error_code = ErrorCode.INVALID_ORGANIZATION_ID
    default_message = "The organization id must be a whole number from 1 with at most 16 digits."


class OrganizationNotFound(AppError):
    error_code = ErrorCode.ORGANIZATION_NOT_FOUND
    default_message = "There is no organization with this id. Verify the id."


class OrganizationDisabled(AppError):
    error_code = ErrorCode.ORGANIZATION_DISABLED
    default_message = (
        "This clinic is disabled: only admins can see it, and no sync starts. An admin can enable "
        "it in its settings."
    )


class NotFound(AppError):
    error_code = ErrorCode.NOT_FOUND
    default_message = "There is nothing at this address. Check it for a typing mistake."


class NotYours(NotFound):
    """Told like what does not exist, and recorded as a refusal."""

    def __init__(self, asked: str, /) -> None:
        """`asked` is what was asked for, which the audit trail keeps and nobody is told."""
        super().__init__()
        self.asked = asked


class RemovalsNotHeld(NotFound):
    default_message = (
        "These patients are not held any more: a later sync has looked again. Nothing was changed."
    )


class CursorExpired(AppError):
    error_code = ErrorCode.CURSOR_EXPIRED
    default_message = (
        "Changes that follow this cursor are not kept any more, or there never was such a cursor. "
        "Read all patients once (state=all, after_id=0 and so on), then go on without a cursor."
    )


class RateLimited(AppError):
    error_code = ErrorCode.RATE_LIMITED

    def __init__(self, message: str, /, *, retry_after: int, **details: object) -> None:
        super().__init__(message, **details)
        self.retry_after = max(1, retry_after)


class SignInLimited(RateLimited):
    """Passwords or codes were guessed too often."""


class QueueUnavailable(AppError):
    error_code = ErrorCode.QUEUE_UNAVAILABLE
    default_message = (
        "The job queue cannot be reached, so nothing was started. Try again in half a minute."
    )
    retry_after = 30


class DatabaseUnavailable(AppError):
    error_code = ErrorCode.DATABASE_UNAVAILABLE
    default_message = "The database cannot be reached or is too busy. Try again in a moment."
    retry_after = 5


class AuditUnavailable(AppError):
    error_code = ErrorCode.DATABASE_UNAVAILABLE
    default_message = (
        "This cannot be recorded in the audit trail just now, so it was neither done nor shown. "
        "Try again in a moment; if it stays, tell whoever runs Patient Sync."
    )
    retry_after = 30


class SyncAlreadyRunning(AppError):
    error_code = ErrorCode.SYNC_ALREADY_RUNNING
    default_message = "A sync of this organization is already running. Wait for it to complete."


class SyncNotRunning(AppError):
    error_code = ErrorCode.SYNC_NOT_RUNNING
    default_message = "No sync of this organization is running, so there is nothing to cancel."


class ClinikoNotConfigured(AppError):
    error_code = ErrorCode.CLINIKO_NOT_CONFIGURED
    default_message = "No Cliniko API key is stored for this clinic. Add the key in its settings."


class SecretUnreadable(AppError):
    error_code = ErrorCode.CREDENTIALS_UNREADABLE
    default_message = (
        "A stored secret cannot be decrypted with the configured encryption keys. Restore the "
        "earlier encryption key, or enter the secret again."
    )


class CredentialsUnreadable(SecretUnreadable):
    default_message = (
        "The stored Cliniko API key cannot be decrypted with the configured encryption keys. "
        "Restore the earlier encryption key, or enter the Cliniko key again."
    )


class AccountMismatch(AppError):
    error_code = ErrorCode.CLINIKO_ACCOUNT_MISMATCH
    default_message = (
        "This API key belongs to another Cliniko account than the one this clinic was first "
        "connected to. Nothing was changed. Use a key of the first account, or add the other "
        "account as a new clinic."
    )
