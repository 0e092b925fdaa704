"""Faults in how Cliniko takes a request: it is slow, or does not listen."""

import time
from collections.abc import Callable
from dataclasses import replace

from simulator.exchange import Request


def slow(request: Request, *, ms: float) -> Request:
    """Think for so many milliseconds first."""
    time.sleep(ms / 1000)
    return request


def ignore_id_filter(request: Request) -> Request:
    """Answer as if there were no filter by id."""
    return _without(request, lambda name, value: name in ("q", "q[]") and value.startswith("id:"))


def ignore_sort(request: Request) -> Request:
    """Answer in the default order."""
    return _without(request, lambda name, _: name in ("sort", "order"))


def ignore_per_page(request: Request, *, per_page: int = 50) -> Request:
    """Answer with pages of another size than the one asked for."""
    kept = _without(request, lambda name, _: name == "per_page")
    return replace(kept, params=[*kept.params, ("per_page", str(per_page))])


def _without(request: Request, unwanted: Callable[[str, str], bool]) -> Request:
    return replace(request, params=[each for each in request.params if not unwanted(*each)])
