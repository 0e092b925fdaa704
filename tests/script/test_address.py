from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from script.address import Address, AddressUnusable, free_port


class Health(BaseHTTPRequestHandler):
    """Answers /healthz with 200, everything else with 404."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests clean."""


@pytest.fixture
def healthy_port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
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
def test_a_server_that_answers_is_healthy(healthy_port: int, host: str) -> None:
    assert Address(host, healthy_port).is_healthy()


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
