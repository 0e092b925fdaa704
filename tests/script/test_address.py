from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import BaseRequestHandler, StreamRequestHandler, TCPServer

import pytest

from script.address import Address, AddressUnusable, free_port


class Healthy(BaseHTTPRequestHandler):
    """Answers /healthz with 200, everything else with 404."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests clean."""


class Ill(Healthy):
    """Answers everything with 503."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()


class Foreign(StreamRequestHandler):
    """Speaks another protocol."""

    def handle(self) -> None:
        self.wfile.write(b"220 mail.example\r\n")


@contextmanager
def server(handler: type[BaseRequestHandler]) -> Iterator[int]:
    """The port of a server that answers with this handler."""
    with TCPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running.server_address[1]
        running.shutdown()
        thread.join()


def test_a_free_port_can_be_used() -> None:
    Address("127.0.0.1", free_port()).check()


def test_a_taken_port_cannot_be_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressUnusable, match=f"127.0.0.1:{port} .*in use.* PORT=8001"):
            Address("127.0.0.1", port).check()


def test_a_name_that_means_nothing_cannot_be_used() -> None:
    with pytest.raises(AddressUnusable, match=r"nowhere\.invalid"):
        Address("nowhere.invalid", 8000).check()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_server_that_answers_is_healthy(host: str) -> None:
    with server(Healthy) as port:
        assert Address(host, port).is_healthy()


@pytest.mark.parametrize("handler", [Ill, Foreign])
def test_another_answer_is_not_healthy(handler: type[BaseRequestHandler]) -> None:
    with server(handler) as port:
        assert not Address("127.0.0.1", port).is_healthy()


def test_nobody_there_is_not_healthy() -> None:
    assert not Address("127.0.0.1", free_port()).is_healthy()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://localhost:8000"),
        ("0.0.0.0", "http://localhost:8000"),
        ("::1", "http://localhost:8000"),
        ("clinic.example", "http://clinic.example:8000"),
        ("fd00::7", "http://[fd00::7]:8000"),
    ],
)
def test_it_shows_what_to_type_into_the_browser(host: str, url: str) -> None:
    assert Address(host, 8000).url() == url
