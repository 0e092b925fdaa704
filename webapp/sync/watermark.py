"""Up to when a clinic has been read, and when it must be read whole again.

The watermark is the start of the last sync that saw all changes and completed, by Cliniko's clock,
less an overlap. A sync of what changed asks from there on. What such a question cannot find, as a
patient who vanished without a tombstone, a full sync finds, a week later at most.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from webapp.clock import MAY_DIFFER, now
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog
from webapp.sync import history

# Cliniko's clock and the moment it stamps a change may differ a little.
OVERLAP = timedelta(minutes=5)
FULL_SYNC_EVERY = timedelta(days=7)
# One that fails is tried again after so long: meanwhile changes are read, or a clinic whose full
# syncs fail would hear of no change any more.
TRIED_AGAIN_AFTER = timedelta(days=1)


def needs_full_sync(organization: Organization) -> bool:
    """Whether a sync of what changed would not do: the clinic was never read whole, or was last
    more than a week ago, and that was not tried within a day."""
    if organization.synced_through is None:
        return True
    last = history.last_completed(organization, OperationType.FULL_PATIENTS)
    if last is None:
        return True
    if _is_within(FULL_SYNC_EVERY, last):
        return False
    tried = history.last_begun(organization, OperationType.FULL_PATIENTS)
    return tried is None or not _is_within(TRIED_AGAIN_AFTER, tried)


def _is_within(time: timedelta, log: SyncLog) -> bool:
    """Whether a sync began so lately. When one did that is said to have begun later than now cannot
    be told: a clock ran ahead."""
    return now() - time <= log.started_at <= now() + MAY_DIFFER


def move(organization_id: int, read_from: datetime) -> None:
    """A sync that began at this moment of Cliniko's clock has seen all changes; inside the
    transaction that completes it."""
    organization = db.session.get_one(Organization, organization_id)
    organization.synced_through = read_from - OVERLAP
