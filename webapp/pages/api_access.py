"""API access: the tokens of the person who looks; admins see those of others as well."""

from __future__ import annotations

from datetime import timedelta

from flask import render_template, request
from flask.typing import ResponseReturnValue

from webapp.auth.access import Action, may
from webapp.auth.guards import fresh, id_of
from webapp.auth.sessions import current_actor
from webapp.errors import ValidationError
from webapp.pages.blueprints import signed_in
from webapp.pages.redirects import lead_to
from webapp.services import tokens

LIFETIMES = {
    "1": ("1 day", timedelta(days=1)),
    "30": ("30 days", timedelta(days=30)),
    "90": ("90 days", timedelta(days=90)),
    "365": ("1 year", timedelta(days=365)),
}


@signed_in.get("/api-access")
@fresh
def api_access() -> str:
    return _page()


@signed_in.post("/api-access")
@fresh
def create_token() -> ResponseReturnValue:
    """Shows the new token in this one answer; it can be read nowhere afterwards."""
    name, days = request.form.get("name", ""), request.form.get("days", "")
    try:
        if days not in LIFETIMES:
            raise ValidationError("Choose how long the token lives.", parameter="days")
        actor = current_actor()
        token, _ = tokens.issue(actor, name=name, lifetime=LIFETIMES[days][1], actor=actor)
    except ValidationError as error:
        return _page(errors={error.parameter: error.message}), 422
    return _page(token=token)


@signed_in.post("/api-access/<token_id>/revoke")
def revoke_token(token_id: str) -> ResponseReturnValue:
    actor = current_actor()
    owner = None if may(actor, Action.MANAGE_TOKENS) else actor
    tokens.revoke(id_of(token_id), owner=owner, actor=actor)
    return lead_to("pages.api_access", "The token was revoked: it opens nothing any more.")


def _page(*, token: str | None = None, errors: dict[str, str] | None = None) -> str:
    actor = current_actor()
    return render_template(
        "api_access/index.html",
        token=token,
        errors=errors or {},
        lifetimes=LIFETIMES,
        most_shown=tokens.MOST_SHOWN,
        own=tokens.of(actor),
        others=tokens.of_others(actor) if may(actor, Action.MANAGE_TOKENS) else [],
    )
