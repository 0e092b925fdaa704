"""The time of day. Everything that needs it asks here, so that tests can move it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil

# Clocks of machines that are set by the network lie no further apart: what is told to have happened
# later than that from now was written down while a clock ran ahead.
MAY_DIFFER = timedelta(minutes=1)


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def whole_second(timestamp: float) -> datetime:
    """The first whole second that is not before this Unix time: whoever comes then is in time."""
    return datetime.fromtimestamp(ceil(timestamp), UTC)


def zone_name(moment: datetime) -> str:
    """`AEDT`; `UTC-03` where a zone has no letters of its own."""
    name = moment.strftime("%Z")
    return name if name.isalpha() else f"UTC{name}"


def iso(moment: datetime) -> str:
    """A moment as the API writes it: UTC with whole seconds and `Z`."""
    # Not by strftime(), which on Linux writes the year 1 as `1`.
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
