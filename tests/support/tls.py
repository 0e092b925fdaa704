"""A server whose TLS is no good, in a way that can be chosen."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.cliniko.certificate import write_self_signed


@contextmanager
def bad_server(which: str) -> Iterator[tuple[int, list[bytes]]]:
    """The port of a server on `localhost`, and every byte that reached it inside TLS.

    `which` is self-signed, expired, wrong name, TLS 1.1, or no TLS (then: any byte at all that
    begins a request).
    """
    heard: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("localhost", 0)) as server:
        name = "elsewhere.example.com" if which == "wrong name" else "localhost"
        age = timedelta(days=-30 if which == "expired" else 0)
        pem = write_self_signed(
            Path(folder) / "server.pem", name=name, since=datetime.now(UTC) + age
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        if which == "TLS 1.1":
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        server.settimeout(0.1)
        leaving = threading.Event()

        def serve() -> None:
            while not leaving.is_set():
                try:
                    connection, _ = server.accept()
                except (TimeoutError, OSError):
                    continue
                with suppress(OSError), connection:
                    connection.settimeout(2)
                    if which == "no TLS":
                        if (said := connection.recv(1000)).startswith(b"GET "):
                            heard.append(said)
                        continue
                    with context.wrap_socket(connection, server_side=True) as secure:
                        if said := secure.recv(1000):
                            heard.append(said)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], heard
        leaving.set()
        thread.join()
