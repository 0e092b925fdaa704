"""Patients as a file for a spreadsheet: those that the list shows, on all of its pages."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from flask import request
from flask.typing import ResponseReturnValue

from webapp.auth.access import Action
from webapp.auth.guards import organization_for
from webapp.auth.sessions import current_actor
from webapp.clock import iso
from webapp.errors import RateLimited, ValidationError
from webapp.limits import per_person
from webapp.pages import confirm, csv_file, patients
from webapp.pages.blueprints import signed_in
from webapp.pages.refused import refusal
from webapp.services import patient_export
from webapp.services.schedules import clock_of

HEADS = (
    *("Cliniko id", "First name", "Last name", "Preferred first name", "Born", "E-mail"),
    *("Phone", "All phones", "State", "Created in Cliniko", "Updated in Cliniko", "Archived"),
    *("Merged", "Merged into", "Deleted", "Last synced"),
)


# Posted, as a search is: its words stand in no address.
@signed_in.post("/clinics/<org_id>/patient-export")
def export_patients(org_id: str) -> ResponseReturnValue:
    """The password is asked for beside the button: a page between would lose what was filtered, and
    the button that comes back would give everybody."""
    organization = organization_for(current_actor(), org_id, Action.EXPORT_PATIENTS)
    criteria = patients.asked_for(organization, request.form)
    try:
        confirm.prove(request.form.get("current", ""))
        export = patient_export.choose(organization, criteria)
        per_person.count(per_person.EXPORTS, current_actor())
    except (RateLimited, ValidationError) as error:
        page = patients.page_of(organization, criteria, problem=error.message)
        return refusal(page, error)
    patient_export.begin(export, actor=current_actor())
    rows = map(_cells, export.rows())
    return csv_file.attachment("patients", HEADS, rows, clock_of(organization))


def _cells(row: Any) -> list[str]:
    numbers = (f"{each['type']}: {each['number']}".removeprefix(": ") for each in row.phones)
    return [
        *(row.cliniko_patient_id, row.first_name, row.last_name, row.preferred_first_name),
        *(_day(row.date_of_birth), row.email, row.phone, "; ".join(numbers), row.state),
        *(_moment(row.cliniko_created_at), _moment(row.cliniko_updated_at)),
        *(_moment(row.archived_at), _moment(row.merged_at), row.merged_into or ""),
        *(_moment(row.deleted_at), _moment(row.last_synced)),
    ]


def _day(value: date | None) -> str:
    return value.isoformat() if value else ""


def _moment(value: datetime | None) -> str:
    return iso(value) if value else ""
