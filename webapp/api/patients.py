"""GET /cliniko/active-patients: the synced patients of a clinic, page by page."""

from __future__ import annotations

from webapp import limits
from webapp.api import parameters
from webapp.api.blueprints import guarded
from webapp.api.serializers import Json, patient_page_json
from webapp.auth.access import Action
from webapp.auth.bearer import current_actor
from webapp.auth.guards import organization_for
from webapp.cliniko.records import PatientState
from webapp.services import patients

ALL = "all"


@guarded.get("/cliniko/active-patients/<org_id>")
def active_patients(org_id: str) -> Json:
    organization = organization_for(current_actor(), org_id, Action.VIEW_PATIENTS)
    limits.count()
    criteria = _criteria()
    limit = parameters.limit(default=50, maximum=500)
    page = patients.find(organization, criteria, limit=limit, offset=parameters.offset())
    return patient_page_json(page)


def _criteria() -> patients.PatientFilter:
    state = parameters.choice("state", [*PatientState, ALL]) or PatientState.ACTIVE
    return patients.PatientFilter(
        state=None if state == ALL else PatientState(state),
        search=parameters.search(),
        last_synced_after=parameters.moment("last_synced_after"),
        changed_after=parameters.moment("changed_after"),
    )
