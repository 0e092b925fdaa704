"""GET /cliniko/status: where a clinic stands with Cliniko."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from webapp.api.blueprints import guarded
from webapp.api.endpoint import Endpoint
from webapp.api.shapes import Answer, Count, Moment
from webapp.auth.access import Action
from webapp.durations import duration_words
from webapp.models import OperationType, Organization, SyncStatus
from webapp.sync import forgotten, history


class PatientCounts(Answer):
    """Counts of active patients, on both sides."""

    total_in_cliniko: Annotated[
        Count | None, Field(description="When last read; null until first connected.")
    ]
    synced_to_database: Count
    success_rate: Annotated[
        float | None,
        Field(
            ge=0,
            le=100,
            description=(
                "Percent of the latest sync's records that were stored, rounded down, so that it "
                "is 100.0 only when nothing failed; null if never synced."
            ),
        ),
    ]
    forgotten: Annotated[
        Count,
        Field(
            description=(
                "Patients who were forgotten at somebody's wish: Cliniko may count them, and no "
                "sync stores them."
            )
        ),
    ] = 0


class Status(Answer):
    """Where a clinic stands."""

    sync_status: Annotated[
        SyncStatus | Literal["never_synced"], Field(description="Of the latest sync.")
    ]
    last_sync: Annotated[
        Moment | None,
        Field(description="The end of the last completed sync; a failure does not move it."),
    ]
    patient_counts: PatientCounts
    sync_duration: Annotated[
        str | None, Field(description="As `42s`, `4m 22s`, `1h 4m 22s`; null while it runs.")
    ]
    duration_seconds: Count | None
    operation_type: OperationType | None


@guarded.get("/cliniko/status/<org_id>")
@Endpoint(
    summary="Read where a clinic stands",
    description=(
        "The outcome of the latest sync, and the counts of active patients on both sides. While "
        "nothing changes, `If-None-Match` with the last `ETag` is answered with an empty 304."
    ),
    tag="Syncs",
    action=Action.VIEW_SYNCS,
    version=history.version,
    example=Status(
        sync_status=SyncStatus.COMPLETED,
        last_sync=datetime(2024, 1, 15, 10, 35, 22, tzinfo=UTC),
        patient_counts=PatientCounts(
            total_in_cliniko=648, synced_to_database=648, success_rate=100.0
        ),
        sync_duration="4m 22s",
        duration_seconds=262,
        operation_type=OperationType.FULL_PATIENTS,
    ),
)
def status(organization: Organization) -> Status:
    summary = history.summary(organization)
    latest, completed = summary.latest, summary.last_completed
    seconds = latest.duration_seconds if latest else None
    return Status(
        sync_status=SyncStatus(latest.status) if latest else "never_synced",
        last_sync=completed.completed_at if completed else None,
        patient_counts=PatientCounts(
            total_in_cliniko=summary.total_in_cliniko,
            synced_to_database=summary.synced_to_database,
            success_rate=summary.success_rate,
            forgotten=forgotten.count(organization),
        ),
        sync_duration=None if seconds is None else duration_words(seconds),
        duration_seconds=None if seconds is None else int(seconds),
        operation_type=OperationType(latest.operation_type) if latest else None,
    )
