from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

from config import ROOT
from script.address import free_port


def serve(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Start in an instance folder of its own; for starts that are refused."""
    variables = {"PATH": os.environ["PATH"], "INSTANCE_DIR": str(folder), **environ}
    command = [sys.executable, "-m", "script.serve"]
    return subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60
    )


def test_nonsense_is_answered_with_one_sentence(tmp_path: Path) -> None:
    done = serve(tmp_path, PORT="many")
    assert done.returncode == 2
    assert done.stderr == "PORT must be a number from 1 to 65535, not 'many'.\n"


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = serve(tmp_path, PORT=port)
    assert done.returncode == 1
    assert port in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_second_start_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = serve(tmp_path, PORT=str(free_port()))
    assert done.returncode == 1
    assert done.stderr == f"Patient Sync already runs with the folder {tmp_path}.\n"
