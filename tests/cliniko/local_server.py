"""A server of a few lines whose every byte, and every silence, is the test's own."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread


class Caller:
    """One connection that somebody has opened to the server."""

    def __init__(self, sock: socket.socket, stopping: Event) -> None:
        self.socket = sock
        self._stopping = stopping

    def request(self) -> bytes:
        """The head of the next request; empty if the caller has hung up."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.socket.recv(1)
            if not byte:
                return b""
            head += byte
        return head

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def drip(self, data: bytes, *, every: float = 0.05) -> None:
        """Say one byte at a time, until all is said or the server stops."""
        for place in range(len(data)):
            if self._stopping.wait(every):
                return
            self.say(data[place : place + 1])

    def fall_silent(self) -> None:
        """Say nothing more for as long as the test lasts."""
        self._stopping.wait()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Behaviour = Callable[[Caller, bytes], None]

_A_WHILE = 20.0  # seconds; a caller who forgets to hang up must not stop the tests for ever


class LocalServer:
    """Counts connections and keeps the head of every request."""

    def __init__(self, listener: socket.socket, scheme: str) -> None:
        self.threads: list[Thread] = []  # one for each connection
        self.requests: list[bytes] = []
        self.port: int = listener.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}/v1"

    @property
    def connections(self) -> int:
        return len(self.threads)

    def is_left_alone(self) -> bool:
        """Whether every connection ends, given a while."""
        for thread in self.threads:
            thread.join(_A_WHILE / 2)
        return not any(thread.is_alive() for thread in self.threads)


@contextmanager
def serving(*behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[LocalServer]:
    """A server that meets the n-th request with the n-th behaviour, and all later ones with the
    last; a connection is closed when the caller hangs up or a behaviour closes it."""
    stopping = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = LocalServer(listener, "https" if tls else "http")

        def serve(sock: socket.socket) -> None:
            # The caller may go at any moment: that is what most of these tests are about.
            with suppress(OSError):
                if tls is not None:
                    sock = tls.wrap_socket(sock, server_side=True)
                caller = Caller(sock, stopping)
                while head := caller.request():
                    server.requests.append(head)
                    turn = min(len(server.requests), len(behaviours)) - 1
                    behaviours[turn](caller, head)
            sock.close()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    sock.settimeout(_A_WHILE)
                    thread = Thread(target=serve, args=(sock,))
                    server.threads.append(thread)
                    thread.start()

        accepting = Thread(target=accept)
        accepting.start()
        try:
            yield server
        finally:
            stopping.set()
            listener.shutdown(socket.SHUT_RDWR)  # close alone does not wake accept
            accepting.join()
            for thread in server.threads:
                thread.join()


def answer(
    body: bytes,
    *headers: str,
    status: str = "200 OK",
    kind: str = "application/json",
    length: int | None = None,
) -> bytes:
    """A whole HTTP answer, whose Content-Length may lie."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


def says(data: bytes) -> Behaviour:
    """Say this and wait for the next request."""
    return lambda caller, head: caller.say(data)
