"""Open dashboards by the thousand in one process: each asks at its own moment, as its page does.

The load is open: an answer that comes late does not put off the next question, and is counted from
the moment when the question was due. One loop and plain sockets, for it shares the machine with
what it measures.
"""

from __future__ import annotations

import json
import random
import re
import socket
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from typing import Any

TICK = 0.004  # seconds; moments are multiples of it, so that the loop wakes up less often
ROUND = 10.0  # seconds, in which every dashboard asks a whole number of times

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Dashboard:
    """One connection that is kept, as a browser keeps it."""

    kind: str
    request: bytes
    line: socket.socket | None = None
    due: float = 0.0
    asked: bool = False
    answered: bool = False
    got: bytes = b""


class Watch:
    """All dashboards, from the first question to the last answer."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.milliseconds: dict[str, list[float]] = defaultdict(list)
        self.errors: Counter[str] = Counter()
        self._address = (told["host"], told["port"])
        self._selector = DefaultSelector()
        self._told_to_stop = False
        chance = random.Random(5)
        self._ticks = round(ROUND / TICK)
        self._begin = time.monotonic()
        self._at_tick: dict[int, list[Dashboard]] = defaultdict(list)
        for page in told["pages"]:
            every = round(page["every"] / TICK)
            for _ in range(page["dashboards"]):
                dashboard = Dashboard(page["kind"], _request(told, page))
                for tick in range(chance.randrange(every), self._ticks, every):
                    self._at_tick[tick].append(dashboard)

    def run(self) -> None:
        """Ask until a line on the standard input says stop, and hear the answers to the end."""
        self._selector.register(sys.stdin, EVENT_READ)
        tick = 0
        while not self._told_to_stop:
            due = self._begin + tick * TICK
            self._hear(until=due)
            for dashboard in self._at_tick[tick % self._ticks]:
                self._ask(dashboard, due)
            tick += 1
        everybody = {id(each): each for some in self._at_tick.values() for each in some}
        deadline = time.monotonic() + 30
        while any(each.asked for each in everybody.values()) and time.monotonic() < deadline:
            self._hear(until=time.monotonic() + TICK)
        self.errors["no answer at all"] += sum(each.asked for each in everybody.values())

    def _ask(self, dashboard: Dashboard, due: float) -> None:
        if dashboard.asked:  # then htmx would not ask either, by `hx-sync="drop"`
            self.errors["no answer when the next was due"] += 1
            return
        if dashboard.line is None:
            try:
                dashboard.line = socket.create_connection(self._address, timeout=30)
            except OSError:
                self.errors["not connected"] += 1
                return
            dashboard.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(dashboard.line, EVENT_READ, dashboard)
        dashboard.due, dashboard.asked = due, True
        dashboard.line.sendall(dashboard.request)

    def _hear(self, *, until: float) -> None:
        while True:
            left = until - time.monotonic()
            for key, _ in self._selector.select(max(0.0, left)):
                if key.data is None:
                    self._told_to_stop = True
                    self._selector.unregister(sys.stdin)
                else:
                    self._read(key.data)
            if time.monotonic() >= until:
                return

    def _read(self, dashboard: Dashboard) -> None:
        assert dashboard.line is not None
        try:
            data = dashboard.line.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(dashboard.line)
            dashboard.line.close()
            dashboard.line, dashboard.got = None, b""
            self.errors["connection lost"] += dashboard.asked
            dashboard.asked = False
            return
        dashboard.got += data
        head, separator, body = dashboard.got.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or length is None or len(body) < int(length[1]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.errors[f"status {head[9:12].decode()}"] += 1
        kind = dashboard.kind if dashboard.answered else f"{dashboard.kind}, first answer"
        self.milliseconds[kind].append((time.monotonic() - dashboard.due) * 1000)
        dashboard.got, dashboard.asked, dashboard.answered = b"", False, True


def _request(told: dict[str, Any], page: dict[str, Any]) -> bytes:
    request = (
        f"GET {page['path']} HTTP/1.1\r\nHost: {told['host']}:{told['port']}\r\n"
        f"Cookie: {page['cookie']}\r\nUser-Agent: {told['agent']}\r\n"
        "HX-Request: true\r\nAccept: text/html\r\n\r\n"
    )
    return request.encode()


def main() -> None:
    """Read what to do as a line of JSON, write what came back."""
    watch = Watch(json.loads(sys.stdin.readline()))
    watch.run()
    errors = {kind: count for kind, count in watch.errors.items() if count}
    told = {"milliseconds": watch.milliseconds, "errors": errors}
    json.dump(told | {"cpu_seconds": time.process_time()}, sys.stdout)


if __name__ == "__main__":
    main()
