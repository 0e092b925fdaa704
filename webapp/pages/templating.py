"""What every template can use: filters, and questions about the person who looks."""

from __future__ import annotations

from flask import Flask, render_template
from jinja2 import pass_context
from jinja2.runtime import Context

from webapp.auth import access
from webapp.auth.access import Action
from webapp.auth.sessions import current_actor, current_session, is_fresh, signed_in_user
from webapp.clock import now
from webapp.htmx import HTMX_CONFIG, HTMX_INTEGRITY, htmx_url, shows_notices
from webapp.models import Organization
from webapp.pages import filters
from webapp.pages.sync_bars import picture
from webapp.services import counts, search, sessions
from webapp.services.connection import page_in_cliniko, same_account
from webapp.services.webhooks import endpoints


def init_app(app: Flask) -> None:
    """Give the templates their words."""
    app.jinja_env.filters.update({filter_.__name__: filter_ for filter_ in filters.ALL})
    app.jinja_env.globals.update(
        Action=Action,
        HTMX_CONFIG=HTMX_CONFIG,
        HTMX_INTEGRITY=HTMX_INTEGRITY,
        HTMX_URL=htmx_url(app),
        LONGEST_SEARCH=search.LONGEST,
        clock_name=clock_name,
        is_fresh=is_fresh,
        may=may,
        may_everywhere=may_everywhere,
        now=now,
        page_in_cliniko=page_in_cliniko,
        picture=picture,
        same_account=same_account,
        seconds_left=seconds_left,
        shows_notices=shows_notices,
        signed_in_user=signed_in_user,
        whose_page=whose_page,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def may(action: Action, clinic: Organization | None = None) -> bool:
    """Whether the person who looks may do this with a clinic, or at all."""
    actor = current_actor()
    return access.may(actor, action, clinic.id if clinic else actor.organization_id)


@pass_context
def clock_name(context: Context) -> str:
    """By which clock the page tells the time, as `filters.moment` does: `Sydney time`, or `UTC`."""
    zone = str(filters.clock_of_page(context))
    return zone if zone == "UTC" else f"{zone.rpartition('/')[2].replace('_', ' ')} time"


def seconds_left() -> int:
    """How long whoever looks stays signed in if they do nothing any more."""
    row = current_session()
    return sessions.seconds_left(row)[0] if row else 0


def whose_page() -> str:
    """The mark of whoever looks: another tab may sign somebody else in."""
    row = current_session()
    return sessions.mark_of(row.user) if row else ""


def may_everywhere(action: Action) -> bool:
    """Whether the person who looks may do this with all clinics together."""
    return access.may(current_actor(), action)


def render_clinic(template: str, organization: Organization, **context: object) -> str:
    """A page of one clinic, in the frame that all of them share."""
    held = counts.by_state(organization)
    stopped = endpoints.stopped(organization) if may(Action.MANAGE_WEBHOOKS, organization) else 0
    return render_template(
        template, clinic=organization, counts=held, stopped_webhooks=stopped, **context
    )
