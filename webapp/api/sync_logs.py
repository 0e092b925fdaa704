"""GET /cliniko/sync-logs: the syncs of a clinic, and one of them with the records that failed."""

from __future__ import annotations

import re

from webapp import limits
from webapp.api import parameters
from webapp.api.blueprints import guarded
from webapp.api.serializers import Json, sync_log_page_json, sync_log_with_failures_json
from webapp.auth.access import Action
from webapp.auth.bearer import current_actor
from webapp.auth.guards import organization_for
from webapp.errors import NotFound
from webapp.models import OperationType, SyncStatus
from webapp.sync import history


@guarded.get("/cliniko/sync-logs/<org_id>")
def sync_logs(org_id: str) -> Json:
    organization = organization_for(current_actor(), org_id, Action.VIEW_SYNCS)
    limits.count()
    page = history.find(
        organization,
        limit=parameters.limit(default=10, maximum=100),
        offset=parameters.offset(),
        status=parameters.choice("status", list(SyncStatus)),
        operation_type=parameters.choice("operation_type", list(OperationType)),
    )
    return sync_log_page_json(page)


@guarded.get("/cliniko/sync-logs/<org_id>/<sync_log_id>")
def sync_log(org_id: str, sync_log_id: str) -> Json:
    organization = organization_for(current_actor(), org_id, Action.VIEW_SYNCS)
    limits.count()
    limit, offset = parameters.limit(default=100, maximum=500), parameters.offset()
    log = None
    if re.fullmatch("[1-9][0-9]{0,15}", sync_log_id):
        log = history.get(organization, int(sync_log_id))
    if log is None:
        raise NotFound(
            "This organization has no sync with this id.", organization_id=organization.id
        )
    failures = history.failures(log, limit=limit, offset=offset)
    return sync_log_with_failures_json(log, failures, limit=limit, offset=offset)
