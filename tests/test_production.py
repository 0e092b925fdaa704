"""The application as it runs in production: what is there, and what is not."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from flask import Flask

from config import load
from tests.access.table import routes
from tests.cast import PASSWORD
from webapp import create_app
from webapp.errors import AppError
from webapp.models import Role
from webapp.services import demo, people

HOME = "https://sync.example"
NOT_THERE = [
    "/.env",
    "/.git/HEAD",
    "/.git/config",
    "/worker.py",
    "/console",
    "/debug",
    "/instance/secret_key",
    "/requirements.txt",
    "/server-status",
    "/static/",
    "/static/.git/HEAD",
    "/static/app.js.map",
    "/static/app.css.map",
    "/static/../worker.py",
    "/static/%2e%2e/worker.py",
    "/static/..%2fworker.py",
    "/static/....//worker.py",
    "/static//etc/passwd",
    "/static/%00",
    "/static/app.css%00.js",
    "/static/APP.CSS",
    "/templates/base.html",
    "/test",
    "/healthz/",
    "/healthz.",
    "/healthz;x",
    "/HEALTHZ",
    "/./healthz",
    "/api/v1/../healthz",
    "/api/v1/%2e%2e/openapi.json",
    "/api/v1//openapi.json",
    "/api/v1/openapi.json/",
]


@pytest.fixture
def production(environment: dict[str, str]) -> Flask:
    """Made as for a clinic."""
    settings = {
        "ENV": "production",
        "SECRET_KEY": "Zq3vX9kLm2Rt7Yw1Bn5Hs8Jd4Fg6Pc0A",
        "CREDENTIALS_KEYS": Fernet.generate_key().decode(),
        "AUDIT_KEYS": "Wp8cV2nQx5Lk7Tz4Ry1Hd9Gs3Jm6Fb0E",
        "CLINIKO_API_URL": "https://cliniko.test/v1",
        "PUBLIC_URL": HOME,
    }
    return create_app(load(environment | settings))


def test_it_goes_by_the_name_in_its_address_alone(production: Flask) -> None:
    client = production.test_client()
    assert client.get("/sign-in", base_url=HOME).status_code == 200
    for path in ("/sign-in", "/healthz", "/api/v1/openapi.json", "/static/app.css"):
        assert client.get(path, base_url="https://another.example").status_code == 400


def test_it_has_the_routes_of_the_matrix_and_no_others(production: Flask) -> None:
    assert {rule.rule for rule in production.url_map.iter_rules()} == {
        route.rule for route in routes()
    }


def test_nothing_is_there_for_developers(production: Flask) -> None:
    assert not production.debug
    assert not production.testing
    assert not production.config["TEMPLATES_AUTO_RELOAD"]
    assert not production.config["PROPAGATE_EXCEPTIONS"]
    assert not production.config["EXPLAIN_TEMPLATE_LOADING"]
    assert not production.config.get("SQLALCHEMY_RECORD_QUERIES")
    assert not production.config.get("SQLALCHEMY_ECHO")


@pytest.mark.parametrize("path", NOT_THERE)
def test_neither_files_nor_other_ways_of_writing_an_address_are_there(
    production: Flask, path: str
) -> None:
    with production.test_client().get(path, base_url=HOME) as answer:
        assert answer.status_code == 404
        assert "Location" not in answer.headers
        assert "Werkzeug" not in answer.get_data(as_text=True)


def test_no_method_is_there_that_nobody_needs(production: Flask) -> None:
    for path in ("/healthz", "/sign-in", "/api/v1/openapi.json", "/static/app.css"):
        for method in ("TRACE", "CONNECT", "PUT", "PATCH", "DELETE", "PROPFIND", "NONSENSE"):
            answer = production.test_client().open(path, method=method, base_url=HOME)
            assert answer.status_code == 405


def test_the_demo_s_database_is_not_taken_over(production: Flask, app: Flask) -> None:
    """Its admin's password was shown on a terminal."""
    with production.app_context():
        demo.stay_out()
    people.create(demo.ADMIN, PASSWORD, role=Role.ADMIN)
    demo.stay_out()  # of development
    with production.app_context(), pytest.raises(AppError, match="holds the demo"):
        demo.stay_out()
