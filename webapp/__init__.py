"""Patient Sync: copies all patients of a clinic from Cliniko and keeps the copy true."""

from __future__ import annotations

import os
from pathlib import Path
from resource import RLIMIT_CORE, setrlimit

from flask import Flask

from config import Settings, load
from webapp.extensions import db, engine_options, prepare_engine

ROOT = Path(__file__).resolve().parent.parent


def create_app(settings: Settings | None = None) -> Flask:
    """The whole application: web pages, JSON API and commands.

    Raises config.ConfigError for settings that cannot be used; LookupError for a route that says
    nowhere who may come.
    """
    app = create_core(settings)

    from webapp import api, cli, error_handlers, front, limits, pages, security

    front.init_app(app)
    security.init_app(app)
    pages.init_app(app)
    limits.init_app(app)
    api.init_app(app)
    error_handlers.init_app(app)
    cli.init_app(app)
    security.require_doors(app, *api.DOORS, *pages.DOORS)
    return app


def create_core(settings: Settings | None = None) -> Flask:
    """The application without its edge: settings, database and logs. Enough for a worker."""
    setrlimit(RLIMIT_CORE, (0, 0))  # a core file would hold keys and patients
    os.umask(0o077)  # as does the database, which a command may be the first to make
    settings = settings or load(os.environ, instance=ROOT / "instance")
    app = Flask(
        __name__, template_folder=str(ROOT / "templates"), static_folder=str(ROOT / "static")
    )
    app.config.from_mapping(settings.flask())
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings.database_url)

    import webapp.models  # noqa: F401  (the tables must be known before the first query)
    from webapp import logging_setup

    logging_setup.init_app(app)
    db.init_app(app)
    with app.app_context():
        prepare_engine(db.engine)
    return app
