"""What webhooks receive: a model for each event, and what stands around it in every message.

The outbox writes the bodies (`services/webhooks/outbox.py`); here they are only described.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from webapp.api.shapes import Answer, Count, Id, Moment
from webapp.cliniko.errors import AuthFailed
from webapp.errors import ErrorCode
from webapp.models import OperationType, WebhookEvent

Duration = Annotated[str, Field(description="As `4m 22s`.")]
Percent = Annotated[float, Field(ge=0, le=100, description="Of its records that were stored.")]

HEADERS = {
    "webhook-id": "Names the message, the same whenever it is sent. A message may come more than "
    "once: remember the id, once what it asks for is done.",
    "webhook-timestamp": "When this try was made, in Unix seconds. Refuse what is older than five "
    "minutes.",
    "webhook-signature": "`v1,` and the HMAC-SHA256, in base64, of id, timestamp and body with "
    "dots between them. The key is the secret behind `whsec_`, from base64. It holds one "
    "signature for each secret that is valid, separated by spaces: usually one, up to three for a "
    "day after a change. Accept the message if any of them matches.",
}
PARAMETERS = [
    {
        "name": name,
        "in": "header",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
    }
    for name, description in HEADERS.items()
]
RECEIVED = "It has arrived. Anything else, or nothing within 15 seconds: it comes again."


class EndedSync(Answer):
    """What is told of a sync that has ended."""

    patients_synced: Count
    duration: Duration
    success_rate: Percent
    sync_log_id: Id
    operation_type: OperationType
    started_at: Moment
    completed_at: Moment
    records_failed: Count


class FailedSync(EndedSync):
    """What is told of a sync that has failed."""

    error_code: Annotated[str, Field(description="One of the error codes.")]
    message: str


class ChangedPatients(Answer):
    """How many patients were changed, by kind."""

    added: Count
    updated: Count
    archived: Count
    merged: Count
    deleted: Count
    restored: Count


class SyncWithChanges(EndedSync):
    """What is told of a sync that has changed patients: how many, never who."""

    changes: ChangedPatients
    cursor: Annotated[
        Count, Field(description="Ask for the changes with it: the first that follow are these.")
    ]


class TestData(Answer):
    """What a test message holds."""

    patients_synced: Count
    duration: Duration
    success_rate: Percent
    message: str


class SyncCompleted(Answer):
    """A sync has completed."""

    event: Literal[WebhookEvent.SYNC_COMPLETED]
    organization_id: Id
    data: EndedSync


class SyncFailed(Answer):
    """A sync has failed: the keys of `sync.completed`, and `error_code` and `message`."""

    event: Literal[WebhookEvent.SYNC_FAILED]
    organization_id: Id
    data: FailedSync


class PatientsChanged(Answer):
    """A sync that has ended has changed patients, also one that failed, or somebody has confirmed
    removals that it held. How many, and where to read on; never who."""

    event: Literal[WebhookEvent.PATIENTS_CHANGED]
    organization_id: Id
    data: SyncWithChanges


class WebhookTest(Answer):
    """Somebody has asked for a test: the first three keys of `data`, and `message`."""

    event: Literal[WebhookEvent.TEST]
    organization_id: Id
    data: TestData


Message = SyncCompleted | SyncFailed | PatientsChanged | WebhookTest

_ENDED: dict[str, Any] = {
    "patients_synced": 648,
    "duration": "4m 22s",
    "success_rate": 100.0,
    "sync_log_id": 456,
    "operation_type": OperationType.FULL_PATIENTS,
    "started_at": datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
    "completed_at": datetime(2024, 1, 15, 10, 34, 22, tzinfo=UTC),
    "records_failed": 0,
}
EXAMPLES: tuple[Message, ...] = (
    SyncCompleted(event=WebhookEvent.SYNC_COMPLETED, organization_id=123, data=EndedSync(**_ENDED)),
    SyncFailed(
        event=WebhookEvent.SYNC_FAILED,
        organization_id=123,
        data=FailedSync(
            **_ENDED | {"patients_synced": 0, "success_rate": 0.0},
            error_code=ErrorCode.CLINIKO_AUTH_FAILED,
            message=AuthFailed.default_message,
        ),
    ),
    PatientsChanged(
        event=WebhookEvent.PATIENTS_CHANGED,
        organization_id=123,
        data=SyncWithChanges(
            **_ENDED,
            changes=ChangedPatients(
                added=2, updated=5, archived=1, merged=0, deleted=0, restored=0
            ),
            cursor=648,
        ),
    ),
    WebhookTest(
        event=WebhookEvent.TEST,
        organization_id=123,
        data=TestData(
            patients_synced=0, duration="0s", success_rate=100.0, message="This is a test."
        ),
    ),
)
TOLD_OF = {each.event: " ".join((type(each).__doc__ or "").split()) for each in EXAMPLES}
