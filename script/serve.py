"""Runs the whole system on one machine until it is stopped: script/server."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from resource import RLIMIT_CORE, setrlimit

from config import DEMO_CLINIKO_KEY, ROOT, SIMULATOR_NOTE, ConfigError, Settings, load
from script.address import Address, AddressUnusable, free_port
from script.embedded_redis import NoRedisServer, find_server
from script.processes import programs, supervised

READY_WITHIN = 60  # seconds
DEMO_LATENCY_MS = 700  # Cliniko takes its time; at once there would be nothing to watch


class CannotServe(Exception):
    """The system cannot start, or cannot go on; the text says why and what to do."""


def main() -> int:
    """Start everything and stay until it is stopped. Returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP, and so it stays
            signal.signal(number, signal.default_int_handler)
    os.umask(0o077)  # logs and database are nobody else's business
    setrlimit(RLIMIT_CORE, (0, 0))  # nor is memory with keys and patients in it
    try:
        settings = load(os.environ)
        with _only_one(settings.instance):
            _serve(settings)
    except KeyboardInterrupt:
        return 0
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (AddressUnusable, CannotServe, NoRedisServer) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, or a file that is another user's
        print(f"Patient Sync cannot go on: {error}", file=sys.stderr)
        return 1
    return 0


def password_once_ready(said: Iterable[str]) -> str:
    """The password in the lines that the first start of a demo says, once it says that it is ready.
    Raises CannotServe if there is none in them."""
    before = "".join(takewhile(lambda line: not line.startswith("Ready: "), said))
    found = re.search(r"with the password (\S+)", before)
    if found is None:
        raise CannotServe(f"No password was said: {before}")
    return found[1]


def _serve(settings: Settings) -> None:
    web = Address(settings.host, settings.port)
    web.check()
    if settings.embedded_redis:
        find_server()
    simulator: list[str] = []
    if settings.simulator:
        port = free_port()
        simulator = ["--port", str(port), "--key", DEMO_CLINIKO_KEY]
        simulator += ["--latency-ms", str(DEMO_LATENCY_MS)]
        (settings.instance / SIMULATOR_NOTE).write_text(f"http://127.0.0.1:{port}/v1")
    chosen = programs(settings, simulator=simulator)
    log = settings.instance / "log"
    log.mkdir(exist_ok=True)

    _say("Preparing the database")
    if welcome := _prepare(log / "database.log"):
        _say(welcome.rstrip())  # at once, for a password is shown only this once
    _say("Starting " + ", ".join(f"{program.name} ({program.copies})" for program in chosen))
    with supervised(chosen, settings.instance) as supervisord:
        try:
            _wait_until_healthy(web, supervisord, log, settings.allowed_hosts)
            # Called by another name than that of PUBLIC_URL it refuses to answer in production.
            ready = settings.public_url or web.url()
            _say(f"Ready: {ready}\nLogs are in {log}. Ctrl-C stops everything.")
            supervisord.wait()
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # asking once is enough
            _say("Stopping")
            return
    raise CannotServe(f"The supervisor has ended; see {log / 'supervisord.log'}")


@contextmanager
def _only_one(instance: Path) -> Iterator[None]:
    """Hold the lock of the instance folder. Raises CannotServe if another server holds it."""
    with (instance / "server.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotServe(f"Patient Sync already runs with the folder {instance}.") from None
        yield


def _prepare(log: Path) -> str:
    """Prepare the database. Returns what people have to know. Raises CannotServe."""
    with log.open("wb") as file:
        command = [sys.executable, "-m", "script.prepare"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=file, text=True)
    if done.returncode != 0:
        raise CannotServe(done.stdout.strip() or f"The database could not be prepared; see {log}")
    return done.stdout


def _wait_until_healthy(
    web: Address, supervisord: subprocess.Popen[bytes], log: Path, allowed_hosts: Sequence[str]
) -> None:
    called = allowed_hosts[0].lstrip(".") if allowed_hosts else None
    deadline = time.monotonic() + READY_WITHIN
    while not web.is_healthy(called=called):
        if supervisord.poll() is not None:
            raise CannotServe(f"The supervisor has ended; see {log / 'supervisord.log'}")
        if time.monotonic() > deadline:
            raise CannotServe(f"The web server does not answer; see {log / 'web.log'}")
        time.sleep(0.1)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
