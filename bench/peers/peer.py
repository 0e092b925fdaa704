"""What every peer is told and what it tells: one line of JSON, for the bench to read."""

from __future__ import annotations

import argparse
import json
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path

import requests

HEADERS = {"Accept": "application/json", "User-Agent": "bench (bench@example.com)"}

# Where the patients are read from, the key that opens it, and the URL of the database.
Copy = Callable[[str, str, str], int]


def run(copy: Copy) -> None:
    """Copy the active patients once; the clock runs from behind the imports to the last commit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--database", required=True)
    said = parser.parse_args()
    began = time.monotonic()
    rows = copy(said.url, said.key, said.database)
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    told = {
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mb": int(peak[1]) / 1024 if peak else 0.0,
        "rows": rows,
    }
    print(json.dumps(told))


def session(key: str) -> requests.Session:
    """A connection that stays open, with the key and without the settings of whoever runs this."""
    opened = requests.Session()
    opened.trust_env = False
    opened.auth = (key, "")
    opened.headers.update(HEADERS)
    return opened


def sqlite_file(database: str) -> str | None:
    """The file of a SQLite database; None for a PostgreSQL."""
    return database.removeprefix("sqlite:///") if database.startswith("sqlite") else None


def for_libpq(database: str) -> str:
    """The URL of a PostgreSQL without the name of SQLAlchemy's driver."""
    return database.replace("postgresql+psycopg://", "postgresql://", 1)
