"""Who calls the API: the header `Authorization: Bearer TOKEN` says so, and nothing else does."""

from __future__ import annotations

import re

import structlog
from flask import g, request

from webapp.auth.access import refuse_if_disabled
from webapp.errors import AuthenticationRequired
from webapp.models import User
from webapp.services import callers, tokens

# RFC 6750, section 2.1; the name of a scheme is the same in any case (RFC 9110, section 11.1).
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.ASCII | re.IGNORECASE)


def authenticate() -> None:
    """Find out who asks, before anything else is looked at. Raises AuthenticationRequired, and
    OrganizationDisabled if their clinic is disabled.

    Session cookies do not count: a page of another site could make a browser send them.
    """
    headers = request.headers.getlist("Authorization")
    match = _BEARER.fullmatch(headers[0]) if len(headers) == 1 else None
    if match is None:
        raise AuthenticationRequired()
    token = tokens.row_of(match.group(1))
    g.actor = token.user
    structlog.contextvars.bind_contextvars(user_id=g.actor.id)
    refuse_if_disabled(g.actor)
    callers.let_in(g.actor, token)


def current_actor() -> User:
    """The person on whose behalf this request of the API is made."""
    actor: User = g.actor
    return actor
