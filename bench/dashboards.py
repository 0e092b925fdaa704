"""A thousand open dashboards in one process: each asks at its own moment, every two seconds.

The load is open: an answer that comes late does not put off the next question, and is counted from
the moment when the question was due.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

EVERY = 2.0  # seconds

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Answers:
    """What came back: milliseconds by kind of page, and everything that was not an answer."""

    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)


class Dashboard(asyncio.Protocol):
    """One connection that is kept, as a browser keeps it."""

    def __init__(
        self, kind: str, request: bytes, answers: Answers, address: tuple[str, int]
    ) -> None:
        self._kind, self._request, self._answers, self._address = kind, request, answers, address
        self._transport: asyncio.Transport | None = None
        self._got = b""
        self._due = 0.0
        self._asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._asked:
            self._asked = False
            self._answers.errors["connection lost"] += 1

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, separator, body = self._got.partition(b"\r\n\r\n")
        if not separator:
            return
        length = _LENGTH.search(head)
        if length is None or len(body) < int(length[1]):
            return
        self._got = b""
        self._asked = False
        status = head[9:12].decode()
        if status != "200":
            self._answers.errors[f"status {status}"] += 1
        self._answers.milliseconds[self._kind].append((time.monotonic() - self._due) * 1000)

    async def ask_until(self, first: float, told_to_stop: asyncio.Event) -> None:
        """Ask at `first` and every two seconds from then on, until the last answer is there."""
        loop = asyncio.get_running_loop()
        due = first
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if told_to_stop.is_set() and not self._asked:
                return
            if self._asked:  # then htmx would not ask either, by `hx-sync="drop"`
                self._answers.errors["no answer in two seconds"] += 1
            else:
                if self._transport is None:
                    await loop.create_connection(lambda: self, *self._address)
                self._due, self._asked = due, True
                assert self._transport is not None
                self._transport.write(self._request)
            due += EVERY


async def watch(told: dict[str, Any]) -> Answers:
    """Open all dashboards, let them ask until a line says stop, and tell what came back."""
    answers, address = Answers(), (told["host"], told["port"])
    told_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, told_to_stop.set)
    begin, chance = time.monotonic(), random.Random(5)
    dashboards = []
    for number in range(told["dashboards"]):
        kind, path, cookie = told["pages"][number % len(told["pages"])]
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nCookie: {cookie}\r\n"
            f"User-Agent: {told['agent']}\r\nHX-Request: true\r\nAccept: text/html\r\n\r\n"
        )
        dashboard = Dashboard(kind, request.encode(), answers, address)
        first = begin + chance.random() * EVERY
        dashboards.append(dashboard.ask_until(first, told_to_stop))
    await asyncio.gather(*dashboards)
    return answers


def main() -> None:
    """Read what to do as a line of JSON, write what came back."""
    answers = asyncio.run(watch(json.loads(sys.stdin.readline())))
    used = time.process_time()
    told = {"milliseconds": answers.milliseconds, "errors": answers.errors, "cpu_seconds": used}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
