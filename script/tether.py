"""Runs a program that ends when its parent does: python tether.py SIGTERM /the/program ARGUMENT...

It ends by that signal.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

# Who our parent was when it started us. Without it a parent that died before `hold_on` was
# called could not be told from the one that took us over.
PARENT = "TETHER_PARENT"

_PR_SET_PDEATHSIG = 1  # prctl(2)


def hold_on(number: signal.Signals = signal.SIGTERM) -> None:
    """Have this signal sent to this process when its parent is gone, however that happened.

    The tether outlives exec, but is not handed on to children. It belongs to the parent's thread
    that started us, which must live as long as the parent. Only Linux knows how: elsewhere this
    does nothing, and only an orderly stop ends the program.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        sys.exit("The process that started this one is gone.")


def environ(variables: Mapping[str, str]) -> dict[str, str]:
    """These variables for a child of this process that is going to hold on to it."""
    return {**variables, PARENT: str(os.getpid())}


def become(program: list[str]) -> None:
    """Replace this process by the program, whose children can hold on to it in turn."""
    os.execve(program[0], program, environ(os.environ))


if __name__ == "__main__":
    hold_on(signal.Signals[sys.argv[1]])
    become(sys.argv[2:])
