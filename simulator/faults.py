"""Trouble on order. A fault is data, so that it can be told to a simulator in another process:

    {"kind": "status", "on": "/patients", "nth": 3, "times": 2, "status": 503}

`on` is a path without /v1 (`*` stands for anything), `query` a text within the decoded query
string, `account` the id of an account; each may be left out. Of the requests that fit, counted
since the fault was added, the `nth` (1 unless said) meets it, and those after it up to `times` (1
unless said; null: all). Everything else is an option of the kind. The kinds and their options are
the functions of `request_faults`, `answer_faults` and `wire_faults`. One request may meet several.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from threading import Lock
from types import ModuleType
from typing import Any

from simulator import answer_faults, request_faults, wire_faults
from simulator.exchange import Answer, Request
from simulator.wire_faults import Wire

_CHOICE = ("on", "query", "account", "nth", "times")


def _kinds(module: ModuleType) -> dict[str, Callable[..., Any]]:
    return {
        name: found
        for name, found in inspect.getmembers(module, inspect.isfunction)
        if found.__module__ == module.__name__ and not name.startswith("_")
    }


_ON_REQUEST = _kinds(request_faults)
_ON_ANSWER = _kinds(answer_faults)
_ON_WIRE = _kinds(wire_faults)
KINDS = _ON_REQUEST | _ON_ANSWER | _ON_WIRE


@dataclass
class Fault:
    kind: str
    options: dict[str, Any]
    on: str = "*"
    query: str = ""
    account: str | None = None
    nth: int = 1
    times: int | None = 1
    fitting: int = 0  # requests so far that fit

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind} is no kind of fault; there are {', '.join(KINDS)}")
        given = 3 if self.kind in _ON_WIRE else 1
        try:
            inspect.signature(KINDS[self.kind]).bind(*[None] * given, **self.options)
        except TypeError as error:
            raise ValueError(f"{self.kind}: {error}") from None

    def meets(self, request: Request, account_id: str | None) -> bool:
        """Count a request if it fits, and tell whether it meets this fault."""
        said = "&".join(f"{name}={value}" for name, value in request.params)
        if not fnmatchcase(request.path, self.on) or self.query not in said:
            return False
        if self.account not in (None, account_id):
            return False
        self.fitting += 1
        times_past = self.fitting - self.nth
        return times_past >= 0 and (self.times is None or times_past < self.times)


class Faults:
    """The faults that are on order, safe between threads."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = Lock()

    def __iter__(self) -> Iterator[Fault]:
        return iter(tuple(self._faults))

    def add(self, kind: str, **said: Any) -> None:
        """Order a fault, said as above; ValueError for an unknown kind or option."""
        choice = {name: said.pop(name) for name in _CHOICE if name in said}
        fault = Fault(kind, said, **choice)
        with self._lock:
            self._faults.append(fault)

    def clear(self, *, account: str | None = None) -> None:
        """Take all orders back, or those for one account. What has already begun goes on."""
        with self._lock:
            self._faults = [each for each in self._faults if account not in (None, each.account)]

    def met_by(self, request: Request, account_id: str | None) -> list[Fault]:
        """Return the faults that a request meets, in the order in which they were added."""
        with self._lock:
            return [fault for fault in self._faults if fault.meets(request, account_id)]


def on_request(faults: Iterable[Fault], request: Request) -> Request:
    """Return the request as Cliniko understands it."""
    for fault in faults:
        if fault.kind in _ON_REQUEST:
            request = _ON_REQUEST[fault.kind](request, **fault.options)
    return request


def on_answer(faults: Iterable[Fault], answer: Answer) -> Answer:
    """Return the answer as Cliniko gives it."""
    for fault in faults:
        if fault.kind in _ON_ANSWER:
            answer = _ON_ANSWER[fault.kind](answer, **fault.options)
    return answer


def on_wire(faults: Iterable[Fault], wire: Wire, head: bytes, body: bytes) -> bool:
    """Send the answer as the first fault of the connection will have it; False if there is none."""
    for fault in faults:
        if fault.kind in _ON_WIRE:
            _ON_WIRE[fault.kind](wire, head, body, **fault.options)
            return True
    return False
