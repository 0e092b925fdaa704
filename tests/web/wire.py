"""Requests as bytes, for what no library would send."""

from __future__ import annotations

import socket

from script.address import Address


def exchange(address: Address, request: bytes) -> tuple[int, bytes]:
    """The status of the answer and all of its bytes; the request should ask for the end."""
    with socket.create_connection((address.host, address.port), timeout=40) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1]), answer
