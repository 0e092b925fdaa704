"""Moments that are noted beside a request, on a connection of their own."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm.attributes import set_committed_value

from webapp.extensions import write_alone
from webapp.models import ApiToken, UserSession

NOT_WRITTEN = (OperationalError, NoConnectionFree)  # too busy, away, or may not be written to


def note(row: ApiToken | UserSession, **moments: datetime) -> None:
    """Write moments into a row, and nothing of the caller's session is read anew: the request goes
    on with the person and the rights that were looked at before. To note this may take a while, in
    which an admin gives them others. Raises what is in NOT_WRITTEN."""
    table = type(row)
    with write_alone() as connection:
        connection.execute(update(table).where(table.id == row.id).values(moments))
    for name, moment in moments.items():
        set_committed_value(row, name, moment)
