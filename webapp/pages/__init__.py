"""The dashboard: pages and fragments of HTML."""

from __future__ import annotations

from flask import Flask

from webapp.auth import sessions as auth_sessions
from webapp.pages import (  # noqa: F401  (each adds its pages to the blueprints)
    account,
    api_access,
    audit,
    changes,
    clinics,
    confirm,
    connection,
    csp_reports,
    export,
    health,
    invitation,
    metrics,
    patients,
    people,
    removals,
    schedules,
    second_factor,
    sessions,
    settings,
    sign_in,
    syncs,
    templating,
    webhooks,
)
from webapp.pages.blueprints import open_to_all, signed_in
from webapp.pages.glance import Glance

DOORS = (signed_in, open_to_all)


def init_app(app: Flask) -> None:
    """Register the pages and the words of the templates."""
    auth_sessions.init_app(app)
    templating.init_app(app)
    for blueprint in DOORS:
        app.register_blueprint(blueprint)
    app.wsgi_app = Glance(app)  # type: ignore[method-assign]
