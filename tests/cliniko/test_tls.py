"""The same over TLS: whom to trust, and that what breaks off there is no attack."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cliniko.certificate import write_self_signed
from tests.cliniko.local_server import Behaviour, says, serving
from tests.cliniko.misbehaviour import (
    GOOD,
    drips_a_packed_body,
    drips_its_body,
    drips_its_headers,
    ends_before_its_length,
    falls_silent_in_the_body,
    hangs_up,
    refuses,
    resets_in_the_body,
)
from tests.cliniko.stand_ins import ONE_TRY, SOON, Watched, page_from
from webapp.cliniko.client import Listing
from webapp.cliniko.errors import TimedOut, Unavailable
from webapp.cliniko.throttle import RetryPolicy


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_self_signed(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client trusts the server's certificate, which is for `localhost`."""
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))
    monkeypatch.setattr("requests.certs.where", lambda: str(certificate))


def test_a_certificate_of_nobody_s_is_refused_at_once(tls: ssl.SSLContext) -> None:
    with serving(says(GOOD), tls=tls) as server:
        watched = Watched(api_url=server.url)
        with watched.client as client, pytest.raises(Unavailable) as error:
            client.get_page(Listing.ACTIVE)
    assert "not secure" in error.value.message
    assert not error.value.retryable
    assert client.requests_made == 1
    assert watched.waiter.waits == []
    assert server.requests == []


@contextmanager
def broken_handshakes(words: bytes = b"") -> Iterator[int]:
    """A port whose owner hears a greeting out, perhaps says something, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def hang_up_on_everybody() -> None:
            with suppress(OSError):
                while True:
                    caller, _ = listener.accept()
                    with caller:
                        caller.recv(4096)
                        caller.sendall(words)

        pool.submit(hang_up_on_everybody)
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_a_handshake_that_breaks_off_is_tried_again() -> None:
    """Under TLS a broken connection looks like a TLS error, but it is as passing as any other."""
    with broken_handshakes() as port:
        watched = Watched(api_url=f"https://127.0.0.1:{port}/v1", policy=RetryPolicy(tries=3))
        with watched.client as client, pytest.raises(Unavailable) as error:
            client.get_page(Listing.ACTIVE)
    assert client.requests_made == 3
    assert error.value.retryable


def test_a_server_that_speaks_no_tls_is_refused_at_once() -> None:
    with broken_handshakes(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        watched = Watched(api_url=f"https://127.0.0.1:{port}/v1")
        with watched.client as client, pytest.raises(Unavailable, match="not secure"):
            client.get_page(Listing.ACTIVE)
    assert client.requests_made == 1


@pytest.mark.usefixtures("trusting")
def test_a_certificate_for_another_name_is_refused(tls: ssl.SSLContext) -> None:
    with serving(says(GOOD), tls=tls) as server, pytest.raises(Unavailable, match="not secure"):
        page_from(server.url)
    assert server.requests == []


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    "behaviour",
    [drips_its_headers, drips_its_body, drips_a_packed_body, falls_silent_in_the_body],
    ids=lambda behaviour: behaviour.__name__,
)
def test_the_deadline_holds_under_tls_too(tls: ssl.SSLContext, behaviour: Behaviour) -> None:
    with serving(behaviour, tls=tls) as server:
        began = time.monotonic()
        with pytest.raises(TimedOut):
            page_from(server.url.replace("127.0.0.1", "localhost"), ONE_TRY)
        assert time.monotonic() - began < SOON
    assert len(server.requests) == 1


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    "behaviour",
    [refuses, resets_in_the_body, ends_before_its_length, hangs_up],
    ids=lambda behaviour: behaviour.__name__,
)
def test_under_tls_too_a_broken_answer_is_asked_for_again(
    tls: ssl.SSLContext, behaviour: Behaviour
) -> None:
    with serving(behaviour, says(GOOD), tls=tls) as server:
        watched = Watched(api_url=server.url.replace("127.0.0.1", "localhost"))
        with watched.client as client:
            assert client.count_active() == 0
    assert client.requests_made == 2
