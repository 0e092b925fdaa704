"""The synced patients of a clinic: searching, and one patient."""

from __future__ import annotations

from flask import request

from webapp.auth.access import Action
from webapp.auth.guards import organization_for
from webapp.auth.sessions import current_actor
from webapp.cliniko.records import PatientState
from webapp.errors import NotFound
from webapp.pages import parameters
from webapp.pages.blueprints import signed_in
from webapp.pages.templating import render_clinic
from webapp.services import changes
from webapp.services import patients as patients_service
from webapp.services.connection import page_in_cliniko
from webapp.services.patients import PatientFilter

PER_PAGE = 50
HISTORY_PER_PAGE = 20


# A search is posted: the words are names of people, and addresses are kept in many places.
@signed_in.route("/clinics/<org_id>/patients", methods=["GET", "POST"])
def patients(org_id: str) -> str:
    organization = organization_for(current_actor(), org_id, Action.VIEW_PATIENTS)
    page = parameters.page_number(request.form)
    criteria = PatientFilter(
        state=parameters.choice(request.form, "state", PatientState),
        search=parameters.search(request.form),
        last_synced_after=parameters.day(request.form, "synced_after"),
    )
    found = patients_service.find(
        organization, criteria, limit=PER_PAGE, offset=(page - 1) * PER_PAGE
    )
    return render_clinic(
        "patients/index.html", organization, criteria=criteria, found=found, page=page
    )


@signed_in.get("/clinics/<org_id>/patients/<patient_id>")
def patient(org_id: str, patient_id: str) -> str:
    organization = organization_for(current_actor(), org_id, Action.VIEW_PATIENTS)
    found = patients_service.get(organization, parameters.id_of(patient_id))
    if found is None:
        raise NotFound()
    page, per_page = parameters.page_number(request.args), HISTORY_PER_PAGE
    return render_clinic(
        "patients/show.html",
        organization,
        patient=found,
        survivor=patients_service.survivor(found),
        in_cliniko=page_in_cliniko(organization, found.cliniko_patient_id),
        history=changes.of_patient(found, limit=per_page, offset=(page - 1) * per_page),
        page=page,
        per_page=per_page,
    )
