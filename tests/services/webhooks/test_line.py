"""The line to a receiver: what reaches whom, from real sockets."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from werkzeug.http import http_date

from tests.cliniko.certificate import write_self_signed
from tests.cliniko.local_server import Caller, answer, says, serving
from tests.support.receiver import Receiver, Reply
from tests.support.tls import bad_server
from webapp.clock import now
from webapp.outbound import deadline
from webapp.services.webhooks import addresses, line
from webapp.services.webhooks.line import Problem

BODY = b'{"event":"webhook.test"}'
PUBLIC, PUBLIC_TOO = "93.184.215.14", "93.184.215.15"
PUBLIC_6, PUBLIC_6_TOO = "2606:4700::1111", "2606:4700::1001"
SOON = 10  # seconds: far less than the dripping or the silence would take


def local(url: str) -> str:
    """The same server by its name: addresses are refused."""
    return url.replace("127.0.0.1", "localhost")


class Listener:
    """Counts who connects to this machine."""

    def __init__(self, sock: socket.socket) -> None:
        self.port: int = sock.getsockname()[1]
        self._callers: list[tuple[str, int]] = []
        self._sock = sock
        self._thread = threading.Thread(target=self._count)
        self._thread.start()

    @property
    def connections(self) -> int:
        return len(self._callers)

    def _count(self) -> None:
        while True:
            try:
                connection, caller = self._sock.accept()
            except OSError:
                return
            connection.close()
            self._callers.append(caller)

    def close(self) -> None:
        # One call of our own comes after all others, so that none is missed.
        with socket.create_connection(self._sock.getsockname()) as own:
            caller = own.getsockname()
        deadline = time.monotonic() + 5
        while caller not in self._callers and time.monotonic() < deadline:
            time.sleep(0.01)
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()
        self._callers.remove(caller)


@contextmanager
def listening(host: str = "127.0.0.1", port: int = 0) -> Iterator[Listener]:
    listener = Listener(socket.create_server((host, port)))
    try:
        yield listener
    finally:
        listener.close()


@pytest.fixture
def guarded(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Nobody is allowed inside, every port is, and names lead where the test says: to one list of
    addresses after the other, the last for ever."""
    app.config["WEBHOOK_ALLOWED_HOSTS"] = []

    def lead(port: int, *answers: list[str]) -> list[str]:
        app.config["WEBHOOK_PORTS"] = [port]
        asked: list[str] = []
        real = socket.getaddrinfo

        def resolve(host: str, *args: Any, **options: Any) -> list[Any]:
            if host != "hook.example.com":
                return real(host, *args, **options)
            found = answers[min(len(asked), len(answers) - 1)]
            asked.append(host)
            places = []
            for ip in found:
                family = socket.AF_INET6 if ":" in ip else socket.AF_INET
                place = (ip, port, 0, 0) if ":" in ip else (ip, port)
                places.append((family, socket.SOCK_STREAM, 6, "", place))
            return places

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        return asked

    return lead


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float | None]]:
    """The addresses that somebody connects to, and for how long they wait. Nobody answers, and
    time passes for nobody else."""
    called: list[tuple[str, float | None]] = []
    moment = time.monotonic()
    monkeypatch.setattr("urllib3.util.connection.HAS_IPV6", True)

    def connect(sock: socket.socket, place: tuple[str, int]) -> None:
        nonlocal moment
        called.append((place[0], sock.gettimeout()))
        moment += sock.gettimeout() or 0
        raise TimeoutError

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    return called


