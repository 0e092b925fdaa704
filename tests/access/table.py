"""`matrix.txt`, read: what each route answers to whom."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

MATRIX = Path(__file__).with_name("matrix.txt")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
COLUMNS = (
    "nobody",
    "own viewer",
    "own manager",
    "own admin",
    "other viewer",
    "other manager",
    "missing viewer",
    "missing manager",
    "missing admin",
    "no id",
    "child",
)


class Door(StrEnum):
    """What a route asks people for."""

    TOKEN = "token"
    SESSION = "session"
    OPEN = "open"


@dataclass(frozen=True)
class Route:
    """An address, and the expected statuses of its methods by column."""

    rule: str
    door: Door
    methods: dict[str, dict[str, int]]

    @property
    def is_api(self) -> bool:
        return self.rule.startswith("/api/")

    @property
    def names_a_clinic(self) -> bool:
        return "<org_id>" in self.rule

    @property
    def has_child(self) -> bool:
        return any("child" in statuses for statuses in self.methods.values())

    def has(self, method: str) -> bool:
        """Whether we answer this method; OPTIONS is answered for us, all others by 405."""
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)

    def expected(self, method: str, column: str) -> int:
        """The status of the answer to this method."""
        if method in self.methods:
            return self.methods[method][column]
        if self.has(method):  # HEAD
            return self.methods["GET"][column]
        if method == "OPTIONS":
            refused = column == "nobody" and self.door is not Door.OPEN
            return next(iter(self.methods.values()))["nobody"] if refused else 200
        return 405


def routes() -> list[Route]:
    """All lines of the matrix, those of one address together."""
    found: dict[str, Route] = {}
    door = None
    for line in MATRIX.read_text().splitlines():
        if section := re.fullmatch(r"\[(\w+)\]", line):
            door = Door(section[1])
        elif door is not None and line:
            method, rule, *statuses = line.split()
            route = found.setdefault(rule, Route(rule, door, {}))
            assert route.door is door, f"{rule} stands in two sections"
            assert method not in route.methods, f"{method} {rule} stands there twice"
            cells = zip(COLUMNS, statuses, strict=True)
            route.methods[method] = {name: int(cell) for name, cell in cells if cell != "-"}
    return list(found.values())
