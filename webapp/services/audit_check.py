"""Whether the audit trail is as it was written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import select

from webapp.extensions import db, see_one_moment
from webapp.models import AuditChain, AuditEvent
from webapp.services import audit

_BATCH = 1_000
# So long after a newer key began a process with the settings of before may still sign.
_TAKEN_OVER = timedelta(days=1)


@dataclass(frozen=True)
class Anchor:
    """The end of a chain at some time, kept where nobody who can write to the database can."""

    chain: int
    length: int
    hash: str

    def __str__(self) -> str:
        return f"{self.chain}:{self.length}:{self.hash}"


@dataclass(frozen=True)
class Finding:
    """What is not as it was written, and where."""

    chain: int
    number: int
    what: str


@dataclass
class _Keys:
    """Which key signed which events of a chain, in their order."""

    keys: Sequence[str]  # newest first
    began: dict[int, datetime] = field(default_factory=dict)
    latest: datetime | None = None

    def problem(self, before: str, row: dict[str, Any]) -> str | None:
        """What is wrong with the signature of the next event."""
        signed = (audit.digest(key, before, row) == row["hash"] for key in self.keys)
        which = next((number for number, by_it in enumerate(signed) if by_it), None)
        if which is None:
            return "is not as it was written"
        # By the latest time of all before it: whoever has an older key can choose an event's own.
        self.latest = max(row["at"], self.latest or row["at"])
        self.began.setdefault(which, row["at"])
        newer = [began for key, began in self.began.items() if key < which]
        if any(self.latest - began > _TAKEN_OVER for began in newer):
            return "is signed with an older key than events before it"
        return None


def verify(anchors: Iterable[Anchor] = ()) -> Iterator[Finding]:
    """Everything that was edited, deleted, swapped, cut off, or signed with a key that had been
    replaced; nothing if all is as it was written.

    `anchors` are ends of chains that were noted earlier: only they show that a tail was cut off by
    somebody who also set back the row that tells a chain's length. The trail grows meanwhile: what
    is looked at is how it stood at one moment, as is whatever the caller's transaction asks next.
    """
    see_one_moment()
    noted: dict[int, list[Anchor]] = {}
    for anchor in anchors:
        noted.setdefault(anchor.chain, []).append(anchor)
    lengths = {chain: (length, last) for chain, length, last in audit.ends()}
    chains = set(db.session.scalars(select(AuditEvent.chain).distinct())) | set(lengths)
    for chain in sorted(chains | set(noted)):
        length, last = lengths.get(chain, (0, ""))
        yield from _verify_chain(Anchor(chain, length, last), noted.get(chain, []))


def count() -> int:
    """How many events the chains should hold together."""
    return sum(db.session.scalars(select(AuditChain.length)))


def _verify_chain(own: Anchor, noted: list[Anchor]) -> Iterator[Finding]:
    """`own` is the end that the database itself tells, which may have been set back or forward."""
    keys = _Keys(current_app.config["AUDIT_KEYS"])
    chain = own.chain
    expected: defaultdict[int, set[str]] = defaultdict(set)
    for end in (own, *noted):
        expected[end.length].add(end.hash)
    before, number, last_id = "", 0, 0
    for row in _rows(chain):
        number += 1
        if row["number"] < number:
            yield Finding(chain, row["number"], "was never written")
            number -= 1
            continue
        if row["id"] < last_id:  # by which the page of all clinics puts them in order
            yield Finding(chain, number, "stands in another place than it was written in")
        last_id = max(last_id, row["id"])
        if row["number"] != number:
            yield Finding(chain, number, "is missing")
            number = row["number"]
        elif (problem := keys.problem(before, row)) is not None:
            yield Finding(chain, number, problem)
        before = row["hash"]
        if expected.pop(number, {before}) != {before}:
            yield Finding(chain, number, "is not the event that was noted")
    for length in sorted(expected):
        if length > number:
            yield Finding(chain, length, f"is missing: the chain ends with event {number}")
    if number > own.length:
        yield Finding(chain, number, "is more than the chain should hold")


def _rows(chain: int) -> Iterator[dict[str, Any]]:
    """The events of a chain in order, a batch at a time."""
    batch = select(AuditEvent.__table__).where(AuditEvent.chain == chain)
    batch = batch.order_by(AuditEvent.number).limit(_BATCH)
    last = None  # nor below one: what was slipped in there is shown on the pages, too
    while True:
        further = batch if last is None else batch.where(AuditEvent.number > last)
        rows = db.session.execute(further).mappings().all()
        yield from (dict(row) for row in rows)
        if len(rows) < _BATCH:
            return
        last = rows[-1]["number"]
