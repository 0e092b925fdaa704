"""The JSON API under /api/v1."""

from __future__ import annotations

from flask import Flask
from flask.json.provider import DefaultJSONProvider

from webapp.api import (  # noqa: F401  (each adds its endpoints to the blueprints)
    connection,
    errors,
    organizations,
    patients,
    status,
    sync_logs,
    syncs,
    tokens,
)
from webapp.api.blueprints import guarded, open_to_all


def init_app(app: Flask) -> None:
    """Register the endpoints and the one shape of errors."""
    assert isinstance(app.json, DefaultJSONProvider)
    app.json.sort_keys = False  # answers read in the order of the documentation
    app.register_blueprint(guarded)
    app.register_blueprint(open_to_all)
    errors.init_app(app)
