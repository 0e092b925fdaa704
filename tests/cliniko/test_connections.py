"""Answers that break, drip, swell or lead away, from real sockets."""

from __future__ import annotations

import gzip
import resource
import socket
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

from tests.cliniko.local_server import Behaviour, Caller, answer, says, serving
from tests.cliniko.misbehaviour import (
    BROKEN,
    GOOD,
    PACKED,
    SLOW,
    falls_silent_at_once,
    hangs_up,
    head,
)
from tests.cliniko.stand_ins import BASIC, ONE_TRY, SOON, Watched, page_from
from webapp.cliniko.client import Listing
from webapp.cliniko.errors import AuthFailed, BadResponse, ClinikoError, TimedOut, Unavailable
from webapp.cliniko.line import Line
from webapp.cliniko.throttle import RetryPolicy, WaitReason


@pytest.mark.parametrize("behaviour", SLOW, ids=lambda behaviour: behaviour.__name__)
def test_a_try_ends_at_its_deadline_however_the_answer_dawdles(behaviour: Behaviour) -> None:
    with serving(behaviour) as server:
        began = time.monotonic()
        with pytest.raises(TimedOut):
            page_from(server.url, ONE_TRY)
        assert time.monotonic() - began < SOON


def test_whoever_does_not_take_the_request_has_not_answered_in_time() -> None:
    policy = RetryPolicy(tries=1, connect_timeout=0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=1) as deaf:
        line = Line("invented-key-au1", "tests", policy)
        with closing(line), pytest.raises(TimedOut):
            line.get(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1", [("q[]", "x" * 20_000_000)])


def test_silence_ends_a_try_before_its_deadline() -> None:
    with serving(falls_silent_at_once) as server:
        began = time.monotonic()
        with pytest.raises(TimedOut):
            page_from(server.url, RetryPolicy(tries=1, read_timeout=0.3))
        assert time.monotonic() - began < SOON


def test_the_deadline_of_one_request_does_not_bind_the_next() -> None:
    with serving(says(GOOD)) as server:
        watched = Watched(api_url=server.url, policy=ONE_TRY)
        with watched.client as client:
            client.get_page(Listing.ACTIVE)
            time.sleep(ONE_TRY.total_timeout)  # the first deadline has to pass
            client.get_page(Listing.ACTIVE)
    assert server.connections == 1


@pytest.mark.parametrize("behaviour", BROKEN, ids=lambda behaviour: behaviour.__name__)
def test_an_answer_that_breaks_off_is_asked_for_again(behaviour: Behaviour) -> None:
    with serving(behaviour, behaviour, says(GOOD)) as server:
        watched = Watched(api_url=server.url)
        with watched.client as client:
            assert client.get_page(Listing.ACTIVE).total_entries == 0
    assert client.requests_made == len(server.requests) == 3
    assert len(watched.waiter.seconds(WaitReason.RETRY)) == 2


@pytest.mark.parametrize("behaviour", BROKEN, ids=lambda behaviour: behaviour.__name__)
def test_answers_that_always_break_off_are_told(behaviour: Behaviour) -> None:
    with serving(behaviour) as server, pytest.raises(Unavailable) as error:
        page_from(server.url, RetryPolicy(tries=2))
    assert type(error.value) is Unavailable
    assert len(server.requests) == 2


def test_nobody_at_home_is_told_as_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    watched = Watched(api_url=f"http://127.0.0.1:{port}/v1")

    with watched.client as client, pytest.raises(Unavailable):
        client.get_page(Listing.ACTIVE)

    assert client.requests_made == 5


def test_a_host_without_an_address_is_told_as_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*args: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(Unavailable):
        page_from("https://cliniko.invalid/v1")


def packed_again(data: bytes) -> Behaviour:
    return says(answer(data, "Content-Encoding: gzip"))


@cache
def one_long_member() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    megabyte = b" " * 1_000_000
    return b"".join(packer.compress(megabyte) for _ in range(400)) + packer.flush()


@cache
def many_members() -> bytes:
    return gzip.compress(b" " * 1_000_000) * 1000


def packed_twice() -> bytes:
    return gzip.compress(one_long_member())


@pytest.mark.parametrize(
    ("bomb", "encoding"),
    [(one_long_member, "gzip"), (many_members, "gzip"), (packed_twice, "gzip, gzip")],
    ids=["one member", "many members", "packed twice"],
)
@pytest.mark.parametrize("status", ["200 OK", "302 Found", "500 Oh no", "404 Not Found"])
def test_a_bomb_is_put_down_before_it_swells(
    bomb: Callable[[], bytes], encoding: str, status: str
) -> None:
    data = answer(
        bomb(), f"Content-Encoding: {encoding}", "Location: http://127.0.0.1:1/", status=status
    )
    before = _peak_megabytes()

    with serving(says(data)) as server, pytest.raises(ClinikoError):
        page_from(server.url)

    assert _peak_megabytes() - before < 150


def _peak_megabytes() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1_000_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip"])
def test_what_is_packed_wrongly_cannot_be_read(encoding: str) -> None:
    data = answer(b"this is not packed at all", f"Content-Encoding: {encoding}")

    with serving(says(data)) as server, pytest.raises(BadResponse):
        page_from(server.url)


def test_a_packed_answer_is_unpacked() -> None:
    with serving(packed_again(PACKED)) as server:
        page_from(server.url)
    assert b"accept-encoding: gzip" in server.requests[0].lower()


def test_a_packed_answer_may_come_byte_by_byte() -> None:
    def drips(caller: Caller, request: bytes) -> None:
        caller.say(head(len(PACKED), "Content-Encoding: gzip"))
        caller.drip(PACKED, every=0)

    with serving(drips) as server:
        page_from(server.url)


def test_a_refusal_is_a_refusal_whatever_follows_it() -> None:
    def refuses_and_drips(caller: Caller, request: bytes) -> None:
        caller.say(answer(b"", status="401 Unauthorized", length=1000))
        caller.drip(b" " * 1000)

    with serving(refuses_and_drips) as server, pytest.raises(AuthFailed):
        page_from(server.url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with serving(says(GOOD)) as elsewhere:
        away = answer(b"", f"Location: {elsewhere.url}/patients", status=f"{status} Away")
        with serving(says(away)) as server, pytest.raises(BadResponse) as error:
            page_from(server.url)
    assert error.value.http_status == status
    assert elsewhere.connections == 0
    assert len(server.requests) == 1


@pytest.mark.parametrize("location", ["http://[", "//", "http://\xff\xfe/", "http://x:99999/"])
def test_a_redirect_to_nonsense_is_no_other_than_one_to_somewhere(location: str) -> None:
    nonsense = b"HTTP/1.1 302 Away\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n"
    data = nonsense % location.encode("latin-1")

    with serving(says(data)) as server, pytest.raises(BadResponse) as error:
        page_from(server.url)
    assert error.value.http_status == 302


def test_a_link_to_another_host_is_not_followed() -> None:
    with serving(says(GOOD)) as elsewhere, serving(says(GOOD)) as server:
        client = Watched(api_url=server.url).client
        with pytest.raises(BadResponse):
            client.follow(Listing.ACTIVE, f"{elsewhere.url}/patients?page=2")
    assert elsewhere.connections == server.connections == 0


def test_neither_a_proxy_nor_netrc_of_the_machine_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    with serving(says(GOOD)) as proxy, serving(says(GOOD)) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NETRC", str(netrc))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        page_from(server.url)
    assert proxy.connections == 0
    assert BASIC.encode() in server.requests[0]


def test_a_thread_keeps_its_connection() -> None:
    missing = answer(b'{"message": "not found"}', status="404 Not Found")
    with serving(says(GOOD), says(missing), says(missing), says(GOOD)) as server:
        client = Watched(api_url=server.url).client
        client.count_active()
        assert client.patient("1") is None
        assert client.patient("2") is None
        client.count_active()
        client.close()
    assert (server.connections, len(server.requests)) == (1, 4)


def test_several_threads_may_ask_at_once() -> None:
    with serving(says(GOOD)) as server:
        client = Watched(api_url=server.url).client
        with client, ThreadPoolExecutor(8) as pool:
            totals = list(pool.map(lambda _: client.count_active(), range(200)))
    assert totals == [0] * 200
    assert client.requests_made == len(server.requests) == 200
    assert server.connections <= 8


def test_closing_closes_the_connections_of_all_threads() -> None:
    with serving(says(GOOD)) as server:
        client = Watched(api_url=server.url).client
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: client.count_active(), range(20)))
        client.close()
        assert server.is_left_alone()


def test_closing_closes_the_connections_after_a_failure_too() -> None:
    with serving(hangs_up, says(GOOD)) as server:
        client = Watched(api_url=server.url).client
        client.count_active()
        client.close()
        assert server.is_left_alone()
