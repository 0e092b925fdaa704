"""Locks of rows: who decides about one has it to the end of the transaction.

Whoever locks a clinic and one of its syncs locks the clinic first, people before syncs, and the
audit trail last: in another order two would wait for each other.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import InvalidRequestError

from webapp.errors import NotFound
from webapp.extensions import Base, db
from webapp.models import Organization, User


def clinic(organization_id: int) -> Organization:
    """The clinic, locked and as it is now, inside the caller's transaction."""
    # Not as a key: who only wants to be sure that the clinic is there need not wait for us.
    return db.session.get_one(Organization, organization_id, with_for_update={"key_share": True})


def person(user_id: int) -> None:
    """See to it that a person whom a later row names is not changed, inside the caller's
    transaction. The row would lock them as much, but only after the audit trail."""
    query = select(User.id).where(User.id == user_id)
    db.session.execute(query.with_for_update(read=True, key_share=True))


def row(found: Base) -> None:
    """Lock a row that was read before, and read it as it is now, inside the caller's transaction.

    Raises NotFound if somebody has deleted it meanwhile.
    """
    try:
        db.session.refresh(found, with_for_update=True)
    except InvalidRequestError as error:  # what SQLAlchemy raises for a row that is gone
        raise NotFound() from error
