"""Words that must stand nowhere but where they belong, and how they might be written instead."""

from __future__ import annotations

import logging
import traceback
from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import quote


def forms(word: str) -> set[str]:
    """A word as it stands, and as it might be written by somebody who means to hide it."""
    written = {word, quote(word, safe=""), word[::-1]}
    # In the middle of something that is encoded together, the word begins at any of three places;
    # a few letters at either end depend on what stands beside it. With a colon: Basic's own way.
    for before in ("", "a", "aa"):
        encoded = b64encode(f"{before}{word}:".encode()).decode().rstrip("=")
        written.add(encoded[4 if before else 0 : -4])
    return {form for form in written if len(form) >= 6}


class Search:
    """Looks for words in whatever it is shown, in all of their forms, and counts what it has seen.

    `words` by what they are, as `password`.
    """

    def __init__(self, words: dict[str, str]) -> None:
        self._forms = [(what, form) for what, word in words.items() for form in forms(word)]
        self.seen: dict[str, int] = {}  # bytes, by the kind of place
        self.hits: list[str] = []

    def look(self, kind: str, place: str, content: str | bytes, *, but: Iterable[str] = ()) -> None:
        """Note which words stand there, but those of what may."""
        text = content if isinstance(content, str) else content.decode("utf-8", "surrogateescape")
        self.seen[kind] = self.seen.get(kind, 0) + len(text)
        allowed = set(but)
        self.hits += [
            f"{what} in {kind} {place}"
            for what, form in self._forms
            if what not in allowed and form in text
        ]


class WatchedLog(logging.Handler):
    """Searches every record that anything logs, at any level."""

    def __init__(self, search: Search) -> None:
        super().__init__(logging.DEBUG)
        self._search = search

    def emit(self, record: logging.LogRecord) -> None:
        said = [str(record.msg), str(record.args)]
        if record.exc_info and record.exc_info[1] is not None:
            said += traceback.format_exception(record.exc_info[1])
        self._search.look("log", record.name, "\n".join(said))
