"""POST /cliniko/sync-all, its former name /sync, /sync-changes, and /cancel."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from flask import request, url_for
from pydantic import Field
from werkzeug.http import http_date

from webapp import limits
from webapp.api.blueprints import guarded
from webapp.api.endpoint import Endpoint
from webapp.api.shapes import Answer, Id
from webapp.auth.access import Action
from webapp.auth.bearer import current_actor
from webapp.errors import ErrorCode, ValidationError
from webapp.models import OperationType, Organization, SyncOrigin, SyncStatus
from webapp.sync.start import cancel_sync, start_once
from webapp.sync.window import start_window

SYNC_DEPRECATED = datetime(2026, 11, 1, tzinfo=UTC)
SYNC_ENDS = datetime(2027, 11, 1, tzinfo=UTC)
IDEMPOTENCY_KEY = "Idempotency-Key"
LONGEST_KEY = 255
KEY_PARAMETER = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": f"1 to {LONGEST_KEY} printable ASCII characters of your own, new for each start "
    "that you mean.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"},
}
_STARTED = {
    OperationType.FULL_PATIENTS: "Full patient sync",
    OperationType.ACTIVE_PATIENTS: "Active patients sync",
    OperationType.CHANGED_PATIENTS: "Sync of changes",
}


class Started(Answer):
    """A sync that was accepted."""

    success: Literal[True] = True
    message: str
    operation_type: OperationType
    expected_duration: Annotated[
        str, Field(description="From the clinic's own size and history, where known.")
    ]
    sync_log_id: Annotated[Id, Field(description="The sync's id in the sync logs.")]


class Moved(Answer):
    """Where a deprecated endpoint went."""

    message: str
    location: str


class Cancelled(Answer):
    """A sync that was asked to stop."""

    success: Literal[True] = True
    message: str
    sync_log_id: Id
    status: Annotated[
        SyncStatus,
        Field(description="`failed` where it had not begun; otherwise it stops in a moment."),
    ]


@guarded.post("/cliniko/sync-all/<org_id>")
@Endpoint(
    summary="Start a sync of all patients",
    description=(
        "Active, archived, merged and deleted ones. The very first poll of the sync logs shows "
        "the new sync. One start is accepted in five minutes for a clinic, whoever asks; a sync "
        "that failed and new credentials give it back, and refusals use nothing up. With an "
        "`Idempotency-Key`, asking again within 24 hours gives the same answer and starts nothing."
    ),
    tag="Syncs",
    action=Action.START_SYNC,
    takes_idempotency_key=True,
    example=Started(
        message="Full patient sync started for organization 123",
        operation_type=OperationType.FULL_PATIENTS,
        expected_duration="30-120 seconds",
        sync_log_id=456,
    ),
    errors=(
        ErrorCode.SYNC_ALREADY_RUNNING,
        ErrorCode.CLINIKO_NOT_CONFIGURED,
        ErrorCode.QUEUE_UNAVAILABLE,
    ),
)
def sync_all(organization: Organization) -> tuple[Started, dict[str, str]]:
    return _started(organization, OperationType.FULL_PATIENTS)


@guarded.post("/cliniko/sync-changes/<org_id>")
@Endpoint(
    summary="Start a sync of what changed",
    description=(
        "Reads only what Cliniko changed since the last sync: a few requests, however many "
        "patients there are. Where the clinic was never read whole, or more than a week ago, it "
        "starts a full sync instead: `operation_type` tells which. One start is accepted in five "
        "minutes for a clinic; one of all patients uses this up, too, but not the other way round."
    ),
    tag="Syncs",
    action=Action.START_SYNC,
    takes_idempotency_key=True,
    example=Started(
        message="Sync of changes started for organization 123",
        operation_type=OperationType.CHANGED_PATIENTS,
        expected_duration="1-7 seconds",
        sync_log_id=457,
    ),
    errors=(
        ErrorCode.SYNC_ALREADY_RUNNING,
        ErrorCode.CLINIKO_NOT_CONFIGURED,
        ErrorCode.QUEUE_UNAVAILABLE,
    ),
)
def sync_changes(organization: Organization) -> tuple[Started, dict[str, str]]:
    return _started(organization, OperationType.CHANGED_PATIENTS)


@guarded.post("/cliniko/sync/<org_id>")
@Endpoint(
    summary="Start a sync, by its former address",
    description=(
        "Starts nothing itself: the 308 keeps the method, so clients that follow it start a full "
        "sync at the address in `Location`. It is never refused for coming too often; its headers "
        "tell of the limit of that address."
    ),
    tag="Syncs",
    action=Action.START_SYNC,
    status=308,
    deprecated=True,
    example=Moved(
        message="This endpoint is deprecated. Use POST /api/v1/cliniko/sync-all/123.",
        location="/api/v1/cliniko/sync-all/123",
    ),
)
def sync(organization: Organization) -> tuple[Moved, dict[str, str]]:
    _tell_of_window(organization, OperationType.FULL_PATIENTS)
    address = url_for("api.sync_all", org_id=organization.id)
    moved = Moved(message=f"This endpoint is deprecated. Use POST {address}.", location=address)
    return moved, {
        "Location": address,
        "Deprecation": f"@{int(SYNC_DEPRECATED.timestamp())}",  # RFC 9745
        "Sunset": http_date(SYNC_ENDS),  # RFC 8594
        "Link": f'<{address}>; rel="successor-version", </api/docs#sync>; rel="deprecation"',
    }


@guarded.post("/cliniko/cancel/<org_id>")
@Endpoint(
    summary="Cancel the running sync",
    description="What was stored until then is kept. The sync ends as failed, `SYNC_CANCELLED`.",
    tag="Syncs",
    action=Action.CANCEL_SYNC,
    example=Cancelled(
        message="The sync of organization 123 is asked to stop",
        sync_log_id=456,
        status=SyncStatus.RUNNING,
    ),
    errors=(ErrorCode.SYNC_NOT_RUNNING,),
)
def cancel(organization: Organization) -> Cancelled:
    log = cancel_sync(organization, actor=current_actor())
    told = "is asked to stop" if log.is_running else "was cancelled"
    return Cancelled(
        message=f"The sync of organization {log.organization_id} {told}",
        sync_log_id=log.id,
        status=SyncStatus(log.status),
    )


def _started(
    organization: Organization, operation_type: OperationType
) -> tuple[Started, dict[str, str]]:
    try:
        log, is_new = start_once(
            organization,
            operation_type,
            actor=current_actor(),
            origin=SyncOrigin.API,
            idempotency_key=_idempotency_key(),
        )
    finally:
        _tell_of_window(organization, operation_type)
    started = OperationType(log.operation_type)
    answer = Started(
        message=f"{_STARTED[started]} started for organization {log.organization_id}",
        operation_type=started,
        expected_duration=log.expected_duration,
        sync_log_id=log.id,
    )
    return answer, {} if is_new else {"Idempotency-Replayed": "true"}


def _idempotency_key() -> str | None:
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not (
        1 <= len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()
    ):
        raise ValidationError(
            f"{IDEMPOTENCY_KEY} must be 1 to {LONGEST_KEY} printable ASCII characters.",
            parameter=IDEMPOTENCY_KEY,
        )
    return key


def _tell_of_window(organization: Organization, operation_type: OperationType) -> None:
    window = start_window(organization, operation_type)
    limits.tell(window.limit, window.remaining, window.resets_at)
