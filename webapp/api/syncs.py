"""POST /cliniko/sync-all, its former name /sync, and /cancel."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response, jsonify, url_for
from werkzeug.http import http_date

from webapp import limits
from webapp.api.blueprints import guarded
from webapp.api.serializers import Json, cancelled_json, started_json
from webapp.auth.access import Action
from webapp.auth.bearer import current_actor
from webapp.auth.guards import organization_for
from webapp.models import OperationType, Organization, SyncOrigin
from webapp.sync import history
from webapp.sync.start import cancel_sync, start_sync, start_window

SYNC_DEPRECATED = datetime(2026, 11, 1, tzinfo=UTC)
SYNC_ENDS = datetime(2027, 11, 1, tzinfo=UTC)


@guarded.post("/cliniko/sync-all/<org_id>")
def sync_all(org_id: str) -> Json:
    actor = current_actor()
    organization = organization_for(actor, org_id, Action.START_SYNC)
    try:
        log = start_sync(
            organization, OperationType.FULL_PATIENTS, actor=actor, origin=SyncOrigin.API
        )
    finally:
        _tell_of_window(organization)
    return started_json(log, history.expected_duration(organization))


@guarded.post("/cliniko/sync/<org_id>")
def sync(org_id: str) -> Response:
    """Say where it went; 308 keeps the method, so clients that follow start a full sync there."""
    organization = organization_for(current_actor(), org_id, Action.START_SYNC)
    _tell_of_window(organization)
    address = url_for("api.sync_all", org_id=organization.id)
    answer = jsonify(message=f"This endpoint is deprecated. Use POST {address}.", location=address)
    answer.status_code = 308
    answer.headers["Location"] = address
    answer.headers["Deprecation"] = f"@{int(SYNC_DEPRECATED.timestamp())}"  # RFC 9745
    answer.headers["Sunset"] = http_date(SYNC_ENDS)  # RFC 8594
    answer.headers["Link"] = f'<{address}>; rel="successor-version"'
    return answer


@guarded.post("/cliniko/cancel/<org_id>")
def cancel(org_id: str) -> Json:
    organization = organization_for(current_actor(), org_id, Action.CANCEL_SYNC)
    return cancelled_json(cancel_sync(organization))


def _tell_of_window(organization: Organization) -> None:
    window = start_window(organization)
    limits.tell(window.limit, window.remaining, window.resets_at)
