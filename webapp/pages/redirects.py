"""Leading on to a page once a form was taken."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, url_for
from flask.typing import ResponseReturnValue


def lead_to(
    page: str, words: str | None = None, kind: str = "ok", /, **values: Any
) -> ResponseReturnValue:
    """To the page with this name and these values in its address, where the words are shown."""
    if words:
        flash(words, kind)
    return redirect(url_for(page, **values), 303)
