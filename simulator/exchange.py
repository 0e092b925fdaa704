"""A request as it came in, and what goes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message

from simulator.patient import to_json

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"

Params = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request: `path` without /v1, `base` the address under which the caller knows /v1."""

    method: str
    path: str
    params: Params
    headers: Message
    base: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """A request that gets an error instead of what it asked for."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.answer = json_answer({"message": message}, status=status, headers=headers)


def json_answer(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return an answer that holds a value as JSON."""
    return Answer(status, to_json(value), JSON, headers or {})


def html_answer(
    title: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return the kind of page that stands before Cliniko when Cliniko itself is in trouble."""
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{title}</body></html>"
    return Answer(status, page.encode(), HTML, headers or {})
