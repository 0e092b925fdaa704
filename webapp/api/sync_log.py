"""GET /cliniko/sync-logs/{orgId}/{syncLogId}: one sync with the records that failed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from webapp.api.blueprints import guarded
from webapp.api.endpoint import Endpoint
from webapp.api.shapes import Answer, Count, Moment, Offset, Pagination, Query, UpTo500, pagination
from webapp.api.sync_logs import EXAMPLE, SyncLog, fields_of
from webapp.auth.access import Action
from webapp.auth.guards import id_of
from webapp.errors import ErrorCode
from webapp.models import Organization
from webapp.sync import history


class FailureQuery(Query):
    """Which of a sync's failed records are asked for."""

    limit: UpTo500 = 100
    offset: Offset = 0


class Failure(Answer):
    """A record that could not be stored: which and why, never its content."""

    cliniko_patient_id: Annotated[
        str, Field(description="As text; where the record's id cannot be read, its place.")
    ]
    page: Count
    field: str
    reason: str
    failed_at: Moment


class SyncLogWithFailures(SyncLog):
    """One sync with the records that could not be stored."""

    failures: list[Failure]
    pagination: Pagination


@guarded.get("/cliniko/sync-logs/<org_id>/<sync_log_id>")
@Endpoint(
    summary="Read one sync with the records that failed",
    description="`limit` and `offset` page through the failed records.",
    tag="Syncs",
    action=Action.VIEW_SYNCS,
    query=FailureQuery,
    example=SyncLogWithFailures(
        **dict(EXAMPLE),
        failures=[
            Failure(
                cliniko_patient_id="1234567890123456789",
                page=3,
                field="date_of_birth",
                reason="is no date",
                failed_at=datetime(2024, 1, 15, 10, 30, 41, tzinfo=UTC),
            )
        ],
        pagination=pagination(2, 1, 0, 1),
    ),
    errors=(ErrorCode.NOT_FOUND,),
)
def sync_log(
    organization: Organization, sync_log_id: str, query: FailureQuery
) -> SyncLogWithFailures:
    log = history.get(organization, id_of(sync_log_id))
    failures = history.failures(log, limit=query.limit, offset=query.offset)
    return SyncLogWithFailures(
        **fields_of(log),
        failures=[Failure.model_validate(row) for row in failures],
        pagination=pagination(history.failure_count(log), query.limit, query.offset, len(failures)),
    )
