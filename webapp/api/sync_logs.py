"""GET /cliniko/sync-logs: the syncs of a clinic, the running one with its progress."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from webapp import models
from webapp.api.blueprints import guarded
from webapp.api.endpoint import Endpoint
from webapp.api.metadata import Metadata
from webapp.api.shapes import Answer, Count, Id, Moment, Offset, Query, UpTo100
from webapp.auth.access import Action
from webapp.models import (
    OperationType,
    Organization,
    SyncPhase,
    SyncStatus,
)
from webapp.sync import history


class SyncLogQuery(Query):
    """Which syncs are asked for."""

    limit: UpTo100 = 10
    offset: Offset = 0
    status: Annotated[SyncStatus | None, Field(description="Only those with this status.")] = None
    operation_type: Annotated[
        OperationType | None, Field(description="Only those of this type.")
    ] = None


class ErrorDetails(Answer):
    """Why a sync failed."""

    error_code: Annotated[str, Field(description="One of the error codes.")]
    message: str
    failed_at: Moment | None


class SyncLog(Answer):
    """One sync."""

    id: Id
    organization_id: Id
    operation_type: OperationType
    status: Annotated[
        SyncStatus, Field(description="Waiting in the queue is `running`, too: see the phase.")
    ]
    started_at: Moment
    completed_at: Moment | None
    records_processed: Annotated[Count, Field(description="Success plus failed, always.")]
    records_success: Count
    records_failed: Count
    metadata: Metadata
    error_details: ErrorDetails | None


class SyncLogPage(Answer):
    """Some syncs, newest first."""

    logs: list[SyncLog]
    total_count: Annotated[Count, Field(description="How many match the filters.")]
    has_more: Annotated[bool, Field(description="Whether more follow.")]


EXAMPLE = SyncLog(
    id=456,
    organization_id=123,
    operation_type=OperationType.FULL_PATIENTS,
    status=SyncStatus.RUNNING,
    started_at=datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
    completed_at=None,
    records_processed=450,
    records_success=448,
    records_failed=2,
    metadata=Metadata(
        patients_found=648,
        patients_stored=448,
        sync_type=OperationType.FULL_PATIENTS,
        current_page=5,
        total_pages=9,
        progress_percent=69.4,
        estimated_remaining="45 seconds",
        estimated_remaining_seconds=45,
        phase=SyncPhase.FETCHING,
        active_found=602,
        requests_made=8,
        requests_left=172,
        phases_entered_after={SyncPhase.CONNECTING: 0.2, SyncPhase.FETCHING: 0.9},
    ),
    error_details=None,
)


@guarded.get("/cliniko/sync-logs/<org_id>")
@Endpoint(
    summary="Watch syncs",
    description=(
        "With `limit=1`, the newest sync: poll it every two or three seconds until `status` is "
        "`completed` or `failed`. Send the last `ETag` as `If-None-Match`: while nothing has "
        "changed the answer is an empty 304. Syncs are kept for 400 days at least."
    ),
    tag="Syncs",
    action=Action.VIEW_SYNCS,
    query=SyncLogQuery,
    version=history.version,
    example=SyncLogPage(logs=[EXAMPLE], total_count=1, has_more=False),
)
def sync_logs(organization: Organization, query: SyncLogQuery) -> SyncLogPage:
    page = history.find(organization, **dict(query))
    logs = [SyncLog.model_validate(fields_of(log)) for log in page.logs]
    return SyncLogPage(logs=logs, total_count=page.total, has_more=page.has_more)


def fields_of(log: models.SyncLog) -> dict[str, Any]:
    """What a `SyncLog` is made of."""
    return {
        "id": log.id,
        "organization_id": log.organization_id,
        "operation_type": log.operation_type,
        "status": log.status,
        "started_at": log.started_at,
        "completed_at": log.completed_at,
        "records_processed": log.records_processed,
        "records_success": log.records_success,
        "records_failed": log.records_failed,
        "metadata": {
            key: value for key, value in log.progress.items() if key in Metadata.model_fields
        },
        "error_details": log.error_code
        and {
            "error_code": log.error_code,
            "message": log.error_message,
            "failed_at": log.completed_at,
        },
    }
