"""How many requests at once a reader has under way: several, or one where that is enough."""

from __future__ import annotations

_OFTEN = 3


class Pace:
    """Whether one request at a time is enough for pages to be at hand when they are asked for.

    Threads that read while pages are stored take the interpreter from the one that stores them.
    Where Cliniko is quicker than the database, several gain nothing and cost a sync a tenth.
    """

    def __init__(self) -> None:
        self.one_is_enough = False
        self._times, self._often = 0, _OFTEN

    def note(self, *, at_hand: bool) -> None:
        """Note whether all pages that can be stored together had come when they were asked for.

        Often enough in a row, and one request at a time may be enough. Whenever it was not, it has
        to have been twice as often before it is tried again.
        """
        if self.one_is_enough and not at_hand:
            self._often *= 2
        self._times = self._times + 1 if at_hand else 0
        self.one_is_enough = self._times >= self._often
