"""Sealing everything that is sealed with the newest encryption key, while the system runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import InstrumentedAttribute

from webapp.errors import SecretUnreadable
from webapp.extensions import db, transaction
from webapp.models import Organization, SecondFactor, WebhookEndpoint
from webapp.services import audit
from webapp.services.audit_events import Event
from webapp.services.sealing import Purpose, is_newest, seal, unseal

ROWS_AT_ONCE = 100


@dataclass(frozen=True)
class Sealed:
    """A column of sealed values, and the column that names the owner of each."""

    purpose: Purpose
    column: InstrumentedAttribute[Any]
    owner_id: InstrumentedAttribute[Any]


SEALED = (
    Sealed(Purpose.CLINIKO_KEY, Organization.encrypted_api_key, Organization.id),
    Sealed(Purpose.FORGOTTEN_PATIENTS, Organization.forgetting_key, Organization.id),
    *(
        Sealed(Purpose.WEBHOOK_SECRET, column, WebhookEndpoint.organization_id)
        for column in (
            WebhookEndpoint.sealed_secret,
            WebhookEndpoint.sealed_previous_secret,
            WebhookEndpoint.sealed_earlier_secret,
        )
    ),
    Sealed(Purpose.TOTP_SECRET, SecondFactor.sealed_secret, SecondFactor.user_id),
)


@dataclass(frozen=True)
class Rotated:
    """How many values were sealed anew, and how many no configured key opens."""

    sealed: int = 0
    unreadable: int = 0

    def plus(self, other: Rotated) -> Rotated:
        """Both together."""
        return Rotated(self.sealed + other.sealed, self.unreadable + other.unreadable)


def rotate() -> Rotated:
    """Seal every value with the newest key that is not so yet, a hundred rows in a transaction.

    Syncs may run meanwhile, and may be killed: called again it does what is left. A value that
    cannot be opened stays as it is and is counted.
    """
    done = Rotated()
    for each in SEALED:
        after: int | None = 0
        while after is not None:
            some, after = _some(each, after)
            done = done.plus(some)
    with transaction():
        audit.record(Event.KEYS_ROTATED, sealed=done.sealed, unreadable=done.unreadable)
    return done


def _some(each: Sealed, after: int) -> tuple[Rotated, int | None]:
    """The next rows behind an id, and the id of the last one; None if there are no more."""
    row_id = each.column.class_.id
    with transaction() as session:
        query = select(row_id, each.owner_id, each.column).where(row_id > after)
        rows = session.execute(
            query.where(each.column.is_not(None)).order_by(row_id).limit(ROWS_AT_ONCE)
        ).all()
        outcomes = [_seal_anew(each, *row) for row in rows]
    last = rows[-1][0] if len(rows) == ROWS_AT_ONCE else None
    return Rotated(outcomes.count(True), outcomes.count(None)), last


def _seal_anew(each: Sealed, row_id: int, owner_id: int, sealed: str) -> bool | None:
    """Whether it was done; None if the value cannot be opened."""
    if is_newest(sealed):
        return False
    try:
        secret = unseal(each.purpose, owner_id, sealed)
    except SecretUnreadable:
        return None
    table = each.column.class_
    # Unless somebody has saved another secret meanwhile: that one is newer than what was read.
    changed = db.session.connection().execute(
        update(table)
        .where(table.id == row_id, each.column == sealed)
        .values({each.column.key: seal(each.purpose, owner_id, secret)})
    )
    return changed.rowcount == 1
