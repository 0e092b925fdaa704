"""Which passwords were stolen elsewhere: by a list on this machine, so that nobody is told what is
asked. The list is Have I Been Pwned's: a line for each SHA-1 and how often it was seen, in order.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from flask import current_app

_DIGITS = 40


def is_breached(password: str) -> bool:
    """Whether the password stands in the list of the settings, where one is set. Raises OSError for
    one that cannot be read any more: then no password is taken."""
    path: Path | None = current_app.config["BREACHED_PASSWORDS"]
    if path is None:
        return False
    # What the list is made with; nothing rests on its strength.
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
    with path.open("rb") as file:
        return stands_in(file, digest.encode())


def stands_in(file: BinaryIO, digest: bytes) -> bool:
    """Whether a line of an ordered list begins with the digest, found by halving: of forty
    gigabytes some seventy lines are read."""
    low, high = 0, file.seek(0, os.SEEK_END)  # if it is there, its line begins within
    while low < high:
        middle = (low + high) // 2
        file.seek(middle - 1 if middle else 0)
        begins = middle and middle - 1 + len(file.readline())  # of the first line from there on
        line = file.readline() if begins < high else b""
        if not line or line[:_DIGITS] > digest:
            high = middle
        elif line[:_DIGITS] == digest:
            return True
        else:
            low = begins + len(line)
    return False
