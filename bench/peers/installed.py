"""The peers in an environment of their own, made when it is first asked for, and one run of one."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.system import installed_for_benches
from config import DEMO_CLINIKO_KEY, ROOT

PEERS = {"floor": "floor", "dlt": "with_dlt", "by_hand": "by_hand"}
_REQUIREMENTS = Path(__file__).parent / "requirements.txt"


@dataclass(frozen=True)
class PeerRun:
    """What a peer needed: from behind its imports to its last commit, and as a process in all."""

    seconds: float
    whole_seconds: float
    cpu_seconds: float
    peak_mb: float
    rows: int


def python_of_peers() -> Path:
    """The interpreter of the peers' environment, for exactly the versions that are pinned."""
    pins = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = installed_for_benches() / f"peers-{pins}"
    ready, python = folder / "ready", folder / "bin" / "python"
    if not ready.exists():
        print("The peers are installed, once.", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [
            str(python),
            "-m",
            "pip",
            "install",
            "-qq",
            "--no-deps",
            "-r",
            str(_REQUIREMENTS),
        ]
        subprocess.run(install, check=True)
        ready.touch()
    return python


def run_peer(python: Path, name: str, cliniko: str, database: str) -> PeerRun:
    """Let a peer copy the clinic once. Raises CalledProcessError if it ends in an error."""
    command = [str(python), "-W", "ignore", "-m", f"bench.peers.{PEERS[name]}", "--url", cliniko]
    command += ["--key", DEMO_CLINIKO_KEY, "--database", database]
    began = time.monotonic()
    ended = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    whole = time.monotonic() - began
    told = json.loads(ended.stdout.splitlines()[-1])
    return PeerRun(whole_seconds=whole, **told)
