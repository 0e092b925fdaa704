"""Stands in for a program of the system: stand_in.py NAME DIARY notes when it starts and stops."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

name, diary = sys.argv[1], Path(sys.argv[2])


def note(event: str) -> None:
    with diary.open("a") as file:
        file.write(f"{event} {name} {os.getpid()}\n")


def stop(_number: int, _frame: FrameType | None) -> None:
    note("stopped")
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
note("started")
while True:
    signal.pause()
