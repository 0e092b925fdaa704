"""The published description, told for people: what the page of the API shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Flask
from markupsafe import Markup, escape

from webapp.api.endpoint import Endpoint
from webapp.api.error_codes import MEANINGS
from webapp.api.openapi import TAGS, Json, document, errors_of, operations
from webapp.auth.access import MATRIX
from webapp.errors import ErrorCode
from webapp.limits import RATES

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@dataclass(frozen=True)
class Field:
    """A parameter, or a key of an answer; `name` of a nested key: `logs[].metadata.phase`."""

    name: str
    kind: str
    description: str


@dataclass(frozen=True)
class Operation:
    """One endpoint, as people read of it."""

    name: str
    method: str
    path: str
    definition: Endpoint
    who: str
    rate: str
    parameters: list[Field]
    keys: list[Field]
    request: str
    answer: str
    errors: list[tuple[int, ErrorCode]]


def reference(app: Flask) -> dict[str, list[Operation]]:
    """Every operation, under the title of its chapter."""
    published = document(app)
    chapters: dict[str, list[Operation]] = {tag: [] for tag in TAGS}
    for path, method, endpoint, definition in operations(app):
        described = published["paths"][path][method.lower()]
        chapters[definition.tag].append(
            Operation(
                name=described["operationId"],
                method=method,
                path=path,
                definition=definition,
                who=_who(definition),
                rate=_rate(endpoint, definition),
                parameters=list(_parameters(described, published)),
                keys=list(_keys(_schema_of(described, definition), published)),
                request=curl(path, method, definition),
                answer=json.dumps(definition.example.model_dump(mode="json"), indent=2),
                errors=[
                    (int(MEANINGS[code].status), code) for code in errors_of(endpoint, definition)
                ],
            )
        )
    return chapters


def curl(path: str, method: str, definition: Endpoint) -> str:
    """The request as a command of a shell, where API and TOKEN are set."""
    lines = [f'curl -X {method} "$API{re.sub("{.+?}", "1", path)}"']
    if not definition.open_to_all:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    if definition.body is not None:
        lines += ['-H "Content-Type: application/json"', f"-d '{_body(definition)}'"]
    return " \\\n  ".join(lines)


def programs() -> dict[str, str]:
    """Whole programs that start a sync and watch it, by language."""
    files = {"curl": "sync.sh", "Python": "sync.py", "TypeScript": "sync.ts"}
    return {language: (EXAMPLES / name).read_text("utf-8") for language, name in files.items()}


def follower() -> str:
    """A whole program that follows what changes."""
    return (EXAMPLES / "changes.py").read_text("utf-8")


def verifiers() -> dict[str, str]:
    """Programs that check the signature of a webhook, by language."""
    files = {"Python": "verify.py", "TypeScript": "verify.ts"}
    return {language: (EXAMPLES / name).read_text("utf-8") for language, name in files.items()}


def with_code(text: str) -> Markup:
    """A text in which what stands between backticks is code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup().join(
        Markup("<code>{}</code>").format(part) if number % 2 else part
        for number, part in enumerate(parts)
    )


def _rate(endpoint: str, definition: Endpoint) -> str:
    """A redirect is neither counted nor refused: what it leads to is."""
    return RATES.get(endpoint, "") if definition.status == HTTPStatus.OK else ""


def _who(definition: Endpoint) -> str:
    if definition.open_to_all:
        return "everybody, without a token"
    if definition.action is None:
        return "everybody with a token"
    return ", ".join(str(role) for role in reversed(MATRIX) if definition.action in MATRIX[role])


def _body(definition: Endpoint) -> str:
    assert definition.body is not None
    fields = definition.body.model_fields.items()
    return json.dumps({name: (field.examples or [""])[0] for name, field in fields})


def _parameters(described: Json, published: Json) -> Iterator[Field]:
    for each in described["parameters"]:
        kind = _kind(each["schema"], published)
        if each["schema"].get("default"):
            kind += f", by default `{each['schema']['default']}`"
        where = {"path": "", "query": "", "header": "header, "}[each["in"]]
        yield Field(each["name"], where + kind, each["description"])
    if "requestBody" in described:
        (content,) = described["requestBody"]["content"].values()
        yield from _keys(content["schema"], published)


def _schema_of(described: Json, definition: Endpoint) -> Json:
    (content,) = described["responses"][str(definition.status)]["content"].values()
    schema: Json = content["schema"]
    return schema


def _keys(schema: Json, published: Json, prefix: str = "") -> Iterator[Field]:
    for name, told in _resolved(schema, published).get("properties", {}).items():
        yield Field(prefix + name, _kind(told, published), told.get("description", ""))
        inner = next((each for each in told.get("anyOf", []) if "$ref" in each), told)
        is_list = inner.get("type") == "array"
        rest = f"{prefix}{name}{'[]' if is_list else ''}."
        yield from _keys(inner["items"] if is_list else inner, published, rest)


def _kind(schema: Json, published: Json) -> str:
    choices = schema.get("anyOf")
    if choices and "type" not in schema:
        return " or ".join(_kind(each, published) for each in choices)
    schema = _resolved(schema, published)
    if "enum" in schema and len(schema["enum"]) <= 8:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`".replace('"', "")
    if schema.get("type") == "array":
        return "list"
    formats = [schema.get("format"), *(each.get("format") for each in schema.get("anyOf", []))]
    kind = " or ".join(filter(None, formats)) or str(schema.get("type", "text"))
    return kind + _bounds(schema)


def _bounds(schema: Json) -> str:
    """How long a text may be, and how large a number, as far as it says more than the type."""
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if most is not None:
        return (
            f" of {least} to {most:,} characters" if least else f" of at most {most:,} characters"
        )
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if highest is not None:
        return f" from {lowest:,} to {highest:,}"
    return f" from {lowest:,}" if lowest else ""


def _resolved(schema: Json, published: Json) -> Json:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = published["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found
