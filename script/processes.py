"""Which programs make up the system, and keeping them running with supervisord."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config import ROOT, Settings, redis_socket
from script import tether
from script.address import Address


@dataclass(frozen=True)
class Program:
    """A program to keep running. It must be tethered, see `tethered`."""

    name: str
    command: Sequence[str]
    copies: int = 1


def tethered(*arguments: str, by: signal.Signals = signal.SIGTERM) -> list[str]:
    """The command line for our Python with these arguments, ended when its parent ends."""
    return [sys.executable, tether.__file__, by.name, sys.executable, *arguments]


def programs(settings: Settings, *, simulator: Sequence[str] = ()) -> list[Program]:
    """What has to run, in the order of starting; it is stopped the other way round.

    `simulator` holds the arguments of the simulated Cliniko, if there is to be one.
    """
    chosen = []
    if settings.embedded_redis:
        socket, folder = redis_socket(settings.instance), settings.instance / "redis"
        redis = [sys.executable, "-m", "script.embedded_redis", str(socket), str(folder)]
        chosen.append(Program("redis", redis))
    if simulator:
        chosen.append(Program("simulator", tethered("-m", "simulator", *simulator)))
    web = tethered("-m", "gunicorn", "--bind", str(Address(settings.host, settings.port)))
    chosen.append(Program("web", web))
    # A worker told to end wants to tell Redis, and when our parent dies Redis goes too: it would
    # wait for minutes. Its sync is taken over as after any crash. Pages go before syncs: nice.
    worker = ["nice", "-n", "5", *tethered("worker.py", by=signal.SIGKILL)]
    chosen.append(Program("worker", worker, copies=settings.workers))
    deliverer = ["nice", "-n", "5", *tethered("worker.py", "--deliver")]
    chosen.append(Program("deliverer", deliverer))
    return chosen


@contextmanager
def supervised(chosen: Sequence[Program], instance: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Supervisord with these programs; whatever dies is started again. Logs go to instance/log.

    On leaving, everything is stopped, the last program first. Call it from the main thread:
    the tether is tied to the thread that starts supervisord.
    """
    (instance / "log").mkdir(exist_ok=True)
    (instance / "supervisord.conf").write_text(configuration(chosen), encoding="utf-8")
    supervisord = subprocess.Popen(
        tethered("-m", "supervisor.supervisord", "--configuration", "supervisord.conf"),
        cwd=instance,
        env=tether.environ({**os.environ, "PYTHONUNBUFFERED": "1"}),
        stdin=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C reaches us alone, and we see to the order of stopping
    )
    try:
        yield supervisord
    finally:
        supervisord.terminate()
        supervisord.wait()


def configuration(chosen: Sequence[Program]) -> str:
    """Supervisord's configuration file, for the instance folder. It holds no secrets."""
    logs = {"logfile_maxbytes": "10MB", "logfile_backups": "3"}
    settings = {
        "nodaemon": "true",
        "silent": "true",  # what happens is told by script/serve.py and by the log files
        "pidfile": "supervisord.pid",
        "logfile": "log/supervisord.log",
        **logs,
    }
    text = _section("supervisord", settings)
    for priority, program in enumerate(chosen, start=1):
        name = program.name if program.copies == 1 else f"{program.name}-%(process_num)d"
        settings = {
            "command": _literal(shlex.join(program.command)),
            "directory": _literal(str(ROOT)),
            "process_name": name,
            "numprocs": str(program.copies),
            "numprocs_start": "1",
            "priority": str(priority),
            "autorestart": "true",
            "startsecs": "1",
            "startretries": "1000000",  # never give up
            # SIGTERM to the program alone, which ends its children itself; SIGKILL to all.
            "stopwaitsecs": "15",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": f"log/{name}.log",
            **{f"stdout_{key}": value for key, value in logs.items()},
        }
        text += _section(f"program:{program.name}", settings)
    return text


def _section(title: str, settings: Mapping[str, str]) -> str:
    return "\n".join([f"[{title}]", *(f"{key} = {value}" for key, value in settings.items()), "\n"])


def _literal(text: str) -> str:
    """Supervisord takes a percent sign for the beginning of a variable."""
    return text.replace("%", "%%")
