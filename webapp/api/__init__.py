"""The JSON API under /api/v1."""

from __future__ import annotations

from functools import cache, partial

from flask import Flask
from flask.json.provider import DefaultJSONProvider

from webapp.api import (  # noqa: F401  (each adds its endpoints to the blueprints)
    changes,
    connection,
    docs,
    organizations,
    patients,
    schedules,
    status,
    sync_log,
    sync_logs,
    syncs,
    tokens,
    webhook_deliveries,
    webhooks,
)
from webapp.api.blueprints import documents, guarded, open_to_all
from webapp.api.openapi import document, operations

DOORS = (guarded, open_to_all, documents)


def init_app(app: Flask) -> None:
    """Register the endpoints and the description of it all.

    Raises LookupError for an endpoint that was never described.
    """
    assert isinstance(app.json, DefaultJSONProvider)
    app.json.sort_keys = False  # the description reads in the order in which it was written
    for blueprint in DOORS:
        app.register_blueprint(blueprint)
    operations(app)
    # Made at the first question, which commands and most tests never ask.
    app.extensions["openapi"] = cache(partial(document, app))
