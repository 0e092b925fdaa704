"""Where the web server listens."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from http import HTTPStatus


class AddressUnusable(Exception):
    """The web server cannot listen there; the text says why and what to do."""


@dataclass(frozen=True)
class Address:
    """A host, by name or by IP address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self) -> str:
        """What a person at this machine types into the browser."""
        here = self.host in ("127.0.0.1", "0.0.0.0", "::", "::1")  # nosec B104  # not bound to here
        return f"http://localhost:{self.port}" if here else f"http://{self}"

    def check(self) -> None:
        """Raise AddressUnusable if another program listens there, or if it is not ours to take."""
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM
            )[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            raise AddressUnusable(
                f"Nothing can listen on {self} ({error.strerror}). "
                "Choose another port: PORT=8001 script/server"
            ) from None

    def is_healthy(self, *, called: str | None = None) -> bool:
        """Whether a web server there says that it is alive, called by this name or by its own."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # nosec B104  # not bound to here
        host = everywhere.get(self.host, self.host)
        connection = http.client.HTTPConnection(host, self.port, timeout=5)
        try:
            connection.request("GET", "/healthz", headers={"Host": called} if called else {})
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens right now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
