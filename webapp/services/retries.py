"""When a message to a webhook, or a mail, is tried again. Pure, but for the dice."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

# From the first try; as Standard Webhooks proposes.
_AFTER_FIRST = (
    *(timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
MOST_TRIES = 1 + len(_AFTER_FIRST)

_JITTER = 0.1
_LONGEST_ASKED = timedelta(days=1)
_SHORTEST_REST = timedelta(seconds=5)
_LONGEST_REST = timedelta(minutes=5)
_SHORTER_RESTS = 6  # before each is the longest
_COUNTED_REST = timedelta(hours=2)  # at most: no single answer that asks for a day makes one


def next_try(
    first: datetime, tries: int, moment: datetime, asked: timedelta | None
) -> datetime | None:
    """When to try again after so many tries; None if that was the last.

    Up to a tenth of the step later than planned, so that many messages do not come at once. Each
    step is kept in full from the last try on, also where the plan is behind, as after a day without
    power: all the tries that are left would follow within minutes. Never sooner than the receiver
    has `asked` for, up to a day.
    """
    if tries >= MOST_TRIES:
        return None
    planned = _AFTER_FIRST[tries - 1]
    step = planned - (_AFTER_FIRST[tries - 2] if tries > 1 else timedelta())
    due = first + planned + step * _JITTER * random.random()
    return max(due, moment + max(step, within_reason(asked)))


def has_failed_for_long(
    first: datetime, failures_in_a_row: int, moment: datetime, asked: timedelta | None
) -> bool:
    """Whether a receiver has failed since a message was first tried, for as long as one is tried.

    Many messages share the tries of a dead one, and the last of each would come after days. The
    rests between its failures tell it from one whose sender was away meanwhile.
    """
    a_day = _AFTER_FIRST[-1]
    each = min(rest(failures_in_a_row, asked), _COUNTED_REST)
    return moment - first >= a_day and (failures_in_a_row - _SHORTER_RESTS) * each >= a_day


def rest(failures_in_a_row: int, asked: timedelta | None) -> timedelta:
    """For how long a receiver is left alone after a failure: from five seconds, twice as long each
    time, up to five minutes. The messages of one that is dead must not take the places of others,
    and a lone message is never held up by it."""
    growing: timedelta = _SHORTEST_REST * 2 ** min(failures_in_a_row - 1, 10)
    return max(min(growing, _LONGEST_REST), within_reason(asked))


def within_reason(asked: timedelta | None) -> timedelta:
    """What a receiver may ask of us: nothing in the past, and nothing beyond a day."""
    return min(max(asked or timedelta(), timedelta()), _LONGEST_ASKED)
