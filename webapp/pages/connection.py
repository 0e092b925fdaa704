"""Testing the connection to a clinic's Cliniko."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from webapp.auth.access import Action
from webapp.auth.guards import organization_for
from webapp.auth.sessions import current_actor
from webapp.cliniko.errors import ClinikoError
from webapp.errors import AccountMismatch, ClinikoNotConfigured, CredentialsUnreadable
from webapp.htmx import asked_by_htmx
from webapp.limits import per_person
from webapp.models import Organization
from webapp.pages.blueprints import signed_in
from webapp.pages.redirects import lead_to
from webapp.services import connection


@signed_in.post("/clinics/<org_id>/connection")
def test_connection(org_id: str) -> ResponseReturnValue:
    organization = organization_for(current_actor(), org_id, Action.TEST_CONNECTION)
    per_person.count(per_person.KEYS_TRIED, current_actor())
    problem = _problem_with(organization)
    if asked_by_htmx():
        fragment = render_template("clinics/_connection.html", clinic=organization, problem=problem)
        return fragment, {"HX-Trigger": "connection-tested"}
    return lead_to("pages.clinic", problem, "bad", org_id=organization.id)


def _problem_with(organization: Organization) -> str | None:
    try:
        connection.test_connection(organization, actor=current_actor())
    except (AccountMismatch, ClinikoError, ClinikoNotConfigured, CredentialsUnreadable) as error:
        return error.message
    return None