@pytest.mark.parametrize(
    "leads",
    [
        [["127.0.0.1"]],
        [["::1"]],
        [["::ffff:127.0.0.1"]],
        [["::ffff:7f00:1"]],
        [["64:ff9b::7f00:1"]],
        [["2002:7f00:1::"]],
        [["2001:0:7f00:1::"]],
        [["169.254.169.254"]],
        [["100.100.100.200"]],
        [["fd00:ec2::254"]],
        [["0.0.0.0"]],
        [[PUBLIC, "127.0.0.1"]],
        [["127.0.0.1", PUBLIC]],
        [[PUBLIC_6, "::1"]],
        [[PUBLIC_6, PUBLIC, PUBLIC_TOO, "10.0.0.1"]],
    ],
    ids=str,
)
def test_no_name_leads_back_to_us(
    guarded: Callable[..., list[str]], leads: list[list[str]]
) -> None:
    with listening() as listener:
        guarded(listener.port, *leads)
        outcome = line.post(f"https://hook.example.com:{listener.port}/", BODY, {})
    assert outcome.problem is Problem.NOT_PUBLIC
    assert listener.connections == 0


@pytest.mark.parametrize("first", [[PUBLIC], [PUBLIC_6, PUBLIC]], ids=str)
@pytest.mark.parametrize(
    "later",
    [["127.0.0.1"], ["::1"], ["0.0.0.0"], ["::ffff:127.0.0.1"], ["fec0::1"], [PUBLIC_TOO]],
    ids=str,
)
def test_what_was_checked_is_what_is_called(
    guarded: Callable[..., list[str]],
    called: list[tuple[str, float | None]],
    first: list[str],
    later: list[str],
) -> None:
    """Whatever the name leads to a moment later: it is looked up once."""
    asked = guarded(443, first, later)
    assert line.post("https://hook.example.com/", BODY, {}).problem is Problem.TIMED_OUT
    assert [ip for ip, _ in called] == first
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("leads", "tried"),
    [
        ([PUBLIC], {PUBLIC: 5.0}),
        ([PUBLIC_6, PUBLIC], {PUBLIC_6: 2.5, PUBLIC: 5.0}),
        ([PUBLIC, PUBLIC], {PUBLIC: 5.0}),
        # Families take turns: often it is one of them that does not get through.
        (
            [PUBLIC_6, PUBLIC_6_TOO, PUBLIC, PUBLIC_TOO],
            {PUBLIC_6: 2.0, PUBLIC: 2.0, PUBLIC_6_TOO: 2.5, PUBLIC_TOO: 5.0},
        ),
        ([PUBLIC, PUBLIC_TOO, PUBLIC_6], {PUBLIC: 2.0, PUBLIC_6: 2.5, PUBLIC_TOO: 5.0}),
    ],
    ids=["one", "both families", "twice the same", "four", "three"],
)
def test_an_address_that_does_not_answer_leaves_time_to_the_next(
    guarded: Callable[..., list[str]],
    called: list[tuple[str, float | None]],
    leads: list[str],
    tried: dict[str, float],
) -> None:
    guarded(443, leads)
    assert line.post("https://hook.example.com/", BODY, {}).problem is Problem.TIMED_OUT
    assert [ip for ip, _ in called] == list(tried)
    assert [seconds for _, seconds in called] == pytest.approx(list(tried.values()))


