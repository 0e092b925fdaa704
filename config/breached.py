"""The list of breached passwords: whether a file is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from config.reader import ConfigError

BREACHED_LINE = rb"[0-9A-F]{40}:[0-9]+\r?\n?"
LONGEST_LINE = 64  # bytes of a list of breached passwords, and some to spare


def breached_passwords(name: str | None) -> Path | None:
    """In a list of another form or order nothing is found, and every password would pass: its
    first line, its last one and some between are looked at."""
    if name is None:
        return None
    path = Path(name).absolute()
    try:
        if not path.is_file():
            raise ConfigError(f"BREACHED_PASSWORDS: {path} is no file.")
        with path.open("rb") as file:
            lines = _some_lines(file, path.stat().st_size)
    except OSError as error:
        raise ConfigError(
            f"BREACHED_PASSWORDS: {path} cannot be read ({error.strerror})."
        ) from None
    if not all(re.fullmatch(BREACHED_LINE, line) for line in lines):
        raise ConfigError(
            f"BREACHED_PASSWORDS: {path} must hold lines as SHA1:count, the SHA-1 of each password "
            "as 40 digits and capital letters."
        )
    if lines != sorted(lines):
        raise ConfigError(f"BREACHED_PASSWORDS: {path} must be ordered by hash, not by count.")
    return path


def _some_lines(file: BinaryIO, size: int) -> list[bytes]:
    """The first line, some between and the last, in the order in which they stand."""
    lines = [file.readline(LONGEST_LINE)]
    for part in range(1, 32):
        file.seek(size * part // 32)
        file.readline(LONGEST_LINE)  # the rest of the one that begins before
        lines += filter(None, [file.readline(LONGEST_LINE)])
    file.seek(max(0, size - LONGEST_LINE))
    return lines + file.read().splitlines(keepends=True)[-1:]
