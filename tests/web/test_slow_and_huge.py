"""Clients that take their time, and clients that send too much."""

from __future__ import annotations

import json
import re
import selectors
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress

import pytest
import requests

from tests.cast import PASSWORD
from tests.support.processes import wait_until
from tests.web.conftest import Web
from tests.web.wire import exchange

PATIENCE = 60  # seconds; the server's own is 25
TOKEN = b"POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
# How a request begins that is never complete, and what follows again and again.
SLOW = [
    (b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"."),
    (TOKEN + b"Content-Length: 1000\r\n\r\n{", b" "),
    (TOKEN + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"),
]


def begin(web: Web, request: bytes, *, buffer: int = 65536) -> socket.socket:
    """A connection on which this much was sent."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(PATIENCE)
    connection.connect((web.address.host, web.address.port))
    connection.sendall(request)
    return connection


def test_slow_clients_are_cut_off_and_hold_nobody_up_for_longer(web: Web) -> None:
    with closing(sqlite3.connect(web.database)) as database, database:
        # Twelve megabytes: no operating system takes that much off our hands.
        database.execute("UPDATE patients SET first_name = ?", ("Olivia" * 4000,))
    before = len(web.log.read_text())
    large = "GET /api/v1/cliniko/active-patients/2?limit=500 HTTP/1.1\r\nHost: x\r\n"
    large += f"Authorization: Bearer {web.tokens['charlie']}\r\n\r\n"
    with ExitStack() as stack, ThreadPoolExecutor(4) as others:
        # Eight: as many as there are threads. The first four get one each in any case.
        takes_nothing = stack.enter_context(begin(web, large.encode(), buffer=4096))
        first = {stack.enter_context(begin(web, start)): drip for start, drip in SLOW}
        more = [stack.enter_context(begin(web, start)) for start, _ in [*SLOW, SLOW[0]]]
        open_ones = stack.enter_context(selectors.DefaultSelector())
        for each in first:
            open_ones.register(each, selectors.EVENT_READ)
        began = time.monotonic()
        asked = [others.submit(ask_for_nothing, web) for _ in range(4)]
        while first:
            assert time.monotonic() < began + PATIENCE
            ended = {key.fd for key, _ in open_ones.select(0.5)}
            for connection in [each for each in first if each.fileno() in ended]:
                open_ones.unregister(connection)
                del first[connection]
            for connection, drip in first.items():
                with suppress(OSError):  # just closed
                    connection.sendall(drip)
        for connection in more:
            connection.close()

        assert [each.result() for each in asked] == [404] * 4
        wait_until(lambda: '"status": 200' in web.log.read_text()[before:], seconds=PATIENCE)
        assert time.monotonic() < began + PATIENCE
        head, _, body = b"".join(iter(lambda: takes_nothing.recv(65536), b"")).partition(
            b"\r\n\r\n"
        )
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None
    assert len(body) < int(length[1])


def ask_for_nothing(web: Web) -> int:
    """The status of an answer that comes in time."""
    return requests.get(f"{web.url}/nothing", timeout=PATIENCE).status_code


@pytest.mark.parametrize(
    ("body", "status", "error_code"),
    [
        (b" " * (1024 * 1024 + 1), 413, "PAYLOAD_TOO_LARGE"),
        (b"[" * 100_000, 400, "VALIDATION_ERROR"),
        (b'{"a":' * 100_000, 400, "VALIDATION_ERROR"),
    ],
)
def test_a_body_that_is_too_much_is_refused_at_once(
    web: Web, body: bytes, status: int, error_code: str
) -> None:
    began = time.monotonic()

    answer = requests.post(
        f"{web.url}/api/v1/auth/token",
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=PATIENCE,
    )

    assert (answer.status_code, answer.json()["error_code"]) == (status, error_code)
    assert time.monotonic() - began < 10


def test_a_body_that_the_client_breaks_off_is_not_taken_for_the_whole(web: Web) -> None:
    body = json.dumps({"email": "bob@example.com", "password": PASSWORD}).encode()
    request = TOKEN + f"Content-Length: {len(body) + 1}\r\n\r\n".encode() + body
    with begin(web, request) as connection:
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"access_token" not in answer


# What gunicorn refuses never reaches the application: its answers are pages of its own, outside
# the envelope and without an id.
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /api HTTP/1.1\r\nHost: x\r\nbroken\r\n\r\n", 400),
        (b"GET /api HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /api HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 10_000 + b"\r\n\r\n", 431),
        (b"GET /api HTTP/1.1\r\nHost: x\r\n" + b"X-Many: a\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_a_head_that_is_too_much_is_refused_by_the_server(
    web: Web, request_: bytes, status: int
) -> None:
    found, answer = exchange(web.address, request_)

    assert found == status
    assert b"Traceback" not in answer
