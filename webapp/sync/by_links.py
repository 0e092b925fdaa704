"""Lists of a server that keeps to no order: read page after page, more than once.

Pages move while patients come and go, so that one walk may miss somebody who was there all along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from webapp.cliniko.client import Listing
from webapp.cliniko.errors import BadResponse
from webapp.cliniko.listing import IdPage, id_of
from webapp.cliniko.page import Page
from webapp.cliniko.records import Malformed, PatientRecord
from webapp.sync.reader import Reader

_MOST_WALKS = 5
_ENOUGH_WALKS = 3


class ByLinks:
    """The lists without order that a sync has met, and how to read them. `store` takes each page;
    `read_from` tells when the sync began to read, by Cliniko's clock."""

    def __init__(
        self,
        reader: Reader,
        store: Callable[[Sequence[Page | IdPage], Listing], None],
        read_from: Callable[[], datetime],
    ) -> None:
        self._reader = reader
        self._store = store
        self._read_from = read_from
        self.listings: set[Listing] = set()

    def read(self, listing: Listing) -> None:
        """Walk a list until two walks in a row show the same patients. From the third walk on it is
        enough that nobody new is shown, for in a busy clinic somebody always leaves a list.

        Raises BadResponse if _MOST_WALKS were not enough.
        """
        self.listings.add(listing)
        before: set[int | None] | None = None
        shown: set[int | None] = set()
        for walks in range(1, _MOST_WALKS + 1):
            seen = self.walk(listing)
            if seen == before or (walks >= _ENOUGH_WALKS and seen <= shown):
                return
            before, shown = seen, shown | seen
        raise BadResponse(
            "Cliniko's list of patients changed each time it was read. Try again later."
        )

    def walk(self, listing: Listing) -> set[int | None]:
        """Walk a list once; the ids of those who were there when the sync began."""
        read_from = self._read_from()
        seen: set[int | None] = set()
        for page in self._reader.walk_links(listing):
            self._store([page], listing)
            seen.update(id_of(each) for each in page.records if not _is_newer(each, read_from))
        return seen


def _is_newer(record: PatientRecord | Malformed, moment: datetime) -> bool:
    """Cliniko tells both moments in whole seconds: a record created in the same second counts as
    created after it."""
    created_at = record.created_at if isinstance(record, PatientRecord) else None
    return created_at is not None and created_at >= moment
