"""How long a sync will take, told where it starts."""

from __future__ import annotations

from math import ceil, floor

from flask import current_app

from webapp.cliniko.listing import PER_PAGE
from webapp.models import OperationType, Organization
from webapp.sync import history

_UNKNOWN_DURATION = "30-120 seconds"
_REQUESTS_BESIDE_PAGES = 7  # whose account it is, counts, archived and deleted patients, catch-up
# Seconds a request: four at once by an answer in 250 ms, or one after the other by slow ones.
_QUICKEST, _SLOWEST = 0.0625, 1.0


def expected_duration(organization: Organization, operation_type: OperationType) -> str:
    """How long a sync will take, as `30-120 seconds`: from the last completed one of this type, or
    else from the number of patients that a connection test has found."""
    completed = history.last_completed(organization, operation_type)
    if completed is not None and completed.duration_seconds is not None:
        seconds = completed.duration_seconds
        return _between(floor(seconds), round(seconds * 2))
    if organization.cliniko_patients is None:
        return _UNKNOWN_DURATION
    requests = _REQUESTS_BESIDE_PAGES
    if operation_type is not OperationType.CHANGED_PATIENTS:
        requests += ceil(organization.cliniko_patients / PER_PAGE)
    per_minute = current_app.config["CLINIKO_RATE_LIMIT"]
    waiting = max(0, requests - per_minute) / per_minute * 60
    return _between(floor(requests * _QUICKEST + waiting), ceil(requests * _SLOWEST + waiting))


def _between(shortest: int, longest: int) -> str:
    shortest = max(1, shortest)
    return f"{shortest}-{max(shortest + 1, longest)} seconds"
