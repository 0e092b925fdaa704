"""What an endpoint promises, said once: it decides who may call, checks what comes in, shapes what
goes out, and is what the published document is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Flask, Response, request

from webapp import limits
from webapp.api import parameters
from webapp.api.shapes import Answer, Body, Query
from webapp.auth.access import Action
from webapp.auth.bearer import current_actor
from webapp.auth.guards import organization_for
from webapp.errors import ErrorCode
from webapp.models import Organization

JSON = "application/json"


@dataclass(frozen=True)
class Endpoint:
    """One operation of the API.

    `action` is what the caller must be allowed to do with the clinic in the address; without it
    any token will do. `open_to_all`: its blueprint asks for no token. `version` tells in few words
    whether an answer that the caller has is still good.
    """

    summary: str
    description: str
    example: Answer
    tag: str
    action: Action | None = None
    query: type[Query] | None = None
    body: type[Body] | None = None
    errors: tuple[ErrorCode, ...] = ()
    status: int = 200
    version: Callable[[Organization], str] | None = None
    takes_idempotency_key: bool = False
    deprecated: bool = False
    open_to_all: bool = False

    def __call__(self, view: Callable[..., Any]) -> Callable[..., Response]:
        """Decorate a view, which is called with what was asked for of: the clinic, other ids of
        the path, the query, the body. It gives an Answer, or an Answer and headers."""

        @wraps(view)
        def answer(org_id: str = "", **ids: str) -> Response:
            arguments: list[object] = []
            if self.action is not None:
                organization = organization_for(current_actor(), org_id, self.action)
                arguments.append(organization)
            limits.count()
            arguments.extend(ids.values())
            if self.query is not None:
                arguments.append(parameters.query(self.query))
            if self.body is not None:
                arguments.append(parameters.body(self.body))
            if self.version is None:
                return self._shaped(view(*arguments))
            version = self.version(organization)
            if request.if_none_match.contains_weak(version):
                response = Response(status=304)
            else:
                response = self._shaped(view(*arguments))
            response.set_etag(version, weak=True)
            return response

        answer.definition = self  # type: ignore[attr-defined]
        return answer

    def _shaped(self, given: Answer | tuple[Answer, Mapping[str, str]]) -> Response:
        answer, headers = given if isinstance(given, tuple) else (given, {})
        response = Response(answer.model_dump_json(), self.status, mimetype=JSON)
        response.headers.update(headers)
        return response


def definition_of(app: Flask, endpoint: str) -> Endpoint:
    """What an endpoint promises. Raises LookupError for one that was never described, so that
    the application does not start with it."""
    definition = getattr(app.view_functions[endpoint], "definition", None)
    if not isinstance(definition, Endpoint):
        raise LookupError(f"{endpoint} promises nothing: describe it as an Endpoint")
    return definition
