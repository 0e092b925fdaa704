"""Whether the audit trail is as it was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import current_app
from sqlalchemy import select

from webapp.extensions import db, see_one_moment
from webapp.models import AuditChain, AuditEvent
from webapp.services import audit

_BATCH = 1_000


@dataclass(frozen=True)
class Anchor:
    """The end of a chain at some time, kept where nobody who can write to the database can."""

    chain: int
    length: int
    hash: str


@dataclass(frozen=True)
class Finding:
    """What is not as it was written, and where."""

    chain: int
    number: int
    what: str


def verify(anchors: Iterable[Anchor] = ()) -> Iterator[Finding]:
    """Everything that was edited, deleted, swapped or cut off; nothing if all is as it was written.

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
        ends = [*noted.get(chain, []), Anchor(chain, length, last)]
        yield from _verify_chain(chain, ends)


def count() -> int:
    """How many events the chains should hold together."""
    return sum(db.session.scalars(select(AuditChain.length)))


def _verify_chain(chain: int, ends: list[Anchor]) -> Iterator[Finding]:
    keys: list[str] = current_app.config["AUDIT_KEYS"]
    expected = {end.length: end.hash for end in reversed(ends)}
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
        elif not any(audit.digest(key, before, row) == row["hash"] for key in keys):
            yield Finding(chain, number, "is not as it was written")
        before = row["hash"]
        if expected.pop(number, before) != before:
            yield Finding(chain, number, "is not the event that was noted")
    for length in sorted(expected):
        if length > number:
            yield Finding(chain, length, f"is missing: the chain ends with event {number}")
    if number > max(end.length for end in ends):
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
