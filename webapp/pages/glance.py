"""A live card at a glance: one question to the database, and one drawing for all who look alike.

A thousand open dashboards ask five hundred times a second. One statement finds out who asks,
whether their session holds and whether the sync still runs, each time anew; only the drawing is
kept, for the rest of its second. To look is no sign of life: nothing is written.
Everything else goes the long way: whoever may not look, a sync that has ended or whose worker has
fallen silent, and what nobody has drawn yet. It stands in front of Flask, which would take twice
as long as the rest together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError
from werkzeug import Response

from webapp import request_ids
from webapp.auth.access import Action, allows
from webapp.auth.guards import ID
from webapp.auth.sessions import SESSION_KEY
from webapp.clock import now
from webapp.models import Role
from webapp.pages.card import PATIENCE
from webapp.services.second_factor import is_missing
from webapp.sync import live

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PATH = re.compile(f"/clinics/({ID})/syncs/({ID})/progress")
_OF_ONE_ANSWER = {request_ids.HEADER, "Set-Cookie"}  # headers that nobody else may get
_MOST = 2000  # drawings, and cookies; they are few kilobytes each

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True)
class _Drawing:
    look: tuple[Any, ...]  # all that it shows
    headers: list[tuple[str, str]]
    body: bytes


class Glance:
    """Answers polls of live cards by itself, and lets Flask answer the rest."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._flask: WSGIApplication = app.wsgi_app
        # By host too: whichever Flask refuses has no drawing.
        self._drawings: dict[tuple[Any, ...], _Drawing] = {}
        self._secrets: dict[str, str] = {}  # by the header that carries them

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        look = self._look(environ)
        if look is None:
            return self._flask(environ, start_response)
        place = (environ.get("HTTP_HOST"), *look[:2])
        drawing = self._drawings.get(place)
        if drawing is None or drawing.look != look:
            return self._draw(place, look, environ)(environ, start_response)
        proxies = self._app.config["TRUSTED_PROXIES"]
        request_id = (request_ids.HEADER, request_ids.chosen(environ, proxies=proxies))
        start_response("200 OK", [*drawing.headers, request_id])
        return [drawing.body]

    def _draw(
        self, place: tuple[Any, ...], look: tuple[Any, ...], environ: WSGIEnvironment
    ) -> Response:
        """Flask's answer, kept if it is a card that others may see too."""
        answer = Response.from_app(self._flask, environ, buffered=True)
        ended = "HX-Trigger" in answer.headers
        if answer.status_code == 200 and not ended:
            told = [(name, value) for name, value in answer.headers if name not in _OF_ONE_ANSWER]
            _keep(self._drawings, place, _Drawing(look, told, answer.get_data()))
        return answer

    def _look(self, environ: WSGIEnvironment) -> tuple[Any, ...] | None:
        """All that the card shows to whoever asks; None for everything that goes the long way."""
        if environ["REQUEST_METHOD"] != "GET" or environ.get("QUERY_STRING"):
            return None
        path = _PATH.fullmatch(environ["PATH_INFO"])
        secret = path and self._secret(environ)
        if not path or not secret:
            return None
        clinic_id, sync_id = int(path[1]), int(path[2])
        moment = now()
        try:
            with self._app.app_context():
                row = live.watched_by(secret, clinic_id, sync_id, moment=moment, patience=PATIENCE)
                if row is None or is_missing(row.role, row.second_factor_since):
                    return None
        except SQLAlchemyError:
            return None  # the long way has words for it
        role, own_clinic_id, _, *shown = row
        if not allows(Role(role), own_clinic_id, Action.VIEW_SYNCS, clinic_id):
            return None
        return (row.id, role, clinic_id, int((moment - row.started_at).total_seconds()), *shown)

    def _secret(self, environ: WSGIEnvironment) -> str | None:
        """The secret in the cookie of Flask's session. The same bytes carry the same signature, so
        they are read once; what the secret is worth is asked each time."""
        cookies = environ.get("HTTP_COOKIE", "")
        if (kept := self._secrets.get(cookies)) is not None:
            return kept
        request = self._app.request_class(environ, populate_request=False)
        session = self._app.session_interface.open_session(self._app, request)
        secret: str | None = session.get(SESSION_KEY) if session else None
        if secret is not None:
            _keep(self._secrets, cookies, secret)
        return secret


def _keep(kept: dict[Key, Value], key: Key, value: Value) -> None:
    if len(kept) >= _MOST:
        kept.clear()
    kept[key] = value
