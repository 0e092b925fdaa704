"""Who may do what: every endpoint, every member of the cast, every clinic."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.cast import Cast

API = "/api/v1/cliniko"

# The clinic is Surf Rehab: bob manages it, vera is a viewer of it, charlie manages another one.
MATRIX = [
    #         endpoint           client alice bob  vera charlie
    ("POST", "sync-all", "", 401, 200, 200, 403, 403),
    ("POST", "sync", "", 401, 308, 308, 403, 403),
    ("POST", "cancel", "", 401, 409, 409, 403, 403),
    ("GET", "test-connection", "", 401, 200, 200, 403, 403),
    ("GET", "active-patients", "", 401, 200, 200, 403, 403),
    ("GET", "sync-logs", "", 401, 200, 200, 200, 403),
    ("GET", "sync-logs", "/1", 401, 404, 404, 404, 403),
    ("GET", "status", "", 401, 200, 200, 200, 403),
]


@pytest.mark.parametrize(
    ("method", "name", "rest", "anonymous", "admin", "manager", "viewer", "stranger"), MATRIX
)
@pytest.mark.parametrize("who", ["client", "alice", "bob", "vera", "charlie"])
def test_the_matrix_of_roles(
    request: pytest.FixtureRequest,
    cast: Cast,
    who: str,
    method: str,
    name: str,
    rest: str,
    anonymous: int,
    admin: int,
    manager: int,
    viewer: int,
    stranger: int,
) -> None:
    expected = {
        "client": anonymous,
        "alice": admin,
        "bob": manager,
        "vera": viewer,
        "charlie": stranger,
    }
    client: FlaskClient = request.getfixturevalue(who)

    answer = client.open(f"{API}/{name}/{cast.surf.id}{rest}", method=method)

    assert answer.status_code == expected[who], answer.get_json()


def test_no_endpoint_is_missing_in_the_matrix(app: Flask) -> None:
    known = {
        f"{API}/{name}/<org_id>{'/<sync_log_id>' * bool(rest)}" for _, name, rest, *_ in MATRIX
    }

    guarded = {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("api.")}

    assert guarded == known | {"/api/v1/organizations"}


def test_every_endpoint_of_the_api_asks_for_a_token(app: Flask, client: FlaskClient) -> None:
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/api/") or rule.endpoint.startswith(("api_auth", "api_doc")):
            continue
        path = rule.rule.replace("<org_id>", "1").replace("<sync_log_id>", "1")
        for method in (rule.methods or set()) - {"HEAD"}:
            assert client.open(path, method=method).status_code == 401, (method, path)
