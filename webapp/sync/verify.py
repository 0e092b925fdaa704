"""Comparing the copy with Cliniko, without writing: the proof that both hold the same patients."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from webapp.cliniko.client import Cliniko, Listing
from webapp.cliniko.errors import MalformedRecord
from webapp.cliniko.listing import PER_PAGE, OrderIgnored, RangeStart, id_of, read_start
from webapp.cliniko.records import (
    PatientRecord,
    PatientState,
    content_hash,
    parse_patient,
    parse_tombstone,
)
from webapp.extensions import db
from webapp.models import Organization, Patient
from webapp.services.connection import check_account, client_for
from webapp.sync.reader import Reader, StoppableWaiter

MOST_SECOND_LOOKS = 100

# The state of a patient, with a digest of the content; of a deleted one Cliniko tells nothing else.
Version = tuple[str, str]
UNREADABLE: Version = ("unreadable", "")
_GONE: Version = (str(PatientState.DELETED), "")


@dataclass(frozen=True)
class Verdict:
    """What both sides hold: patients by state, one digest of all ids and versions, and the ids of
    those that only Cliniko has, only we have, or that are not the same."""

    ours: Counter[str]
    theirs: Counter[str]
    our_digest: str
    their_digest: str
    missing: list[str]
    extra: list[str]
    different: list[str]

    @property
    def in_step(self) -> bool:
        return not (self.missing or self.extra or self.different)


def verify(organization: Organization) -> Verdict:
    """List all patients in Cliniko again and compare them with ours.

    Patients that seem to differ are looked at a second time, one by one: somebody may have worked
    on them meanwhile. Raises ClinikoError, ClinikoNotConfigured, CredentialsUnreadable, or
    AccountMismatch.
    """
    waiter = StoppableWaiter()
    client, _ = client_for(organization, waiter)
    with client, Reader.opened(client, waiter, lambda: None) as reader:
        check_account(organization, client.account())
        theirs = dict(_listed(client, reader))
        ours = _held(organization)
        suspects = sorted(key for key in ours.keys() | theirs.keys() if _differ(key, ours, theirs))
        ours = _held(organization)
        for key in suspects[:MOST_SECOND_LOOKS]:
            _look_again(client, key, theirs)
    return Verdict(
        Counter(state for state, _ in ours.values()),
        Counter(state for state, _ in theirs.values()),
        _digest(ours),
        _digest(theirs),
        missing=sorted(theirs.keys() - ours.keys(), key=int),
        extra=sorted(key for key in ours.keys() - theirs.keys() if ours[key] != _GONE),
        different=sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]),
    )


def _listed(client: Cliniko, reader: Reader) -> Iterator[tuple[str, Version]]:
    """Every patient in Cliniko's three lists; who stands in two of them counts as in the later."""
    for listing in (Listing.ACTIVE, Listing.ARCHIVED, Listing.DELETED):
        parse = parse_tombstone if listing is Listing.DELETED else parse_patient
        for records in _pages(client, reader, listing):
            for record in records:
                key = id_of(record)
                if key is not None:
                    yield str(key), _version(record, parse)


def _pages(client: Cliniko, reader: Reader, listing: Listing) -> Iterator[list[Any]]:
    try:
        first = read_start(client, listing, RangeStart(1, PER_PAGE))
        parts = reader.starts(listing, first, meanwhile=lambda: None)
        yield first.records
        for _, page in reader.walk(parts):
            yield page.records
    except OrderIgnored:
        for linked in reader.walk_links(listing):
            yield linked.records


def _held(organization: Organization) -> dict[str, Version]:
    db.session.rollback()  # see what a sync has written meanwhile
    rows = db.session.execute(
        select(Patient.cliniko_patient_id, Patient.state, Patient.content_hash).where(
            Patient.organization_id == organization.id
        )
    )
    return {key: (state, "" if state == PatientState.DELETED else of) for key, state, of in rows}


def _look_again(client: Cliniko, key: str, theirs: dict[str, Version]) -> None:
    """Put what Cliniko says of one patient now in place of what its lists have said."""
    record = client.patient(key)
    if record is not None:
        theirs[key] = _version(record, parse_patient)
    elif theirs.get(key, _GONE) != _GONE:
        del theirs[key]


def _version(record: object, parse: Callable[[object], PatientRecord]) -> Version:
    try:
        parsed = parse(record)
    except MalformedRecord:
        return UNREADABLE
    if parsed.state is PatientState.DELETED:
        return _GONE
    return str(parsed.state), content_hash(parsed)


def _differ(key: str, ours: dict[str, Version], theirs: dict[str, Version]) -> bool:
    return ours.get(key, _GONE) != theirs.get(key, _GONE)


def _digest(versions: dict[str, Version]) -> str:
    digest = hashlib.sha256()
    for key in sorted(versions):
        digest.update("\t".join((key, *versions[key])).encode() + b"\n")
    return digest.hexdigest()[:16]