def test_connecting_takes_no_longer_than_the_whole_try_may(
    guarded: Callable[..., list[str]],
    called: list[tuple[str, float | None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line, "TOTAL_SECONDS", 3.0)
    guarded(443, [PUBLIC])
    assert line.post("https://hook.example.com/", BODY, {}).problem is Problem.TIMED_OUT
    ((_, seconds),) = called
    assert seconds == pytest.approx(3.0)


@pytest.mark.parametrize("before", [[], ["127.0.0.2"], ["::1", "127.0.0.2"]], ids=str)
def test_the_name_stays_the_name_for_tls_and_for_the_receiver(
    guarded: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    before: list[str],
) -> None:
    """The certificate must be that of the name, though the connection goes to an address: to the
    first one at which somebody listens."""
    monkeypatch.setattr(addresses, "is_public", lambda _: True)
    asked_for: list[str | None] = []
    for name, problem in (("hook.example.com", None), ("other.example.com", Problem.INSECURE)):
        pem = write_self_signed(tmp_path / f"{name}.pem", name=name, since=datetime.now(UTC))
        monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(pem))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        context.sni_callback = lambda _, server_name, __: asked_for.append(server_name)
        with serving(says(answer(b"")), tls=context) as server:
            guarded(server.port, [*before, "127.0.0.1"])
            outcome = line.post(f"https://hook.example.com:{server.port}/a?b", BODY, {})
        assert outcome.problem is problem, outcome
        if problem is None:
            head = server.requests[0].decode()
            assert head.startswith("POST /a?b HTTP/1.1\r\n")
            assert f"Host: hook.example.com:{server.port}\r\n" in head
    assert asked_for == ["hook.example.com"] * 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(app: Flask, there: Receiver, status: int) -> None:
    with listening() as listener:
        there.always(status, Location=f"http://localhost:{listener.port}/")
        outcome = line.post(there.url, BODY, {})
    assert (outcome.status, outcome.is_delivered) == (status, False)
    assert (listener.connections, len(there.received)) == (0, 1)


def test_no_proxy_of_the_environment_is_used(
    app: Flask, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as listener:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
        assert line.post(there.url, BODY, {}).status == 204
    assert listener.connections == 0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_status_from_200_to_299_is_a_yes(app: Flask, there: Receiver, status: int) -> None:
    there.always(status)
    assert line.post(there.url, BODY, {}).is_delivered


def test_exactly_these_bytes_are_sent(app: Flask, there: Receiver) -> None:
    line.post(there.url, BODY, {"webhook-id": "msg_1"})
    (came,) = there.received
    assert came.body == BODY
    assert came.headers["content-type"] == "application/json"
    assert came.headers["webhook-id"] == "msg_1"
    assert came.headers["user-agent"] == "PatientSync-Webhooks/1"


def drips(caller: Caller, _: bytes) -> None:
    caller.drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000)


def drips_its_body(caller: Caller, _: bytes) -> None:
    caller.say(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
    caller.drip(b"y" * 4000)


def is_silent(caller: Caller, _: bytes) -> None:
    caller.fall_silent()


def hangs_up(caller: Caller, _: bytes) -> None:
    caller.reset()


def refuses(caller: Caller, _: bytes) -> None:
    caller.say(answer(b"", status="503 Busy"))


@pytest.mark.parametrize("behaviour", [hangs_up, is_silent, refuses])
def test_who_was_sent_a_message_is_the_only_one_who_gets_it(
    app: Flask,
    guarded: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    behaviour: Callable[[Caller, bytes], None],
) -> None:
    """Another address is for where no connection comes about: two would have the same message."""
    monkeypatch.setattr(line, "TOTAL_SECONDS", 0.5)
    with serving(behaviour) as server, listening("127.0.0.2", server.port) as other:
        guarded(server.port, ["127.0.0.1", "127.0.0.2"])
        app.config["WEBHOOK_ALLOWED_HOSTS"] = ["hook.example.com"]
        assert not line.post(f"http://hook.example.com:{server.port}/", BODY, {}).is_delivered
    assert len(server.requests) == 1
    assert other.connections == 0


def test_an_address_that_is_silent_in_tls_leaves_the_message_to_the_next(
    app: Flask, guarded: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where small packets get through and large ones do not: nothing of it was sent yet."""
    monkeypatch.setattr(deadline, "TLS_SECONDS", 0.2)
    with bad_server("self-signed") as (port, _), listening("127.0.0.2", port) as silent:
        guarded(port, ["127.0.0.2", "127.0.0.1"])
        app.config["WEBHOOK_ALLOWED_HOSTS"] = ["hook.example.com"]
        outcome = line.post(f"https://hook.example.com:{port}/", BODY, {})
    assert silent.connections == 1
    assert outcome.problem is Problem.INSECURE  # the word of the other one


def test_where_tls_does_not_hold_no_other_address_is_tried(
    app: Flask, guarded: Callable[..., list[str]]
) -> None:
    with bad_server("self-signed") as (port, heard), listening("127.0.0.2", port) as other:
        guarded(port, ["127.0.0.1", "127.0.0.2"])
        app.config["WEBHOOK_ALLOWED_HOSTS"] = ["hook.example.com"]
        outcome = line.post(f"https://hook.example.com:{port}/", BODY, {})
    assert (outcome.problem, heard) == (Problem.INSECURE, [])
    assert other.connections == 0


@pytest.mark.parametrize("behaviour", [drips, is_silent])
def test_a_receiver_that_dawdles_has_its_time_and_no_more(
    app: Flask, monkeypatch: pytest.MonkeyPatch, behaviour: Callable[[Caller, bytes], None]
) -> None:
    monkeypatch.setattr(line, "TOTAL_SECONDS", 0.5)
    with serving(behaviour) as server:
        began = time.monotonic()
        outcome = line.post(local(server.url), BODY, {})
        assert time.monotonic() - began < SOON
    assert outcome.problem is Problem.TIMED_OUT
    assert 400 < outcome.milliseconds < SOON * 1000


def test_a_status_counts_though_the_rest_dawdles(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "TOTAL_SECONDS", 0.5)
    with serving(drips_its_body) as server:
        began = time.monotonic()
        assert line.post(local(server.url), BODY, {}).is_delivered
        assert time.monotonic() - began < SOON


def test_a_huge_answer_is_cut_off(app: Flask) -> None:
    said = threading.Event()

    def pours(caller: Caller, _: bytes) -> None:
        caller.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            for _turn in range(1000):
                caller.say(b"x" * 100_000)
        except OSError:
            said.set()
            raise

    with serving(pours) as server:
        assert line.post(local(server.url), BODY, {}).is_delivered
        assert said.wait(10)  # it could not say it all


def test_nothing_but_its_status_is_kept_of_an_answer(app: Flask, there: Receiver) -> None:
    there.answer = lambda _: Reply(500, {"X-Canary": "canary"}, b"canary")
    assert "canary" not in repr(line.post(there.url, BODY, {}))


def test_nobody_listens(app: Flask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert line.post(f"http://localhost:{port}/", BODY, {}).problem is Problem.UNREACHABLE


@pytest.mark.parametrize("which", ["self-signed", "expired", "wrong name", "no TLS"])
def test_nothing_is_said_over_tls_that_does_not_hold(app: Flask, which: str) -> None:
    with bad_server(which) as (port, heard):
        outcome = line.post(f"https://localhost:{port}/", BODY, {})
    assert outcome.problem is Problem.INSECURE
    assert heard == []


def test_a_name_that_nobody_knows(
    guarded: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    guarded(443)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    outcome = line.post("https://hook.example.com/", BODY, {})
    assert outcome.problem is Problem.UNKNOWN_NAME


def test_an_address_that_is_allowed_no_more_is_not_called(app: Flask, there: Receiver) -> None:
    app.config["WEBHOOK_ALLOWED_HOSTS"] = []
    assert line.post(there.url, BODY, {}).problem is Problem.NOT_ALLOWED
    assert there.received == []


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("120", 120), ("0", 0), ("soon", None), ("-5", None), ("1.5", None), ("9" * 30, None)],
)
def test_it_understands_when_it_may_come_again(
    app: Flask, there: Receiver, said: str, seconds: int | None
) -> None:
    there.always(503, Retry_After=said)
    asked = line.post(there.url, BODY, {}).asked
    assert asked == (None if seconds is None else timedelta(seconds=seconds))


def test_it_understands_a_date_too(app: Flask, there: Receiver) -> None:
    there.always(429, Retry_After=http_date(now() + timedelta(minutes=10)))
    asked = line.post(there.url, BODY, {}).asked
    assert asked is not None
    assert 590 <= asked.total_seconds() <= 600
