"""A live card at a glance: one question to the database, and one drawing for all who look alike.

A thousand open dashboards ask five hundred times a second. One statement finds out who asks and
whether the sync still runs, each time anew; only the drawing is kept, for the rest of its second.
Everything else goes the long way: whoever may not look, a sync that has ended or whose worker has
fallen silent, and what nobody has drawn yet.
"""

from __future__ import annotations

from typing import Any

from flask import g, request, session
from sqlalchemy import and_, bindparam, or_, select

from webapp.auth.access import Action, allows
from webapp.auth.guards import organization_id_of
from webapp.auth.sessions import SESSION_KEY
from webapp.clock import now
from webapp.errors import AppError
from webapp.extensions import read_alone
from webapp.models import Role, SyncLog, SyncStatus, User
from webapp.pages import parameters
from webapp.pages.card import PATIENCE

_ROW = (
    select(
        User.role,
        User.organization_id,
        SyncLog.id,
        SyncLog.started_at,
        SyncLog.attempt,
        SyncLog.worker,
        SyncLog.cancel_requested_at,
    )
    .join_from(SyncLog, User, User.id == bindparam("user_id"))
    .where(
        User.session_epoch == bindparam("epoch"),
        User.active,
        SyncLog.id == bindparam("sync_id"),
        SyncLog.organization_id == bindparam("clinic_id"),
        SyncLog.status == SyncStatus.RUNNING,
        or_(
            SyncLog.lease_expires_at > bindparam("moment"),
            and_(SyncLog.worker.is_(None), SyncLog.started_at > bindparam("patient_since")),
        ),
    )
)

# By sync and role, so that there is little to keep; and when that is too much, it goes.
_drawn: dict[tuple[int, str], tuple[tuple[Any, ...], str]] = {}
_MOST = 1000


def answer() -> str | None:
    """The card as it was last drawn, if it still looks like this to whoever asks; or None."""
    if request.endpoint != "pages.progress" or SESSION_KEY not in session:
        return None
    look = _look(**request.view_args or {})
    if look is None:
        return None
    g.look = look
    drawn = _drawn.get(_place(look))
    return drawn[1] if drawn and drawn[0] == look else None


def keep(card: str) -> None:
    """Keep what was drawn after `answer` had nothing to give."""
    if len(_drawn) >= _MOST:
        _drawn.clear()
    if "look" in g:
        _drawn[_place(g.look)] = g.look, card


def _look(org_id: str, sync_id: str) -> tuple[Any, ...] | None:
    """All that the card shows to this person; None for whoever has to go the long way."""
    try:
        clinic_id, log_id = organization_id_of(org_id), parameters.id_of(sync_id)
    except AppError:
        return None
    user_id, _, epoch = session[SESSION_KEY].partition(".")
    moment = now()
    person = {"user_id": int(user_id), "epoch": int(epoch)}
    asked = {"clinic_id": clinic_id, "sync_id": log_id}
    moments = {"moment": moment, "patient_since": moment - PATIENCE}
    with read_alone() as connection:
        row = connection.execute(_ROW, person | asked | moments).one_or_none()
    if row is None:
        return None
    role, own_clinic_id, *shown = row
    if not allows(Role(role), own_clinic_id, Action.VIEW_SYNCS, clinic_id):
        return None
    return (row.id, role, clinic_id, int((moment - row.started_at).total_seconds()), *shown)


def _place(look: tuple[Any, ...]) -> tuple[int, str]:
    return look[0], look[1]
