"""Somebody at a browser, without JavaScript unless they say so."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import Context
from html import unescape
from html.parser import HTMLParser
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from webapp.auth.sessions import SESSION_KEY
from webapp.models import User
from webapp.services import sessions

_TOKEN = re.compile('name="csrf_token" value="([^"]+)"')


class Visitor:
    """Keeps cookies, and sends with each form the token that stands in it.

    Each request runs apart from the application context of the test, as it does in a server:
    what a request keeps in `g` must not reach the next one.
    """

    def __init__(self, app: Flask) -> None:
        self.client = app.test_client()

    def signed_in(self, user: User) -> Visitor:
        """With a session of this person; `test_sign_in` proves how one is come by."""
        _, secret = sessions.begin(user, address="127.0.0.1", agent="A browser of the tests")

        def write() -> None:
            with self.client.session_transaction() as session:
                session[SESSION_KEY] = secret

        Context().run(write)
        return self

    def get(self, path: str, **options: Any) -> TestResponse:
        return self._ask(self.client.get, path, **options)

    def post(self, path: str, **fields: str) -> TestResponse:
        """Send a form."""
        return self._ask(self.client.post, path, data=fields | {"csrf_token": self.csrf_token()})

    def search(self, path: str, **fields: str) -> TestResponse:
        """Send a form, and follow where it leads."""
        data = fields | {"csrf_token": self.csrf_token()}
        return self._ask(self.client.post, path, data=data, follow_redirects=True)

    def get_fragment(self, path: str) -> TestResponse:
        """What htmx asks for."""
        return self.get(path, headers={"HX-Request": "true"})

    def post_fragment(self, path: str, **fields: str) -> TestResponse:
        """A form that htmx sends."""
        data = fields | {"csrf_token": self.csrf_token()}
        return self._ask(self.client.post, path, data=data, headers={"HX-Request": "true"})

    def csrf_token(self) -> str:
        """What the forms of this session carry."""
        page = self.get("/sign-in", follow_redirects=True)
        match = _TOKEN.search(page.text)
        assert match is not None
        return match.group(1)

    def _ask(self, method: Callable[..., TestResponse], *args: Any, **options: Any) -> TestResponse:
        return Context().run(method, *args, **options)


class Parsed(HTMLParser):
    """What a browser would see: the tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self._texts.append(data)

    @property
    def text(self) -> str:
        """All text, in one line."""
        return " ".join(" ".join(self._texts).split())

    def having(self, **attributes: str) -> list[dict[str, str | None]]:
        """The attributes of every tag that has these."""
        wanted = {name.strip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [found for _, found in self.tags if wanted.items() <= found.items()]


def text_of(response: TestResponse) -> str:
    """The words of an answer."""
    return unescape(Parsed(response.text).text)
