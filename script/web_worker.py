"""gunicorn's threads with an end to their patience."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

REQUEST_SECONDS = 25.0


class WebWorker(ThreadWorker):  # type: ignore[misc]
    """Lets no request hold a thread for longer than 25 seconds, then closes its connection.

    gunicorn waits for ever for a head or a body that trickles in, and for a client that does not
    take its answer: as many of those as there are threads would stop everybody else. Nothing
    that we do for a request takes that long by itself.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ends: dict[TConn, float] = {}

    def handle(self, conn: TConn) -> Any:
        """Serve one request, in a thread."""
        self._ends[conn] = time.monotonic() + REQUEST_SECONDS
        try:
            return super().handle(conn)
        finally:
            del self._ends[conn]

    def murder_pending(self) -> None:
        """Close what has taken too long; the main loop calls this every second."""
        super().murder_pending()
        moment = time.monotonic()
        for conn, end in self._ends.copy().items():
            if end < moment:
                with suppress(OSError):  # closed meanwhile
                    # The thread that waits there finds the connection at its end, and closes it.
                    conn.sock.shutdown(socket.SHUT_RDWR)
