"""The certificate of a sync: what Cliniko has told of all patients, beside what we hold of them.

Both sides are summed up in the same way, as numbers by state and as one digest of ids and versions.
The digest is a sum, so it does not matter in which order patients come, and a version that is
followed by a newer one can be taken out again: nothing has to be kept in memory. It is made with a
secret of the sync, so that it tells nobody who the patients are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from sqlalchemy import select

from webapp.cliniko.records import PatientRecord, PatientState
from webapp.extensions import db
from webapp.models import Patient

_MODULUS = 2**128
_ROWS_AT_ONCE = 2_000


class Version(NamedTuple):
    """What makes two patients of one id the same: state, digest of the content, survivor.

    Of a deleted patient Cliniko tells nothing more, while we keep what we knew.
    """

    state: str
    content: str
    merged_into: str

    @classmethod
    def of(cls, state: str, content: str, merged_into: str | None) -> Version:
        """The version with this content; that of a deleted patient is none."""
        if state == PatientState.DELETED:
            return GONE
        return cls(str(state), content, merged_into or "")

    @classmethod
    def told(cls, record: PatientRecord) -> Version:
        """The version that Cliniko has told."""
        if record.state is PatientState.DELETED:
            return GONE
        return cls.of(record.state, record.content_hash, record.merged_into)


GONE = Version(str(PatientState.DELETED), "", "")


@dataclass
class Tally:
    """Patients by state, and one digest of all who are not deleted.

    Deleted ones are only counted: Cliniko forgets them in time, and we do not.
    """

    counts: Counter[str] = field(default_factory=Counter)
    digest: int = 0
    secret: str = field(default="", repr=False, compare=False)

    def add(self, key: str, version: Version, times: int = 1) -> None:
        """Count a patient in; with `times` -1 out again."""
        self.counts[version.state] += times
        if version != GONE:
            self.digest = (self.digest + times * _number(self.secret, key, *version)) % _MODULUS

    def replace(self, key: str, before: Version | None, after: Version | None) -> None:
        """Put one version of a patient in place of another; None: not counted."""
        if before != after:
            if before is not None:
                self.add(key, before, -1)
            if after is not None:
                self.add(key, after)

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        counts = {state: self.counts[state] + other.counts[state] for state in PatientState}
        return Tally(Counter(counts), (self.digest + other.digest) % _MODULUS, self.secret)

    @property
    def living(self) -> int:
        """How many of them are not deleted."""
        return sum(self.counts.values()) - self.counts[PatientState.DELETED]

    def to_json(self) -> dict[str, Any]:
        """The tally as JSON values."""
        return {str(state): self.counts[state] for state in PatientState} | {
            "digest": f"{self.digest:032x}"
        }

    @classmethod
    def from_json(cls, values: dict[str, Any] | None) -> Tally:
        """The tally that `to_json` wrote; an empty one for None."""
        if values is None:
            return cls()
        counts = {str(state): int(values[state]) for state in PatientState}
        return cls(Counter(counts), int(values["digest"], 16))


def tally_of_copy(organization_id: int, secret: str = "") -> Tally:
    """What we hold of a clinic, as the database says inside the caller's transaction."""
    counts: Counter[str] = Counter()
    digest = 0
    columns = (Patient.cliniko_patient_id, Patient.state, Patient.content_hash, Patient.merged_into)
    rows = db.session.execute(
        select(*columns).where(Patient.organization_id == organization_id),
        execution_options={"yield_per": _ROWS_AT_ONCE},
    )
    for some in rows.partitions():
        counts.update(state for _, state, _, _ in some)
        digest += sum(
            _number(secret, key, state, content, merged_into or "")
            for key, state, content, merged_into in some
            if state != GONE.state
        )
    return Tally(counts, digest % _MODULUS, secret)


def _number(secret: str, key: str, state: str, content: str, merged_into: str) -> int:
    text = f"{key}\t{state}\t{content}\t{merged_into}"
    return int.from_bytes(blake2b(text.encode(), digest_size=16, key=secret.encode()).digest())


def certificate(told: Tally, stored: Tally, *, missed: int) -> dict[str, Any]:
    """What is written down at the end of a sync. `missed`: records that could not be read or
    stored, and patients whom Cliniko counts and has not shown. Each may hide a difference, so with
    one of them the two are not in step."""
    return {
        "in_step": told.digest == stored.digest and not missed,
        "cliniko": told.to_json(),
        "stored": stored.to_json(),
    }
