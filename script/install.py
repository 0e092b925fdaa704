"""Makes .venv and installs a requirements file into it: python3 script/install.py requirements.txt

Runs before anything is installed, so it needs nothing but Python itself.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def install(requirements: Path, venv: Path) -> None:
    """Bring the environment up to date; at once if everything required is already there.

    Raises CalledProcessError if Python or pip refuses. What pip refused leaves the environment to
    be used; the next call after one that was killed starts afresh.
    """
    python, stamp = venv / "bin" / "python", venv / "installed.txt"
    version = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    wanted = _lines(requirements) | {version}
    # Whoever comes second waits here, and then finds the work done.
    lock = os.open(requirements.parent, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The stamp holds the lines that were installed, so the larger set also serves the smaller.
        installed = _lines(stamp) if python.exists() and stamp.exists() else set()
        if wanted <= installed:
            return
        print(f"Installing {requirements.name}; this can take a minute.", flush=True)
        stamp.unlink(missing_ok=True)
        if version not in installed:  # nothing yet, one that was killed, or for another Python
            subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        try:
            _install_packages(python, requirements)
        except subprocess.CalledProcessError as refused:
            if refused.returncode > 0:
                # Each package is whole, the old one or the new: pip downloads before it touches
                # anything, and puts back the one that it cannot replace. So nothing has to go, and
                # what an earlier release needs may all be there still, without a network.
                stamp.write_text(version, encoding="utf-8")
            raise
        stamp.write_text("\n".join(sorted(wanted)), encoding="utf-8")
    finally:
        os.close(lock)


def _install_packages(python: Path, requirements: Path) -> None:
    """Raises CalledProcessError; its code is negative if pip was killed."""
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--require-hashes", "-r", requirements], check=True)


def _lines(file: Path) -> set[str]:
    """What a file says but for its remarks, which tell by whom a package is needed."""
    lines = (line.strip(" \\") for line in file.read_text(encoding="utf-8").splitlines())
    return {line for line in lines if line and not line.startswith("#")}


def main() -> int:
    """Exit code 2: what was asked for cannot be done here, 1: it did not succeed."""
    if len(sys.argv) != 2:
        print("Say which file is to be installed, as requirements.txt.", file=sys.stderr)
        return 2
    requirements = ROOT / sys.argv[1]
    if not requirements.is_file():
        print(f"There is no file {requirements} that could be installed.", file=sys.stderr)
        return 2
    if importlib.util.find_spec("ensurepip") is None:
        print("Python's venv is missing; on Debian: apt install python3-venv", file=sys.stderr)
        return 2
    try:
        install(requirements, ROOT / ".venv")
    except subprocess.CalledProcessError:
        print("The packages could not be installed; the reason is above.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
