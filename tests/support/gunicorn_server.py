"""The real web server, as `script/server` starts it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from config import ROOT
from script import tether
from script.address import Address, free_port
from script.processes import tethered
from tests.support.processes import wait_until


@contextmanager
def gunicorn(environment: Mapping[str, str], log: Path, *options: str) -> Iterator[Address]:
    """As gunicorn.conf.py has it but for these options, on a port of its own; all that its
    processes say goes to a file."""
    address = Address("127.0.0.1", free_port())
    command = tethered("-m", "gunicorn", "--bind", str(address), *options)
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=tether.environ(environment), stdout=file, stderr=file
        )
        try:
            wait_until(address.is_healthy)
            yield address
        finally:
            process.terminate()
            process.wait(20)
