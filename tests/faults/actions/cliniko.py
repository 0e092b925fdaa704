"""Trouble in what Cliniko answers, and on the way to it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.faults.injection import Action, Injection
from tests.support.tls import bad_server

# Of the about twelve requests of a sync: the first, one in the middle, one near the end.
PLACES = {"first": 1, "middle": 6, "last": 10}


LISTS = "/patients*"


def cliniko(kind: str, **options: Any) -> Action:
    """Trouble in Cliniko's answers, at the place of the injection or where `on` says."""

    def do(it: Injection) -> None:
        chosen: dict[str, Any] = dict(options)
        if "on" not in chosen:
            chosen |= {"on": LISTS, "nth": PLACES.get(it.record.at, 1)}
        it.trouble(kind, **chosen)
        it.start()

    return do


def together(*troubles: dict[str, Any]) -> Action:
    """Several kinds of trouble at once."""

    def do(it: Injection) -> None:
        for trouble in troubles:
            it.trouble(**trouble)
        it.start()

    return do


def elsewhere(kind: str, option: str, address: str, **more: Any) -> Action:
    """Cliniko leads somewhere else; nobody may come there."""

    def do(it: Injection) -> None:
        with _listener() as (port, visitors):
            if kind == "foreign_next_link":
                it.trouble("ignore_sort", on=LISTS, times=None)
            address_there = address.format(port=port, home=it.parts.simulator.url)
            it.trouble(kind, on=LISTS, times=None, **{option: address_there}, **more)
            it.start()
            it.until(it.is_over)
            if visitors:
                it.problems.append(f"{len(visitors)} connections to another host")

    return do


def cliniko_closed(it: Injection) -> None:
    """Nobody listens at Cliniko's address for some seconds."""
    it.slow(100)
    it.start()
    it.until_stored()
    it.parts.simulator.stop()
    time.sleep(3)
    it.parts.simulator.start()


def outage(it: Injection) -> None:
    """Cliniko is down as a whole from the middle on; afterwards it is back."""
    it.trouble("status", status=503, on="*", nth=6, times=None)
    it.start()


def no_such_host(it: Injection) -> None:
    """Cliniko's name leads nowhere."""
    _with_cliniko_at(it, "http://cliniko.invalid/v1")


def insecure(which: str) -> Action:
    """Cliniko's certificate is no good, or its TLS too old: nothing may be said to it."""

    def do(it: Injection) -> None:
        with bad_server(which) as (port, requests_seen):
            _with_cliniko_at(it, f"https://localhost:{port}/v1")
            if requests_seen:
                it.problems.append("a request went out over an insecure connection")

    return do


def _with_cliniko_at(it: Injection, url: str) -> None:
    it.parts.stop()
    it.parts.set(CLINIKO_API_URL=url)
    it.parts.start()
    it.start()
    it.until(it.is_over, 100)
    it.parts.stop()
    it.parts.set(CLINIKO_API_URL=it.parts.simulator.url)
    it.parts.start()


@contextmanager
def _listener() -> Iterator[tuple[int, list[object]]]:
    """A port where nobody may come, and who came."""
    visitors: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        leaving = threading.Event()

        def take() -> None:
            while not leaving.is_set():
                try:
                    connection, address = server.accept()
                except (TimeoutError, OSError):
                    continue
                visitors.append(address)
                connection.close()

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1], visitors
        leaving.set()
        thread.join()
