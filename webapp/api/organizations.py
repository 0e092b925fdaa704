"""GET /organizations: the clinics that the caller may see."""

from __future__ import annotations

from webapp.api.blueprints import guarded
from webapp.api.serializers import Json, organization_json
from webapp.auth.bearer import current_actor
from webapp.services.organizations import visible_to


@guarded.get("/organizations")
def organizations() -> Json:
    return {"organizations": [organization_json(each) for each in visible_to(current_actor())]}
