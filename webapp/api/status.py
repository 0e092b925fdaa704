"""GET /cliniko/status: where a clinic stands with Cliniko."""

from __future__ import annotations

from webapp import limits
from webapp.api.blueprints import guarded
from webapp.api.serializers import Json, status_json
from webapp.auth.access import Action
from webapp.auth.bearer import current_actor
from webapp.auth.guards import organization_for
from webapp.sync import history


@guarded.get("/cliniko/status/<org_id>")
def status(org_id: str) -> Json:
    organization = organization_for(current_actor(), org_id, Action.VIEW_SYNCS)
    limits.count()
    return status_json(history.summary(organization))
