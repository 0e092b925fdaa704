"""Trying the failed records of a clinic again: exactly those patients are read, by their ids.

Such a sync writes and is fenced like any other, and says nothing about anybody else: it is none
that brings a clinic in step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import ceil

from webapp.cliniko.client import Cliniko, Listing
from webapp.cliniko.errors import BadResponse
from webapp.cliniko.listing import PER_PAGE, IdRange, OrderIgnored, id_of
from webapp.cliniko.records import Malformed, PatientRecord
from webapp.models import Organization, SyncPhase
from webapp.services.connection import check_account
from webapp.sync import held_rows
from webapp.sync.failures import FailedRecord, open_keys
from webapp.sync.reader import Part, Reader
from webapp.sync.recorder import Recorder
from webapp.sync.removals import Outcome
from webapp.sync.upsert import RecordPage, record_page

_LISTINGS = (Listing.ACTIVE, Listing.ARCHIVED)
_LISTED_NOWHERE = (
    "stands in none of Cliniko's lists of living patients; the next full sync looks for it"
)


def read_failed(
    organization: Organization,
    client: Cliniko,
    reader: Reader,
    recorder: Recorder,
    *,
    before_each_page: Callable[[], None],
) -> None:
    """Read the open failures of a clinic again, store what can be stored now, and close the sync.

    Who stands in none of the lists any more stays a failure: whether they are deleted is for a sync
    of all patients to find out, or for whoever decides about a removal that is held. Raises
    BadResponse if Cliniko answers with other patients, AccountMismatch, and KeyReplaced.
    """
    clinic_id = recorder.target.organization_id
    account = reader.result(reader.submit(client.account))
    recorder.look_up(partial(check_account, organization, account))
    keys = recorder.look_up(partial(open_keys, clinic_id))
    found = max(recorder.progress.found, len(keys))
    recorder.checkpoint["found"] = found
    pages = len(_LISTINGS) * ceil(len(keys) / PER_PAGE)
    recorder.progress = replace(recorder.progress, found=found, total_pages=pages)
    recorder.enter(SyncPhase.FETCHING)

    unseen = {int(key): key for key in keys}
    wanted = set(unseen)
    try:
        for batch in reader.walk(_parts(keys)):
            before_each_page()
            number = recorder.progress.current_page
            read = []
            for nth, (_, page) in enumerate(batch, 1):
                records = [each for each in page.records if _is_asked_for(each, wanted)]
                read.append(record_page(records, number + nth))
                for each in records:
                    unseen.pop(id_of(each) or 0, None)
            recorder.store(read)
    except OrderIgnored:
        raise BadResponse(
            "Cliniko did not answer with the patients that were asked for. Sync all patients."
        ) from None
    if unseen:
        number = recorder.progress.current_page
        # Of whom it is known that they are gone nothing new was found out: a note would look like
        # a sign of them.
        held = recorder.look_up(partial(held_rows.keys, clinic_id))
        gone = [key for key in unseen.values() if key not in held]
        failed = [FailedRecord(key, "record", _LISTED_NOWHERE, number) for key in gone]
        recorder.store([RecordPage(number, [], failed)])
    if keys:
        recorder.accepted(account)
    recorder.finish(Outcome())


def _is_asked_for(record: PatientRecord | Malformed, wanted: set[int]) -> bool:
    """Not a tombstone: that somebody is deleted is for a sync of all patients to find out."""
    tombstone = isinstance(record, PatientRecord) and record.is_tombstone
    return id_of(record) in wanted and not tombstone


def _parts(keys: Sequence[str]) -> list[Part]:
    chosen = [keys[begin : begin + PER_PAGE] for begin in range(0, len(keys), PER_PAGE)]
    return [
        (IdRange(listing, filters=(f"id:={','.join(some)}",)), None)
        for some in chosen
        for listing in _LISTINGS
    ]
