"""The web servers that are compared: ours as it is, with other settings, and others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.ours import Serve
from bench.system import installed_for_benches
from config import ROOT
from script.address import Address, free_port
from tests.support.gunicorn_server import gunicorn
from tests.support.processes import wait_until

# Installed when they are first asked for, beside what is installed anyway.
_OTHERS = ("granian==2.8.7", "waitress==3.0.2", "click==8.3.1")


def _threads(processes: int, threads: int) -> Serve:
    options = ("--workers", str(processes), "--threads", str(threads))
    return lambda environment, log: gunicorn(environment, log, *options)


@contextmanager
def _other(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[Address]:
    address = Address("127.0.0.1", free_port())
    words = [word.format(port=address.port) for word in command]
    path = {"PYTHONPATH": f"{ROOT}:{_installed()}"}
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env={**environment, **path},
            stdout=file,
            stderr=file,
        )
        try:
            wait_until(address.is_healthy)
            yield address
        finally:
            process.terminate()
            process.wait(20)


def _installed() -> Path:
    folder = installed_for_benches() / "-".join(_OTHERS).replace("==", "-")
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, *_OTHERS], check=True)
    return folder


_GRANIAN = (
    *("granian", "--interface", "wsgi", "--factory", "webapp:create_app", "--no-ws"),
    *("--port", "{port}", "--workers", "2", "--blocking-threads", "2"),
    # What it takes at most, of connections too; each open dashboard has one.
    *("--backlog", "4096", "--backpressure", "2000"),
)
_WAITRESS = (  # select(), with which it would watch them, knows no more than 1,024 connections
    *("waitress", "--port={port}", "--threads=8", "--connection-limit=2000"),
    "--asyncore-use-poll",
    *("--call", "webapp:create_app"),
)

KINDS: dict[str, Serve] = {
    "as it is": gunicorn,
    "gunicorn 1x8": _threads(1, 8),
    "gunicorn 2x2": _threads(2, 2),
    "gunicorn 2x8": _threads(2, 8),
    "gunicorn 3x4": _threads(3, 4),
    "granian 2x2": partial(_other, _GRANIAN),
    "waitress 1x8": partial(_other, _WAITRESS),
}
