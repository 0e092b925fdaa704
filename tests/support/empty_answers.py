"""Answers of a simulated Cliniko in whose lists nobody is, for a moment."""

from __future__ import annotations

from typing import Any

from simulator.server import Simulator


def nobody(simulator: Simulator, *, times: int, promised: int = 0, **asked: Any) -> None:
    """So many answers, to what is `asked`, show nobody and have no link; `promised`: how many they
    say that there are."""
    for key, value in {"patients": [], "total_entries": promised, "links": {}}.items():
        simulator.faults.add("replaced_value", key=key, value=value, times=times, **asked)
