"""The synced patients of a clinic: searching, and one patient."""

from __future__ import annotations

from flask import redirect, request
from flask.typing import ResponseReturnValue

from webapp.auth.access import Action
from webapp.auth.guards import fresh, id_of, organization_for
from webapp.auth.sessions import current_actor
from webapp.cliniko.records import PatientState
from webapp.errors import SyncAlreadyRunning
from webapp.htmx import asked_by_htmx
from webapp.models import OperationType, Organization
from webapp.pages import parameters, sealed_query
from webapp.pages.blueprints import signed_in
from webapp.pages.redirects import lead_to
from webapp.pages.templating import render_clinic
from webapp.services import changes, looks
from webapp.services import patients as patients_service
from webapp.services.patients import PatientFilter
from webapp.services.schedules import clock_of
from webapp.sync import forgotten, history

PER_PAGE = 50
HISTORY_PER_PAGE = 20
_FIELDS = ("search", "state", "synced_after", "page")
_FULL = OperationType.FULL_PATIENTS
_RUNNING = "A sync of this clinic is running. Nobody was forgotten; do it when it has ended."


# A search is posted: the words are names of people, and addresses are kept in many places.
@signed_in.route("/clinics/<org_id>/patients", methods=["GET", "POST"])
def patients(org_id: str) -> ResponseReturnValue:
    organization = organization_for(current_actor(), org_id, Action.VIEW_PATIENTS)
    posted = request.method == "POST"
    fields = request.form if posted else sealed_query.opened()
    page, criteria = parameters.page_number(fields), asked_for(organization, fields)
    headers = {}
    if posted:  # so that whoever comes back from a patient finds the list as they left it
        again = sealed_query.address("pages.patients", fields, _FIELDS, org_id=organization.id)
        if "?" in again and not asked_by_htmx():
            return redirect(again, 303)
        headers["HX-Replace-Url"] = again
    return page_of(organization, criteria, page), headers


def asked_for(organization: Organization, form: parameters.Source) -> PatientFilter:
    """Which patients a form asks for; its days are the clinic's. Raises ValidationError."""
    return PatientFilter(
        state=parameters.choice(form, "state", PatientState),
        search=parameters.search(form),
        last_synced_after=parameters.day(form, "synced_after", clock_of(organization)),
    )


def page_of(
    organization: Organization,
    criteria: PatientFilter,
    page: int = 1,
    *,
    problem: str | None = None,
) -> str:
    """A page of the list; `problem` is what is said above it."""
    found = looks.at_list(
        organization,
        criteria,
        actor=current_actor(),
        limit=PER_PAGE,
        offset=(page - 1) * PER_PAGE,
    )
    nobody = not found.total  # then the page may have to say why
    return render_clinic(
        "patients/index.html",
        organization,
        criteria=criteria,
        found=found,
        page=page,
        problem=problem,
        latest=history.latest(organization) if nobody else None,
        last_full=history.last_completed(organization, _FULL) if nobody else None,
    )


@signed_in.get("/clinics/<org_id>/patients/<patient_id>")
def patient(org_id: str, patient_id: str) -> str:
    organization = organization_for(current_actor(), org_id, Action.VIEW_PATIENTS)
    found = looks.at_patient(organization, id_of(patient_id), actor=current_actor())
    page, per_page = parameters.page_number(request.args), HISTORY_PER_PAGE
    return render_clinic(
        "patients/show.html",
        organization,
        patient=found,
        survivor=looks.at_survivor(found, actor=current_actor()),
        absorbed=looks.at_absorbed(found, actor=current_actor()),
        history=changes.of_patient(found, limit=per_page, offset=(page - 1) * per_page),
        page=page,
        per_page=per_page,
    )


@signed_in.post("/clinics/<org_id>/patients/<patient_id>/forget")
@fresh
def forget_patient(org_id: str, patient_id: str) -> ResponseReturnValue:
    organization = organization_for(current_actor(), org_id, Action.FORGET_PATIENT)
    found = patients_service.get(organization, id_of(patient_id))
    try:
        forgotten.forget(organization, found, actor=current_actor())
    except SyncAlreadyRunning:
        return lead_to("pages.patient", _RUNNING, "bad", org_id=org_id, patient_id=patient_id)
    done = "The patient was forgotten. No sync brings them back."
    return lead_to("pages.patients", done, org_id=org_id)
