"""The settings of a clinic: its name, its API key, which is never shown again, and its end."""

from __future__ import annotations

from collections.abc import Callable

from flask import request
from flask.typing import ResponseReturnValue

from webapp.auth.access import Action
from webapp.auth.guards import fresh, organization_for
from webapp.auth.sessions import current_actor
from webapp.cliniko.errors import ClinikoError
from webapp.errors import AccountMismatch, RateLimited, ValidationError
from webapp.limits import per_person
from webapp.models import Organization, User
from webapp.pages.blueprints import signed_in
from webapp.pages.redirects import lead_to
from webapp.pages.refused import refusal
from webapp.pages.templating import render_clinic
from webapp.services import organizations
from webapp.sync import forgotten, suspension


@signed_in.get("/clinics/<org_id>/settings")
@fresh
def clinic_settings(org_id: str) -> str:
    organization = organization_for(current_actor(), org_id, Action.MANAGE_ORGANIZATION)
    return _page(organization)


@signed_in.post("/clinics/<org_id>/settings/name")
def rename_clinic(org_id: str) -> ResponseReturnValue:
    return _save(org_id, "name", organizations.rename, "The name was saved.")


@signed_in.post("/clinics/<org_id>/settings/api-key")
@fresh
def replace_key(org_id: str) -> ResponseReturnValue:
    return _save(org_id, "api_key", _replace_key, "The new API key was saved.")


@signed_in.post("/clinics/<org_id>/settings/disable")
@fresh
def disable_clinic(org_id: str) -> ResponseReturnValue:
    organization = organization_for(current_actor(), org_id, Action.CLOSE_ORGANIZATION)
    suspension.disable(organization, actor=current_actor())
    done = "The clinic is disabled: its people cannot see it, and no sync starts."
    return lead_to("pages.clinic_settings", done, org_id=org_id)


@signed_in.post("/clinics/<org_id>/settings/enable")
@fresh
def enable_clinic(org_id: str) -> ResponseReturnValue:
    organization = organization_for(current_actor(), org_id, Action.CLOSE_ORGANIZATION)
    suspension.enable(organization, actor=current_actor())
    return lead_to("pages.clinic_settings", "The clinic is enabled again.", org_id=org_id)


@signed_in.post("/clinics/<org_id>/settings/delete")
@fresh
def delete_clinic(org_id: str) -> ResponseReturnValue:
    organization = organization_for(current_actor(), org_id, Action.CLOSE_ORGANIZATION)
    typed, name = request.form.get("confirmation", ""), _called(organization)
    if name != organization.name:  # as another one is: typed with its id, or it is no answer
        typed = organization.name if typed.strip() == name else ""
    try:
        suspension.delete(organization, typed, actor=current_actor())
    except ValidationError as error:
        return _page(organization, {"confirmation": error.message}), 422
    return lead_to("pages.clinics", f"{name} was deleted. Its patients are being removed.")


def _replace_key(organization: Organization, api_key: str, *, actor: User) -> None:
    per_person.count(per_person.KEYS_TRIED, actor)
    organizations.replace_key(organization, api_key, actor=actor)


def _save(org_id: str, field: str, save: Callable[..., None], done: str) -> ResponseReturnValue:
    organization = organization_for(current_actor(), org_id, Action.MANAGE_ORGANIZATION)
    try:
        save(organization, request.form.get(field, ""), actor=current_actor())
    except (AccountMismatch, ClinikoError, RateLimited, ValidationError) as error:
        return refusal(_page(organization, {field: error.message}), error)
    return lead_to("pages.clinic_settings", done, org_id=organization.id)


def _called(organization: Organization) -> str:
    """Its name, told from those of other clinics: two may have the same."""
    return organizations.names_for(current_actor()).get(organization.id, organization.name)


def _page(organization: Organization, errors: dict[str, str] | None = None) -> str:
    return render_clinic(
        "clinics/settings.html",
        organization,
        errors=errors or {},
        called=_called(organization),
        forgotten=forgotten.count(organization),
    )
