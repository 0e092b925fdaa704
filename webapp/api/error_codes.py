"""Every error code: its HTTP status, what it means, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from webapp.errors import ErrorCode


@dataclass(frozen=True)
class Meaning:
    """What stands in the documentation. `status` of those that only a sync log tells is the one
    that they would have."""

    status: HTTPStatus
    cause: str
    remedy: str


MEANINGS = {
    ErrorCode.AUTHENTICATION_REQUIRED: Meaning(
        HTTPStatus.UNAUTHORIZED,
        "There is no token, or it is expired, revoked or not one of ours; at the token endpoint: "
        "the e-mail address, the password or the code of the second factor is wrong or missing.",
        "Get a new token and send it as `Authorization: Bearer TOKEN`.",
    ),
    ErrorCode.INSUFFICIENT_PERMISSIONS: Meaning(
        HTTPStatus.FORBIDDEN,
        "The role does not allow it, or the clinic is not the caller's. Clinics that do not exist "
        "look the same to managers and viewers.",
        "Use the token of somebody who may, or ask an admin.",
    ),
    ErrorCode.INVALID_ORGANIZATION_ID: Meaning(
        HTTPStatus.BAD_REQUEST,
        "The id in the address is not a whole number from 1 with at most 16 digits.",
        "Take the id from `GET /organizations`.",
    ),
    ErrorCode.ORGANIZATION_NOT_FOUND: Meaning(
        HTTPStatus.NOT_FOUND,
        "There is no clinic with this id. Only admins are told.",
        "Take the id from `GET /organizations`.",
    ),
    ErrorCode.ORGANIZATION_DISABLED: Meaning(
        HTTPStatus.FORBIDDEN,
        "An admin has disabled the clinic: nobody else can see it, and no sync starts.",
        "Ask an admin to enable it in its settings.",
    ),
    ErrorCode.VALIDATION_ERROR: Meaning(
        HTTPStatus.BAD_REQUEST,
        "A parameter, a header or the body cannot be used; `details.parameter` names the culprit. "
        "A body that is not sent as `application/json` has the status 415.",
        "Correct it as the message says.",
    ),
    ErrorCode.NOT_FOUND: Meaning(
        HTTPStatus.NOT_FOUND,
        "There is nothing at this address, or the clinic has no sync, webhook or message with this "
        "id.",
        "Check the address and the id.",
    ),
    ErrorCode.CURSOR_EXPIRED: Meaning(
        HTTPStatus.GONE,
        "Changes that follow the cursor are older than 400 days and were deleted, or the clinic's "
        "changes never came as far as the cursor.",
        "Read all patients once, with `state=all` and `after_id=0` and so on, then the changes "
        "without a cursor.",
    ),
    ErrorCode.METHOD_NOT_ALLOWED: Meaning(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "The address is known, but not with this method.",
        "Use one of those in the header `Allow`.",
    ),
    ErrorCode.PAYLOAD_TOO_LARGE: Meaning(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than 1 MiB.", "Send less."
    ),
    ErrorCode.RATE_LIMITED: Meaning(
        HTTPStatus.TOO_MANY_REQUESTS,
        "The endpoint was asked too often, or the clinic was synced less than five minutes ago, or "
        "ten of its syncs were started within five minutes.",
        "Wait as many seconds as `Retry-After` says, until `details.retry_at`.",
    ),
    ErrorCode.SYNC_ALREADY_RUNNING: Meaning(
        HTTPStatus.TOO_MANY_REQUESTS,
        "The clinic has a sync that still runs; `details` tells which, of what type, since when "
        "and how far.",
        "Follow `details.sync_log_id` in the sync logs; if it is of another type, then start "
        "yours.",
    ),
    ErrorCode.SYNC_NOT_RUNNING: Meaning(
        HTTPStatus.CONFLICT, "There is no sync to cancel.", "Nothing: none is running."
    ),
    ErrorCode.QUEUE_UNAVAILABLE: Meaning(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The job queue cannot be reached, so nothing was started; a failed sync stays in the sync "
        "logs, and `sync.failed` tells of it. In `error_details` also of a sync that no worker "
        "picked up: within 5 minutes while none was connected, or within 15 while the queue could "
        "not be reached.",
        "Try again as `Retry-After` says; where no worker came, see first that one runs.",
    ),
    ErrorCode.CLINIKO_AUTH_FAILED: Meaning(
        HTTPStatus.UNAUTHORIZED,
        "Cliniko does not accept the clinic's API key.",
        "Enter a new key in the clinic's settings.",
    ),
    ErrorCode.CLINIKO_FORBIDDEN: Meaning(
        HTTPStatus.FORBIDDEN,
        "Cliniko accepts the key, but its user may not read patients.",
        "Give the user of the key that right in Cliniko, or use another user's key.",
    ),
    ErrorCode.CLINIKO_NOT_CONFIGURED: Meaning(
        HTTPStatus.UNAUTHORIZED,
        "The clinic has no Cliniko API key.",
        "Enter one in the clinic's settings.",
    ),
    ErrorCode.CLINIKO_ACCOUNT_MISMATCH: Meaning(
        HTTPStatus.CONFLICT,
        "The key opens another Cliniko account than the clinic was first connected to.",
        "Use a key of the first account, or add the other account as a new clinic.",
    ),
    ErrorCode.CLINIKO_RATE_LIMITED: Meaning(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Cliniko wants us to ask less often.",
        "Wait as many seconds as `Retry-After` says.",
    ),
    ErrorCode.CLINIKO_UNAVAILABLE: Meaning(
        HTTPStatus.BAD_GATEWAY,
        "Cliniko has trouble, or cannot be reached. A time-out has the status 504.",
        "Try again later.",
    ),
    ErrorCode.CLINIKO_BAD_RESPONSE: Meaning(
        HTTPStatus.BAD_GATEWAY,
        "Cliniko's answer cannot be understood.",
        "Try again later; if it stays, tell whoever runs Patient Sync.",
    ),
    ErrorCode.CREDENTIALS_UNREADABLE: Meaning(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The stored Cliniko key of the clinic, or at the token endpoint the stored secret of the "
        "second factor, cannot be decrypted.",
        "Restore the encryption key, or enter the Cliniko key or the second factor anew.",
    ),
    ErrorCode.DATABASE_CONSTRAINT_ERROR: Meaning(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The database refused a row.",
        "Run the database migration.",
    ),
    ErrorCode.DATABASE_UNAVAILABLE: Meaning(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database is away or too busy.",
        "Try again as `Retry-After` says.",
    ),
    ErrorCode.STORAGE_FULL: Meaning(
        HTTPStatus.INSUFFICIENT_STORAGE,
        "The database has no room left.",
        "Make room on its disk.",
    ),
    ErrorCode.SYNC_CANCELLED: Meaning(
        HTTPStatus.CONFLICT,
        "Somebody cancelled the sync. What was stored until then is kept.",
        "Start it again when you like.",
    ),
    ErrorCode.SYNC_INTERRUPTED: Meaning(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The worker was lost, or could not write to the database for long, and no other could take "
        "over.",
        "Start the sync again.",
    ),
    ErrorCode.SYNC_TIMEOUT: Meaning(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The sync took longer than any sync may.",
        "Start it again; if it stays, tell whoever runs Patient Sync.",
    ),
    ErrorCode.INTERNAL_ERROR: Meaning(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong on our side.",
        "Try again; if it stays, tell whoever runs Patient Sync the `X-Request-ID`.",
    ),
}

# What no request is answered with: it stands in `error_details` of a sync log.
ONLY_IN_SYNC_LOGS = frozenset(
    {
        ErrorCode.DATABASE_CONSTRAINT_ERROR,
        ErrorCode.STORAGE_FULL,
        ErrorCode.SYNC_CANCELLED,
        ErrorCode.SYNC_INTERRUPTED,
        ErrorCode.SYNC_TIMEOUT,
    }
)

STATUS = {code: meaning.status for code, meaning in MEANINGS.items()}
