"""The clean-up of each day: whose it is, how far it is, and what it has removed."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError

from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import CleanUp
from webapp.services import audit
from webapp.services.audit import Result
from webapp.services.audit_events import Event

_TAKEN_FOR = timedelta(minutes=1)

Removed = Counter[str]


def take(today: date) -> bool:
    """Whether today's clean-up is still to be done, and this worker's for a minute."""
    done = select(CleanUp.day).where(CleanUp.day == today, CleanUp.completed_at.is_not(None))
    if db.session.scalar(done) is not None:  # nearly always, and no reason to lock anything
        return False
    try:
        with transaction() as session:
            row = session.get(CleanUp, today, with_for_update=True)
            if row is None:
                row = CleanUp(day=today, removed={})
                session.add(row)
            elif row.completed_at is not None or (row.taken_until and row.taken_until > now()):
                return False
            row.taken_until = now() + _TAKEN_FOR
            return True
    except IntegrityError:
        return False  # another worker was quicker


def note(today: date, removed: Removed) -> None:
    """Note what went so far. Where another worker has completed the day meanwhile, it is recorded
    by itself."""
    with transaction() as session:
        row = session.get_one(CleanUp, today, with_for_update=True)
        if row.completed_at is None:
            row.removed = dict(Counter(row.removed) + removed)
        elif removed:
            record(removed)


def put_back(today: date) -> None:
    """Give it to whoever comes next."""
    with transaction() as session:
        session.get_one(CleanUp, today, with_for_update=True).taken_until = None


def complete(today: date) -> None:
    """Record what went, with what went on earlier days whose clean-up was never completed and is
    nobody's now. Raises what `audit.record` does; then it is not completed."""
    nobodys = or_(CleanUp.taken_until.is_(None), CleanUp.taken_until <= now())
    not_told = CleanUp.completed_at.is_(None), CleanUp.day <= today
    with transaction() as session:
        of_days = select(CleanUp).where(*not_told, or_(CleanUp.day == today, nobodys))
        rows = session.scalars(of_days.with_for_update()).all()
        for row in rows:
            row.completed_at, row.taken_until = now(), None
        if rows:
            record(sum((Counter(row.removed) for row in rows), Removed()))


def record(removed: Removed, result: Result = Result.OK) -> None:
    """Record what went, inside the caller's transaction, as `audit.record` does."""
    details: dict[str, Any] = dict(removed)
    audit.record(Event.CLEANED_UP, result=result, **details)
