"""GET /api/v1/openapi.json: the description is valid, complete, and as strict as we are."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from config import Settings
from webapp import create_app
from webapp.api import DOORS, blueprints
from webapp.api.error_codes import STATUS
from webapp.api.shapes import Answer
from webapp.errors import ErrorCode

Json = dict[str, Any]


@pytest.fixture
def published(client: FlaskClient) -> Json:
    answer = client.get("/api/v1/openapi.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    document: Json = answer.get_json()
    return document


def operations(published: Json) -> list[tuple[str, str, Json]]:
    return [
        (path, method, operation)
        for path, methods in published["paths"].items()
        for method, operation in methods.items()
    ]


def test_it_is_valid(published: Json) -> None:
    assert published["openapi"].startswith("3.1.")
    validate(published)


def test_every_address_is_in_it_and_nothing_else(app: Flask, published: Json) -> None:
    known = {
        (re.sub(r"<\w+>", "{}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(("api.", "api_auth."))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {
        (re.sub(r"{\w+}", "{}", path), method) for path, method, _ in operations(published)
    }
    assert described == known


def test_everything_is_explained(published: Json) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(published)]
    assert len(ids) == len(set(ids))
    for path, method, operation in operations(published):
        assert operation["summary"], path
        assert operation["description"].endswith("."), path
        assert operation["tags"], path
        assert all(parameter["description"] for parameter in operation["parameters"]), path
        assert operation["security"] == ([] if path.endswith("/token") else [{"token": []}]), method


def test_every_error_says_which_codes_it_can_hold(published: Json) -> None:
    for path, _, operation in operations(published):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                codes = re.findall("`([A-Z_]+)`", response["description"])
                assert codes, path
                content = response["content"]["application/json"]
                assert content["schema"] == {"$ref": "#/components/schemas/Error"}
                known = {str(int(STATUS[code])) for code in STATUS if code in codes}
                assert status in known | {"415", "504"}, (path, status)


def test_every_object_that_goes_out_has_these_keys_and_no_others(published: Json) -> None:
    schemas, models = published["components"]["schemas"], Answer.__subclasses__()
    for model in models:  # and those that are made of them
        models += model.__subclasses__()
        assert model.model_config["extra"] == "forbid", model
        told = schemas[model.__name__]
        assert set(told.get("required", [])) == set(told["properties"]) == set(model.model_fields)


def test_answers_may_grow_and_bodies_may_not(published: Json) -> None:
    schemas = published["components"]["schemas"]
    bodies = str([each.get("requestBody") for *_, each in operations(published)])
    for name, schema in schemas.items():
        if "properties" in schema:
            comes_in = f"schemas/{name}'" in bodies
            assert schema.get("additionalProperties") is (False if comes_in else None), name


def test_codes_may_be_added_to_those_that_the_document_lists(published: Json) -> None:
    code = published["components"]["schemas"]["Error"]["properties"]["error_code"]
    assert (code["type"], code["examples"]) == ("string", list(ErrorCode))
    assert "enum" not in code
    assert "ErrorCode" not in published["components"]["schemas"]


def test_every_body_can_be_too_large(published: Json) -> None:
    for path, _, operation in operations(published):
        if "requestBody" in operation:
            told = operation["responses"]["413"]["description"]
            assert "PAYLOAD_TOO_LARGE" in told, path


def test_a_second_factor_that_cannot_be_read_is_told_at_the_token_endpoint(
    published: Json,
) -> None:
    responses = published["paths"]["/api/v1/auth/token"]["post"]["responses"]
    assert "CREDENTIALS_UNREADABLE" in responses["500"]["description"]


def test_an_id_has_up_to_16_digits(published: Json) -> None:
    for path, _, operation in operations(published):
        for parameter in operation["parameters"]:
            if parameter["in"] == "path":
                assert parameter["schema"]["maximum"] == 9_999_999_999_999_999, path


def closed(components: Json) -> Json:
    """The schemas as they are kept to now: an object has these keys and no others."""
    return {
        "schemas": {
            name: {"additionalProperties": False} | schema if "properties" in schema else schema
            for name, schema in components["schemas"].items()
        }
    }


def test_every_example_is_a_valid_answer(published: Json) -> None:
    for path, _, operation in operations(published):
        for response in operation["responses"].values():
            for content in response.get("content", {}).values():
                if "example" in content:
                    schema = content["schema"] | {"components": closed(published["components"])}
                    jsonschema_rs.validate(schema, content["example"])
                    with pytest.raises(jsonschema_rs.ValidationError):
                        jsonschema_rs.validate(schema, content["example"] | {"more": 1})
                    break
            else:
                continue
            break
        else:
            pytest.fail(f"{path} has no example")


def test_an_endpoint_that_promises_nothing_stops_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Undescribed:
        """The blueprint of the API with one more address."""

        name = "api"

        def register(self, app: Flask, options: Json) -> None:
            blueprints.guarded.register(app, options)
            app.add_url_rule("/api/v1/undescribed", "api.undescribed", lambda: "anything")

    monkeypatch.setattr("webapp.api.DOORS", (Undescribed(), *DOORS[1:]))

    with pytest.raises(LookupError, match="undescribed"):
        create_app(settings)
