"""Locks of rows: who decides about one has it to the end of the transaction.

Whoever locks a clinic and one of its syncs locks the clinic first, and the audit trail last: in
another order two would wait for each other.
"""

from __future__ import annotations

from sqlalchemy.exc import InvalidRequestError

from webapp.errors import NotFound
from webapp.extensions import Base, db
from webapp.models import Organization


def clinic(organization_id: int) -> Organization:
    """The clinic, locked and as it is now, inside the caller's transaction."""
    # Not as a key: who only wants to be sure that the clinic is there need not wait for us.
    return db.session.get_one(Organization, organization_id, with_for_update={"key_share": True})


def row(found: Base) -> None:
    """Lock a row that was read before, and read it as it is now, inside the caller's transaction.

    Raises NotFound if somebody has deleted it meanwhile.
    """
    try:
        db.session.refresh(found, with_for_update=True)
    except InvalidRequestError as error:  # what SQLAlchemy raises for a row that is gone
        raise NotFound() from error
