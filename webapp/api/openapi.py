"""The published description of the API, made of the definitions that the endpoints run on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from webapp.api.blueprints import documents
from webapp.api.endpoint import JSON, Endpoint, definition_of
from webapp.api.error_codes import MEANINGS
from webapp.api.errors import Error
from webapp.api.shapes import Answer, Query
from webapp.api.syncs import KEY_PARAMETER
from webapp.api.webhook_messages import EXAMPLES, PARAMETERS, RECEIVED, TOLD_OF, Message
from webapp.errors import ErrorCode
from webapp.limits import RATES

PREFIX = "/api/v1"
VERSION = "1.0.0"
TITLE = "Patient Sync API"
SUMMARY = "Start syncs of a clinic's patients from Cliniko, watch them, and read what was synced."
TAGS = {
    "Access": "Tokens, and the clinics that they open.",
    "Syncs": "Start, watch and cancel; where a clinic stands.",
    "Patients": "What was synced.",
    "Webhooks": "Whom a clinic tells what happens, and what became of each message.",
}

_COMPONENT = "#/components/schemas/{model}"
_ID = {"type": "integer", "minimum": 1, "maximum": 10**16 - 1}  # 16 digits
_PATH = {
    "org_id": ("orgId", "The clinic's id."),
    "webhook_id": ("webhookId", "The webhook's id."),
    "delivery_id": ("deliveryId", "The id of one message to a webhook."),
    "sync_log_id": ("syncLogId", "The sync's id: `sync_log_id` of the answer to its start."),
}
_REQUEST_ID = {"X-Request-ID": "Names this request in our logs."}
_RATE = {
    "X-RateLimit-Limit": "How many requests the window allows.",
    "X-RateLimit-Remaining": "How many are left.",
    "X-RateLimit-Reset": "When the window ends, in Unix seconds.",
}
_ETAG = {"ETag": "Names this answer; send it as `If-None-Match`."}
_RETRY_AFTER = {"Retry-After": "In how many seconds to try again."}
_REPLAYED = {"Idempotency-Replayed": "`true` where the key was used before: nothing was started."}
_MOVED = {
    "Location": "Where it went.",
    "Deprecation": "Since when it is deprecated (RFC 9745).",
    "Sunset": "When it goes (RFC 8594).",
    "Link": "What follows it.",
}
_TELL_WHEN = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}

Json = dict[str, Any]


def document(app: Flask) -> Json:
    """The OpenAPI document, as JSON values.

    Raises LookupError for an address under /api/v1 whose endpoint was never described.
    """
    paths: dict[str, Json] = {}
    goes_out: list[type[BaseModel]] = [Error, *map(type, EXAMPLES)]
    models: dict[type[BaseModel], JsonSchemaMode] = dict.fromkeys(goes_out, "serialization")
    for path, method, endpoint, definition in operations(app):
        paths.setdefault(path, {})[method.lower()] = _operation(path, endpoint, definition)
        models[type(definition.example)] = "serialization"
        if definition.body is not None:
            models[definition.body] = "validation"
    return {
        "openapi": "3.1.1",
        "info": {"title": TITLE, "version": VERSION, "summary": SUMMARY},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "webhooks": {each.event: {"post": _message(each)} for each in EXAMPLES},
        "components": {
            "schemas": _schemas(tuple(models.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def operations(app: Flask) -> list[tuple[str, str, str, Endpoint]]:
    """Path, method, endpoint and definition of everything under /api/v1, in a steady order."""
    described = [
        (_path(rule), method, rule.endpoint, definition_of(app, rule.endpoint))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(f"{PREFIX}/") and not rule.endpoint.startswith(documents.name)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]
    order = list(TAGS)
    return sorted(described, key=lambda each: (order.index(each[3].tag), each[0]))


def errors_of(endpoint: str, definition: Endpoint) -> list[ErrorCode]:
    """Every error code that an endpoint can answer with."""
    codes = {
        *definition.errors,
        ErrorCode.INTERNAL_ERROR,
        ErrorCode.DATABASE_UNAVAILABLE,
        ErrorCode.VALIDATION_ERROR,  # a query that is no text is refused everywhere
    }
    if definition.body is not None:
        codes.add(ErrorCode.PAYLOAD_TOO_LARGE)
    if not definition.open_to_all:
        codes |= {ErrorCode.AUTHENTICATION_REQUIRED, ErrorCode.ORGANIZATION_DISABLED}
    if definition.action is not None:
        codes |= {
            ErrorCode.INVALID_ORGANIZATION_ID,
            ErrorCode.INSUFFICIENT_PERMISSIONS,
            ErrorCode.ORGANIZATION_NOT_FOUND,
        }
    if endpoint in RATES and definition.status == HTTPStatus.OK:
        codes.add(ErrorCode.RATE_LIMITED)
    return [code for code in ErrorCode if code in codes]


def _operation(path: str, endpoint: str, definition: Endpoint) -> Json:
    operation: Json = {
        "operationId": endpoint.partition(".")[2],
        "tags": [definition.tag],
        "summary": definition.summary,
        "description": definition.description,
        "deprecated": definition.deprecated,
        "parameters": list(_parameters(path, definition)),
        "responses": _responses(endpoint, definition),
        "security": [] if definition.open_to_all else [{"token": []}],
    }
    if definition.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(definition.body)}
    return operation


def _message(example: Message) -> Json:
    return {
        "operationId": example.event.replace(".", "_"),
        "tags": ["Webhooks"],
        "summary": example.event,
        "description": TOLD_OF[example.event],
        "parameters": PARAMETERS,
        "requestBody": {"required": True, "content": _shown(example)},
        "responses": {"2XX": {"description": RECEIVED}},
        "security": [],
    }


@cache
def _schemas(models: tuple[tuple[type[BaseModel], JsonSchemaMode], ...]) -> Json:
    # They are the same for each application of a process, and most of the work.
    schemas: Json = models_json_schema(models, ref_template=_COMPONENT)[1]["$defs"]
    bodies = {model.__name__ for model, mode in models if mode == "validation"}
    for name, schema in schemas.items():
        # Programs that were made of this document must live with the keys that are added later.
        # The bodies that come in stay closed: other keys are refused.
        if name not in bodies:
            schema.pop("additionalProperties", None)
    return schemas


def _path(rule: Rule) -> str:
    return re.sub(r"<(\w+)>", lambda found: "{" + _PATH[found[1]][0] + "}", rule.rule)


def _parameters(path: str, definition: Endpoint) -> Iterator[Json]:
    for name, description in _PATH.values():
        if "{" + name + "}" in path:
            told = {"required": True, "description": description, "schema": _ID}
            yield {"name": name, "in": "path"} | told
    if definition.query is not None:
        yield from _query_parameters(definition.query)
    if definition.takes_idempotency_key:
        yield KEY_PARAMETER
    if definition.version is not None:
        yield {
            "name": "If-None-Match",
            "in": "header",
            "description": "The `ETag` of the answer that you have.",
            "schema": {"type": "string"},
        }


def _query_parameters(query: type[Query]) -> Iterator[Json]:
    described = query.model_json_schema()
    for name, schema in described["properties"].items():
        plain = _without_null(schema, described.get("$defs", {}))
        description = plain.pop("description", None)
        yield {"name": name, "in": "query", "description": description, "schema": plain}


def _without_null(schema: Json, definitions: Json) -> Json:
    """The schema of a parameter in an address, where nobody can send null, written out whole."""
    kept = {key: value for key, value in schema.items() if value is not None and key != "title"}
    choices = [each for each in kept.get("anyOf", []) if each.get("type") != "null"]
    if len(choices) == 1:
        del kept["anyOf"]
        kept |= choices[0]
    if "$ref" in kept:
        choice = definitions[kept.pop("$ref").rpartition("/")[2]]
        kept |= {"type": choice["type"], "enum": choice["enum"]}
    return kept


def _responses(endpoint: str, definition: Endpoint) -> Json:
    rate = _RATE if endpoint in RATES else {}
    good = rate | (_ETAG if definition.version else {})
    good |= _REPLAYED if definition.takes_idempotency_key else {}
    good |= _MOVED if definition.status == HTTPStatus.PERMANENT_REDIRECT else {}
    shown = _shown(definition.example)
    responses: Json = {str(definition.status): _response(definition.summary, good, shown)}
    if definition.version is not None:
        responses["304"] = _response("Nothing has changed since the answer that you have.", good)
    for status, codes in sorted(_by_status(errors_of(endpoint, definition), definition).items()):
        causes = "\n\n".join(f"`{code}`: {MEANINGS[code].cause}" for code in codes)
        headers = rate | (_RETRY_AFTER if status in _TELL_WHEN else {})
        responses[str(status)] = _response(causes, headers, _content(Error))
    return responses


def _by_status(codes: list[ErrorCode], definition: Endpoint) -> dict[int, list[ErrorCode]]:
    statuses: dict[int, list[ErrorCode]] = {}
    for code in codes:
        statuses.setdefault(int(MEANINGS[code].status), []).append(code)
    if ErrorCode.CLINIKO_UNAVAILABLE in codes:
        statuses[int(HTTPStatus.GATEWAY_TIMEOUT)] = [ErrorCode.CLINIKO_UNAVAILABLE]
    if definition.body is not None:
        statuses[int(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)] = [ErrorCode.VALIDATION_ERROR]
    return statuses


def _response(description: str, headers: dict[str, str], content: Json | None = None) -> Json:
    told = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in (_REQUEST_ID | headers).items()
    }
    return {"description": description, "headers": told} | ({"content": content} if content else {})


def _content(model: type[BaseModel]) -> Json:
    return {JSON: {"schema": {"$ref": _COMPONENT.format(model=model.__name__)}}}


def _shown(example: Answer) -> Json:
    (content,) = _content(type(example)).values()
    return {JSON: content | {"example": example.model_dump(mode="json")}}
