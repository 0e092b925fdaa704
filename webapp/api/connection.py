"""GET /cliniko/test-connection: does the stored key open the clinic's Cliniko account."""

from __future__ import annotations

from webapp import limits
from webapp.api.blueprints import guarded
from webapp.api.serializers import Json, connection_json
from webapp.auth.access import Action
from webapp.auth.bearer import current_actor
from webapp.auth.guards import organization_for
from webapp.services import connection


@guarded.get("/cliniko/test-connection/<org_id>")
def test_connection(org_id: str) -> Json:
    organization = organization_for(current_actor(), org_id, Action.TEST_CONNECTION)
    limits.count()
    return connection_json(connection.test_connection(organization))
