"""Faults of the connection on which an answer travels. Each closes it at the end."""

import os
import select
import socket
import struct
from dataclasses import dataclass
from threading import Event

_AT_ONCE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Wire:
    """A caller's connection, and the event that says the simulator is stopping."""

    socket: socket.socket
    stopping: Event

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        os.close(self.socket.detach())  # close() alone waits for the files made of the socket

    def wait(self, seconds: float) -> bool:
        """Wait; return False as soon as the caller has gone or the simulator stops."""
        waited, caller = 0.0, select.poll()  # select() refuses the 1,024th open file
        caller.register(self.socket, select.POLLIN)
        while waited < seconds:
            piece = min(0.1, seconds - waited)
            if self.stopping.wait(piece) or caller.poll(0):
                return False
            waited += piece
        return True


def reset_before_headers(wire: Wire, head: bytes, body: bytes) -> None:
    """Reset the connection instead of answering."""
    wire.reset()


def reset_mid_body(wire: Wire, head: bytes, body: bytes) -> None:
    """Reset the connection after half of the body."""
    wire.socket.sendall(head + body[: len(body) // 2])
    wire.reset()


def short_body(wire: Wire, head: bytes, body: bytes) -> None:
    """End in good order, but before Content-Length is reached."""
    wire.socket.sendall(head + body[: len(body) // 2])


def broken_chunk(wire: Wire, head: bytes, body: bytes) -> None:
    """Send in chunks, the second of which has no length."""
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    chunked = b"\r\n".join([lines[0], b"Transfer-Encoding: chunked", *lines[1:]])
    half = body[: len(body) // 2]
    wire.socket.sendall(b"%b%x\r\n%b\r\nno length\r\n" % (chunked, len(half), half))


def hang(wire: Wire, head: bytes, body: bytes, *, seconds: float = 3600) -> None:
    """Say nothing, and close after a while."""
    wire.wait(seconds)


def drip(wire: Wire, head: bytes, body: bytes, *, every_s: float = 5, size: int = 1) -> None:
    """Send the head, and then so many bytes of the body every so many seconds."""
    wire.socket.sendall(head)
    for start in range(0, len(body), size):
        if not wire.wait(every_s):
            return
        wire.socket.sendall(body[start : start + size])
