"""A caller of the simulated Cliniko that keeps its rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import requests

from simulator import Simulator

KEY = "invented-key-au1"
HEADERS = {"User-Agent": "Patient Sync (tests@example.com)", "Accept": "application/json"}

Params = Mapping[str, str | int | Sequence[str]]


class Ask:
    """Asks one simulator, over one connection that is kept alive."""

    def __init__(self, cliniko: Simulator) -> None:
        self.cliniko = cliniko
        self.session = requests.Session()

    def __call__(
        self,
        path: str,
        params: Params | None = None,
        *,
        key: str = KEY,
        headers: Mapping[str, Any] | None = None,
    ) -> requests.Response:
        """Ask for a path below /v1; None as the value of a header leaves it out."""
        return self.session.get(
            f"{self.cliniko.url}{path}",
            params=params,
            headers={**HEADERS, **(headers or {})},
            auth=(key, ""),
            timeout=10,
            allow_redirects=False,
        )

    def json(self, path: str, params: Params | None = None, *, key: str = KEY) -> Any:
        """Return what a path answers with 200."""
        answer = self(path, params, key=key)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ids(
        self, path: str = "/patients", *, filters: Sequence[str] = (), **params: str | int
    ) -> list[str]:
        """Return the ids on one page."""
        page = self.json(path, {**params, "q[]": filters})
        return [str(record["id"]) for record in page["patients"]]

    def found(self, *filters: str, path: str = "/patients") -> set[str]:
        """Return the ids that all these filters let through, on one page."""
        return set(self.ids(path, filters=filters, per_page=100))

    def walk(self, path: str = "/patients", **params: str | int) -> list[str]:
        """Return the ids of a whole listing, by following its links."""
        return [str(record["id"]) for page in self.pages(path, **params) for record in page]

    def pages(self, path: str = "/patients", **params: str | int) -> Iterator[list[Any]]:
        """Yield page after page, by following the links."""
        page = self.json(path, params)
        yield page["patients"]
        while following := page["links"].get("next"):
            page = self.json(following.removeprefix(self.cliniko.url))
            yield page["patients"]
