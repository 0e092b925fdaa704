"""HTTP/1.1: keep-alive, a thread for each connection, and faults down to the socket."""

import socket
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from simulator.exchange import Answer, Request
from simulator.faults import Fault, on_wire
from simulator.wire_faults import Wire

Respond = Callable[[Request], tuple[Answer, list[Fault]]]


class HttpServer(ThreadingMixIn, TCPServer):
    """Takes connections from when it is made until `stop`; `respond` answers each request."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, respond: Respond) -> None:
        super().__init__((host, port), _Handler)
        self.respond = respond
        self.stopping = Event()
        self._connections: set[socket.socket] = set()
        self._thread = Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close every connection, whatever is happening on it, and the port."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in tuple(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # its caller was quicker

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that `stop` ends one that is only being kept alive."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong, unless it is only that the caller has hung up."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpServer

    def _answer(self) -> None:
        address = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=address.path,
            params=parse_qsl(address.query, keep_blank_values=True),
            headers=self.headers,
            base=f"http://{self.headers.get('Host', 'localhost')}",
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        answer, met = self.server.respond(request)
        head = self._head(answer)
        if on_wire(met, Wire(self.connection, self.server.stopping), head, answer.body):
            self.close_connection = True
        else:
            self.connection.sendall(head + answer.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def _head(self, answer: Answer) -> bytes:
        lines = [
            f"HTTP/1.1 {answer.status} {self.responses.get(answer.status, ('Other',))[0]}",
            f"Date: {self.date_time_string()}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet: the simulator keeps its own list of requests."""
