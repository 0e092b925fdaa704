"""Sessions that go straight to one place, and connections on which an answer has one deadline,
from its first header to its last byte.

A read time-out begins anew with every byte, so an answer that comes in drops would outlive it. And
a packed answer gives nothing to look at between its drops: the clock has to stand at the socket.
"""

from __future__ import annotations

import io
import math
import socket
import time
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any

from requests import Response, Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError

TLS_SECONDS = 5.0  # at most for a handshake

# The deadline of the request that this thread makes; a time of `time.monotonic`.
answer_by: ContextVar[float] = ContextVar("answer_by", default=math.inf)


class DirectSession(Session):
    """A session that goes nowhere else: by no proxy of whoever runs this, with no password of
    theirs, and after no redirect, whose body `requests` would read even if told not to follow."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def get_redirect_target(self, resp: Response) -> None:
        return None


class TimelyAdapter(HTTPAdapter):
    """Carries the requests of one thread; raises time-outs for answers not whole by `answer_by`."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def close(self) -> None:
        # Else they stay open until the garbage collector has found the last failure's traceback.
        pools = self.poolmanager.pools
        for key in list(pools.keys()):
            pools[key].close()
        super().close()


class _Incoming(io.RawIOBase):
    """What comes in on a socket, until the deadline."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        self._patience = sock.gettimeout() or math.inf
        self._deadline = answer_by.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer was not whole in time")
        wait = min(left, self._patience)
        self._sock.settimeout(wait if wait < math.inf else None)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Incoming(self.fp.detach(), sock))


class _Connection(HTTPConnection):
    response_class = _Answer


class _SecureConnection(HTTPSConnection):
    """A handshake has a time of its own, whatever share of a try was left for connecting; and
    whoever is silent in it was sent nothing yet: no connection has come about."""

    response_class = _Answer

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        left = answer_by.get() - time.monotonic()
        sock.settimeout(max(min(left, TLS_SECONDS), 0.01))
        return sock

    def connect(self) -> None:
        try:
            super().connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "the TLS handshake was not made in time") from error


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
