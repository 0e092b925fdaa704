"""Comparing the copy with Cliniko, without writing: the proof that both hold the same patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from secrets import token_hex

from sqlalchemy import select

from webapp.cliniko.client import Cliniko, Listing
from webapp.cliniko.listing import PER_PAGE, OrderIgnored, RangeStart, id_of, read_start
from webapp.cliniko.records import Malformed, PatientRecord, PatientState
from webapp.extensions import db, see_one_moment
from webapp.models import Organization, Patient
from webapp.services.connection import check_account, client_for
from webapp.sync import forgotten
from webapp.sync.certificate import GONE, Tally, Version
from webapp.sync.forgotten import Forgotten
from webapp.sync.reader import Reader
from webapp.sync.waiting import StoppableWaiter

MOST_SECOND_LOOKS = 100
_ROWS_AT_ONCE = 1_000

UNREADABLE = Version("unreadable", "", "")


@dataclass(frozen=True)
class Verdict:
    """What both sides hold, in the form of a certificate, and the ids of those that only Cliniko
    has, only we have, or that are not the same. `not_shown`: how many more living patients Cliniko
    counts than its lists have shown."""

    ours: Tally
    theirs: Tally
    missing: list[str]
    extra: list[str]
    different: list[str]
    not_shown: int

    @property
    def in_step(self) -> bool:
        return not (self.missing or self.extra or self.different or self.not_shown)


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
        left_out = forgotten.of(organization)
        counted = _counted(client)
        shown: set[object] = set()
        theirs = dict(_listed(client, reader, left_out, shown))
        # Of two counts the lower one: who comes or goes meanwhile is in one of them alone.
        counted = min(counted, _counted(client))
        ours = _held(organization)
        suspects = sorted(key for key in ours.keys() | theirs.keys() if _differ(key, ours, theirs))
        again = _held(organization)
        for key in suspects[:MOST_SECOND_LOOKS]:
            if _look_again(client, key, theirs, left_out):
                shown.add(int(key))
            # Only of these: who else was changed meanwhile would be compared with an older answer.
            ours.pop(key, None)
            if key in again:
                ours[key] = again[key]
    secret = token_hex(16)
    return Verdict(
        _tally(ours, secret),
        _tally(theirs, secret),
        missing=sorted(theirs.keys() - ours.keys(), key=int),
        extra=sorted(key for key in ours.keys() - theirs.keys() if ours[key] != GONE),
        different=sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]),
        not_shown=max(0, counted - len(shown)),
    )


def _counted(client: Cliniko) -> int:
    """How many living patients Cliniko says that there are; the active ones last, so that whoever
    is archived between is not counted twice."""
    counts = [client.get_page(each, per_page=1) for each in (Listing.ARCHIVED, Listing.ACTIVE)]
    return sum(page.total_entries for page in counts)


def _listed(
    client: Cliniko, reader: Reader, left_out: Forgotten, shown: set[object]
) -> Iterator[tuple[str, Version]]:
    """Every patient in Cliniko's three lists but those who are left out; who stands in two of them
    counts as in the later. Puts whoever stands in a list of living ones into `shown`, by the id if
    there is one."""
    for listing in (Listing.ACTIVE, Listing.ARCHIVED, Listing.DELETED):
        for records in _pages(client, reader, listing):
            for record in records:
                key = id_of(record)
                if listing is not Listing.DELETED:
                    shown.add(object() if key is None else key)
                if key is not None and key not in left_out:
                    yield str(key), _version(record, left_out)


def _pages(
    client: Cliniko, reader: Reader, listing: Listing
) -> Iterator[list[PatientRecord | Malformed]]:
    try:
        first = read_start(client, listing, RangeStart(1, PER_PAGE))
        parts = reader.starts(listing, first, meanwhile=lambda: None)
        yield first.records
        for batch in reader.walk(parts):
            for _, page in batch:
                yield page.records
    except OrderIgnored:
        for linked in reader.walk_links(listing):
            yield linked.records


def _held(organization: Organization) -> dict[str, Version]:
    """Our patients by what their fields say now: a digest that was stored with them proves nothing
    about a field that was changed since."""
    see_one_moment()  # with what a sync has written meanwhile
    rows = db.session.scalars(
        select(Patient).where(Patient.organization_id == organization.id),
        execution_options={"yield_per": _ROWS_AT_ONCE},
    )
    return {row.cliniko_patient_id: Version.told(_record(row)) for row in rows}


def _record(row: Patient) -> PatientRecord:
    """What Cliniko must have told, going by a row."""
    return PatientRecord(
        row.cliniko_patient_id,
        PatientState(row.state),
        first_name=row.first_name,
        last_name=row.last_name,
        preferred_first_name=row.preferred_first_name,
        email=row.email,
        phones=tuple((phone["type"], phone["number"]) for phone in row.phones),
        date_of_birth=row.date_of_birth,
        merged_into=row.merged_into,
    )


def _look_again(client: Cliniko, key: str, theirs: dict[str, Version], left_out: Forgotten) -> bool:
    """Put what Cliniko says of one patient now in place of what its lists have said. Whether it
    says that they are living."""
    record = client.patient(key)
    if record is not None:
        theirs[key] = _version(record, left_out)
    elif theirs.get(key, GONE) != GONE:
        del theirs[key]
    return theirs.get(key, GONE) != GONE


def _version(record: PatientRecord | Malformed, left_out: Forgotten) -> Version:
    if isinstance(record, Malformed):
        return UNREADABLE
    return Version.told(left_out.unlinked(record))


def _differ(key: str, ours: Mapping[str, Version], theirs: Mapping[str, Version]) -> bool:
    return ours.get(key, GONE) != theirs.get(key, GONE)


def _tally(versions: Mapping[str, Version], secret: str) -> Tally:
    tally = Tally(secret=secret)
    for key, version in versions.items():
        tally.add(key, version)
    return tally
