from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from script import tether
from tests.support.processes import is_alive, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the tether")

TETHERED = [sys.executable, tether.__file__, "SIGTERM"]


def test_the_program_ends_with_its_parent(tmp_path: Path) -> None:
    child = tmp_path / "child"
    code = f"""
import os, pathlib, subprocess
from script import tether
it = subprocess.Popen({[*TETHERED, "/bin/sleep", "1000"]}, env=tether.environ(os.environ))
while pathlib.Path(f"/proc/{{it.pid}}/comm").read_text() != "sleep\\n": pass
pathlib.Path({str(child)!r}).write_text(str(it.pid))
it.wait()
"""
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        wait_until(lambda: child.exists() and child.read_text() != "")
        assert is_alive(int(child.read_text()))
        parent.kill()
    wait_until(lambda: not is_alive(int(child.read_text())))


def test_it_does_not_start_for_a_parent_that_is_gone() -> None:
    environ = {**os.environ, tether.PARENT: "1"}
    done = subprocess.run([*TETHERED, "/bin/echo", "hello"], env=environ, capture_output=True)
    assert done.returncode == 1
    assert done.stdout == b""


def test_the_program_is_the_parent_of_its_own_children() -> None:
    grandchild = shlex.join([*TETHERED, "/bin/echo", "hello"])
    child = [*TETHERED, "/bin/sh", "-c", f"{grandchild}; true"]  # two commands: the shell forks
    done = subprocess.run(child, env=tether.environ(os.environ), capture_output=True)
    assert done.stdout == b"hello\n"
