"""Tables in Markdown, on the screen and in a file."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path

from config import ROOT


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is words, the others are figures."""
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def origin(module: str) -> str:
    """Date, kind of machine, commit and command of this run."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.strip()
    said = list(sys.argv[1:])
    if "--markdown" in said:  # where it was written to is nobody's business
        at = said.index("--markdown")
        del said[at : at + 2]
    command = " ".join([".venv/bin/python -m", module, *said])
    machine = f"{cpu_count()} cores, {platform.system()} {platform.machine()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {commit or 'unknown'}, {machine}: `{command}`"


def publish(text: str, file: Path | None) -> None:
    """Print what was measured, and write it to a file where one was named."""
    print(text, flush=True)
    if file is not None:
        file.write_text(text + "\n")
