"""What every template can use: filters, and questions about the person who looks."""

from __future__ import annotations

from flask import Flask, render_template

from webapp.auth import access
from webapp.auth.access import Action
from webapp.auth.sessions import current_actor, signed_in_user
from webapp.htmx import HTMX_CONFIG, HTMX_INTEGRITY, htmx_url
from webapp.models import Organization
from webapp.pages import filters
from webapp.pages.picture import picture
from webapp.services import counts


def init_app(app: Flask) -> None:
    """Give the templates their words."""
    app.jinja_env.filters.update({filter_.__name__: filter_ for filter_ in filters.ALL})
    app.jinja_env.globals.update(
        Action=Action,
        HTMX_CONFIG=HTMX_CONFIG,
        HTMX_INTEGRITY=HTMX_INTEGRITY,
        HTMX_URL=htmx_url(app),
        may=may,
        picture=picture,
        signed_in_user=signed_in_user,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def may(action: Action, clinic: Organization | None = None) -> bool:
    """Whether the person who looks may do this with a clinic, or at all."""
    actor = current_actor()
    return access.may(actor, action, clinic.id if clinic else actor.organization_id)


def render_clinic(template: str, organization: Organization, **context: object) -> str:
    """A page of one clinic, in the frame that all of them share."""
    held = counts.by_state(organization)
    return render_template(template, clinic=organization, counts=held, **context)
