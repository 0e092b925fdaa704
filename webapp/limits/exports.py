"""How often somebody may take patients along: a file of all of them is soon made, and soon lost."""

from __future__ import annotations

import time
from math import ceil

from limits import RateLimitItemPerHour

from webapp.durations import remaining_words
from webapp.errors import RateLimited
from webapp.limits import limiter
from webapp.models import User

PER_PERSON = RateLimitItemPerHour(5, namespace="export")


def count(person: User) -> None:
    """Count a file that is allowed otherwise. Raises RateLimited; then it was not counted."""
    if limiter.limiter.hit(PER_PERSON, str(person.id)):
        return
    resets_at = limiter.limiter.get_window_stats(PER_PERSON, str(person.id)).reset_time
    seconds = max(1, ceil(resets_at - time.time()))
    raise RateLimited(
        f"You have exported patients {PER_PERSON.amount} times within an hour, which is the most. "
        f"Try again in {remaining_words(seconds)}.",
        retry_after=seconds,
    )
