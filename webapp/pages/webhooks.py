"""The webhooks of a clinic: whom it tells what happens, and what became of each message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from webapp.auth.access import Action
from webapp.auth.guards import fresh, id_of, organization_for
from webapp.auth.sessions import current_actor
from webapp.errors import RateLimited, ValidationError
from webapp.limits import per_person
from webapp.models import (
    SUBSCRIBABLE,
    DeliveryState,
    Organization,
    User,
    WebhookEndpoint,
    WebhookEvent,
)
from webapp.pages import parameters
from webapp.pages.blueprints import signed_in
from webapp.pages.redirects import lead_to
from webapp.pages.refused import refusal
from webapp.pages.templating import render_clinic
from webapp.services.webhooks import deliveries, endpoints

PER_PAGE = 25


@signed_in.get("/clinics/<org_id>/webhooks")
@fresh
def webhooks(org_id: str) -> str:
    return _list(_clinic(org_id))


@signed_in.post("/clinics/<org_id>/webhooks")
@fresh
def add_webhook(org_id: str) -> ResponseReturnValue:
    """Shows the secret in this one answer; it can be read nowhere afterwards."""
    organization, form = _clinic(org_id), request.form
    try:
        endpoint, secret = endpoints.add(
            organization, form.get("address", ""), form.getlist("events"), actor=current_actor()
        )
    except ValidationError as error:
        return _list(organization, errors={error.parameter: error.message}), 422
    return _one(organization, endpoint, secret=secret)


@signed_in.get("/clinics/<org_id>/webhooks/<webhook_id>")
@fresh
def webhook(org_id: str, webhook_id: str) -> str:
    organization = _clinic(org_id)
    return _one(organization, _endpoint(organization, webhook_id))


@signed_in.post("/clinics/<org_id>/webhooks/<webhook_id>")
@fresh
def change_webhook(org_id: str, webhook_id: str) -> ResponseReturnValue:
    organization, form = _clinic(org_id), request.form
    endpoint = _endpoint(organization, webhook_id)
    address, events = form.get("address", ""), form.getlist("events")
    try:
        per_person.count(per_person.RESENT, current_actor())
        endpoints.change(endpoint, address=address, events=events, actor=current_actor())
    except (RateLimited, ValidationError) as error:
        field = error.parameter if isinstance(error, ValidationError) else "address"
        return refusal(_one(organization, endpoint, errors={field: error.message}), error)
    return _back_to(endpoint, "The webhook was saved.")


@signed_in.post("/clinics/<org_id>/webhooks/<webhook_id>/rotate")
@fresh
def rotate_webhook(org_id: str, webhook_id: str) -> ResponseReturnValue:
    """Shows the new secret in this one answer, as `add_webhook` does."""
    organization = _clinic(org_id)
    endpoint = _endpoint(organization, webhook_id)
    try:
        secret = endpoints.rotate(endpoint, actor=current_actor())
    except ValidationError as error:
        return _back_to(endpoint, error.message, "bad")
    return _one(organization, endpoint, secret=secret)


@signed_in.post("/clinics/<org_id>/webhooks/<webhook_id>/pause")
@fresh
def pause_webhook(org_id: str, webhook_id: str) -> ResponseReturnValue:
    done = "The webhook is paused. What happens meanwhile waits."
    return _do(org_id, webhook_id, endpoints.pause, done)


@signed_in.post("/clinics/<org_id>/webhooks/<webhook_id>/resume")
@fresh
def resume_webhook(org_id: str, webhook_id: str) -> ResponseReturnValue:
    done = "The webhook is active again."
    if _clinic(org_id).disabled_at is not None:
        done += " Messages wait until the clinic is enabled."
    return _do(org_id, webhook_id, _resume, done)


@signed_in.post("/clinics/<org_id>/webhooks/<webhook_id>/test")
@fresh
def test_webhook(org_id: str, webhook_id: str) -> ResponseReturnValue:
    done = "A test message is on its way. Load this page again to see what came of it."
    return _do(org_id, webhook_id, _send_test, done)


@signed_in.post("/clinics/<org_id>/webhooks/<webhook_id>/delete")
@fresh
def delete_webhook(org_id: str, webhook_id: str) -> ResponseReturnValue:
    organization = _clinic(org_id)
    endpoints.remove(_endpoint(organization, webhook_id), actor=current_actor())
    done = "The webhook was deleted, with all of its messages."
    return lead_to("pages.webhooks", done, org_id=organization.id)


@signed_in.post("/clinics/<org_id>/deliveries/<delivery_id>/resend")
@fresh
def resend(org_id: str, delivery_id: str) -> ResponseReturnValue:
    """Leads back to the messages among which the button stood."""
    organization = _clinic(org_id)
    delivery = deliveries.get(organization, id_of(delivery_id))
    asked = _asked(request.form)
    per_person.count(per_person.RESENT, current_actor())
    deliveries.resend(delivery, actor=current_actor())
    done = f"The message is sent again{_when(organization, delivery.endpoint)}, under the same id."
    return _back_to(delivery.endpoint, done, **asked)


def _send_test(endpoint: WebhookEndpoint, *, actor: User) -> None:
    per_person.count(per_person.TEST_MESSAGES, actor)
    endpoints.send_test(endpoint, actor=actor)


def _resume(endpoint: WebhookEndpoint, *, actor: User) -> None:
    per_person.count(per_person.RESENT, actor)
    endpoints.resume(endpoint, actor=actor)


def _when(organization: Organization, endpoint: WebhookEndpoint) -> str:
    """When messages go out, if not at once."""
    if endpoint.paused_at is not None:
        return " as soon as the webhook is resumed"
    return " as soon as the clinic is enabled" if organization.disabled_at is not None else ""


def _do(
    org_id: str, webhook_id: str, change: Callable[..., object], done: str
) -> ResponseReturnValue:
    endpoint = _endpoint(_clinic(org_id), webhook_id)
    try:
        change(endpoint, actor=current_actor())
    except ValidationError as error:
        return _back_to(endpoint, error.message, "bad")
    return _back_to(endpoint, done)


def _clinic(org_id: str) -> Organization:
    return organization_for(current_actor(), org_id, Action.MANAGE_WEBHOOKS)


def _endpoint(organization: Organization, webhook_id: str) -> WebhookEndpoint:
    return endpoints.get(organization, id_of(webhook_id))


def _back_to(
    endpoint: WebhookEndpoint, words: str, kind: str = "ok", **asked: Any
) -> ResponseReturnValue:
    asked |= {"org_id": endpoint.organization_id, "webhook_id": endpoint.id}
    return lead_to("pages.webhook", words, kind, **asked)


def _asked(source: parameters.Source) -> dict[str, Any]:
    """Which messages are asked for, and which page of them."""
    return {
        "page": parameters.page_number(source),
        "state": parameters.choice(source, "state", DeliveryState),
        "event": parameters.choice(source, "event", WebhookEvent),
    }


def _list(organization: Organization, *, errors: dict[str, str] | None = None) -> str:
    found = endpoints.of(organization)
    return render_clinic(
        "webhooks/index.html",
        organization,
        endpoints=found,
        last=deliveries.last_of_each(found),
        next_try=deliveries.next_try,
        most=endpoints.MOST,
        subscribable=SUBSCRIBABLE,
        errors=errors or {},
    )


def _one(
    organization: Organization,
    endpoint: WebhookEndpoint,
    *,
    secret: str | None = None,
    errors: dict[str, str] | None = None,
) -> str:
    # What was saved just now is shown whatever stands in the address.
    asked = request.args if request.method == "GET" else MultiDict[str, str]()
    chosen = _asked(asked)
    page = chosen.pop("page")
    found = deliveries.find(endpoint, limit=PER_PAGE, offset=(page - 1) * PER_PAGE, **chosen)
    return render_clinic(
        "webhooks/show.html",
        organization,
        endpoint=endpoint,
        secret=secret,
        found=found,
        next_try=deliveries.next_try,
        page=page,
        per_page=PER_PAGE,
        chosen=chosen,
        subscribable=SUBSCRIBABLE,
        events=list(WebhookEvent),
        errors=errors or {},
    )
