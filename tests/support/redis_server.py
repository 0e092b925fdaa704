"""A real Redis for tests, on a socket in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisUnreachable
from redis.retry import Retry

from config import ROOT
from script import tether


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a server that runs until this is left."""
    with RedisServer() as server:
        yield server.url


class RedisServer:
    """Started on entering and gone on leaving; between that it can be killed and come back.

    with RedisServer() as server:
        Redis.from_url(server.url).ping()
        server.stop(signal.SIGKILL)
        server.start()
    """

    def __init__(self) -> None:
        # Not below pytest's own temporary folder, whose path is too long for a socket.
        self._folder = Path(tempfile.mkdtemp(prefix="redis-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = self._folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.command = [sys.executable, "-m", "script.embedded_redis"]
        self.command += [str(self.socket), str(self._folder / "data")]

    def start(self) -> None:
        """Start the server, with the data it left, and wait until it answers."""
        self._process = subprocess.Popen(
            self.command, cwd=ROOT, env=tether.environ(os.environ), stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the Redis server does not start")
            time.sleep(0.01)

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """End the server with this signal and wait until it is gone; it may be gone already."""
        if self._process is None:
            return
        self._process.send_signal(signal_number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def send(self, signal_number: int) -> None:
        """Send the server a signal that does not end it."""
        if self._process is not None:
            self._process.send_signal(signal_number)

    def forget(self) -> None:
        """Throw away what the server, which is stopped, would find again."""
        shutil.rmtree(self._folder / "data", ignore_errors=True)

    def _answers(self) -> bool:
        with Redis.from_url(self.url, retry=Retry(NoBackoff(), 0)) as connection:
            try:
                return bool(connection.ping())
            except RedisUnreachable:
                return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)
