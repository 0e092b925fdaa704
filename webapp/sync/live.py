"""A sync that is watched: whether it still runs, and who asks, in one statement.

A thousand open dashboards ask it. It says in SQL what `guards.organization_for`, `sessions.HOLDS`
and `recovery.closing_for` say of rows that were loaded; where it finds nothing, those decide.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, bindparam, or_, select

from webapp.extensions import read_alone
from webapp.models import IS_OPEN, Organization, SyncLog, SyncStatus, User, UserSession
from webapp.models.sync_log import WAITING_SINCE
from webapp.services import sessions

_ROW = (
    select(
        User.role,
        User.organization_id,
        User.second_factor_since,
        SyncLog.id,
        SyncLog.started_at,
        SyncLog.attempt,
        SyncLog.worker,
        SyncLog.cancel_requested_at,
    )
    .join_from(SyncLog, UserSession, UserSession.secret_digest == bindparam("digest"))
    .join(UserSession.user)
    .join(Organization, Organization.id == SyncLog.organization_id)
    .where(
        sessions.HOLDS,
        SyncLog.id == bindparam("sync_id"),
        SyncLog.organization_id == bindparam("clinic_id"),
        SyncLog.status == SyncStatus.RUNNING,
        IS_OPEN,
        or_(
            SyncLog.lease_expires_at > bindparam("moment"),
            and_(SyncLog.worker.is_(None), bindparam("patient_since") < WAITING_SINCE),
        ),
    )
)


def watched_by(
    secret: str, clinic_id: int, sync_id: int, *, moment: datetime, patience: timedelta
) -> Row[*tuple[Any, ...]] | None:
    """Who has a session with this secret, and then what changes about the sync while it runs. None
    where the session does not hold, the clinic is not open, or the sync has ended, has lost its
    worker, or has waited for one for longer than `patience`. What the person may see it does not
    say."""
    person = {"digest": sessions.digest(secret)} | sessions.limits(moment)
    asked = {"clinic_id": clinic_id, "sync_id": sync_id}
    moments = {"moment": moment, "patient_since": moment - patience}
    with read_alone() as connection:
        return connection.execute(_ROW, person | asked | moments).one_or_none()
