"""Running a sync: from the moment a worker picks it up to its last word."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import structlog
from rq.timeouts import JobTimeoutException
from sqlalchemy.exc import DBAPIError

from webapp.cliniko.client import Cliniko
from webapp.cliniko.errors import AuthFailed, ClinikoError, Forbidden
from webapp.errors import AccountMismatch, AppError, CredentialsUnreadable, ErrorCode
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog, SyncPhase
from webapp.services import connection
from webapp.services.connection import KeyReplaced, client_for
from webapp.sync import changes, ending, lease, recovery
from webapp.sync.database_trouble import (
    PATIENCE_SECONDS,
    closing_after,
    patiently,
    until_it_passes,
)
from webapp.sync.ending import WHAT_IS_KEPT, Closing
from webapp.sync.passes import Passes
from webapp.sync.reader import Reader
from webapp.sync.recorder import Recorder
from webapp.sync.retry import read_failed
from webapp.sync.time_limit import SyncTimeout
from webapp.sync.waiting import StoppableWaiter

log = structlog.get_logger()

# So many pages are stored in one transaction if they have arrived. Twice as many would take SQLite
# 5 % less time and 2 MB more; half as many PostgreSQL, with its trips there and back, 20 % more.
PAGES_TOGETHER = {"sqlite": 4, "postgresql": 8}


# Who told the worker to end kills it after 15 seconds, as `script/server` does: the last try begins
# before this, and may wait for a lock for five.
_PATIENCE_WHEN_TOLD_SECONDS = 7.0


class _Flag:
    """Set by signal handlers. A `threading.Event` has a lock, for which a second signal that comes
    while the first one is at it would wait for ever."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set


# Set when this worker is told to end: the sync goes to another worker after the page at hand.
hand_over_requested = _Flag()


class HandOver(Exception):
    """The worker ends; the sync is to go on elsewhere."""


@dataclass(frozen=True)
class _Work:
    """What an attempt works with, and on."""

    organization: Organization
    client: Cliniko
    recorder: Recorder


def run(sync_log_id: int, attempt: int, *, worker: str) -> None:
    """Bring one clinic in step, or close the sync with the reason why not.

    Does nothing if another worker has the sync, or has had this attempt already. The sync's row
    says how it ended; what is raised is only DBAPIError, of a database that is away for long,
    AuditUnavailable, where the end cannot be recorded, and QueueUnavailable, where a sync that was
    handed over cannot be queued: the look for lost syncs finds it.
    """
    structlog.contextvars.bind_contextvars(sync_log_id=sync_log_id, attempt=attempt)
    try:
        waited = lease.claim(sync_log_id, attempt, worker)
    except lease.LeaseLost:
        log.info("sync_not_ours")
        return
    closing = _closing_after_running(sync_log_id, attempt, waited)
    # Only here, where no error is being handled: it would stand behind each that closing meets.
    if closing is not None:
        _fail(sync_log_id, attempt, closing)


def _closing_after_running(sync_log_id: int, attempt: int, waited: float) -> Closing | None:
    """Run a claimed sync; how it has to be closed as failed, if that is left to do."""
    try:
        _run(sync_log_id, waited)
        log.info("sync_completed")
    except lease.LeaseLost:
        log.warning("sync_taken_over")
    except HandOver:
        _hand_over(sync_log_id, attempt)
    except lease.TakenBack:
        log.warning("database_took_back")
        patiently(partial(_tell_followers_again, sync_log_id))
        _hand_over(sync_log_id, attempt)
    except lease.CancelRequested:
        return recovery.CANCELLED
    except (AppError, ClinikoError) as error:
        return Closing(error.error_code, error.message)
    except (SyncTimeout, JobTimeoutException):
        return _TIMEOUT
    except DBAPIError as error:
        log.exception("sync_database_error")
        return closing_after(error)
    except Exception:
        log.exception("sync_failed_unexpectedly")
        return _INTERNAL
    return None


def _run(sync_log_id: int, waited: float) -> None:
    while True:
        waiter = StoppableWaiter()
        work = patiently(partial(_prepare, sync_log_id, waiter, waited))
        if isinstance(work, CredentialsUnreadable):
            raise work
        waited = 0.0  # the recorder has written it down
        log.info("sync_begins", organization_id=work.recorder.target.organization_id)
        try:
            return _read_and_store(work, waiter)
        except (AuthFailed, Forbidden, AccountMismatch) as error:
            recorder, code = work.recorder, error.error_code
            another = recorder.look_up(partial(_stored_key, work.organization)) != recorder.key
            if not (another and isinstance(error, AuthFailed)):
                clinic = recorder.target.organization_id
                patiently(partial(connection.note_refusal, clinic, recorder.key, code))
                raise
            # Somebody has entered another key and revoked this one: go on with the new one.
            log.info("sync_goes_on_with_another_key")
        except KeyReplaced:
            log.info("sync_begins_again_with_another_key")


def _prepare(
    sync_log_id: int, waiter: StoppableWaiter, waited: float
) -> _Work | CredentialsUnreadable:
    """What is needed. An error is not raised here: what is noted of it would be taken back."""
    sync_log = db.session.get_one(SyncLog, sync_log_id)
    organization = db.session.get_one(Organization, sync_log.organization_id)
    key = organization.encrypted_api_key
    try:
        client, budget = client_for(organization, waiter)
    except CredentialsUnreadable as error:
        connection.note_refusal(organization.id, key, error.error_code)
        return error
    recorder = Recorder(sync_log, organization, budget, lambda: client.requests_made, waited)
    return _Work(organization, client, recorder)


def _stored_key(organization: Organization) -> str | None:
    return organization.encrypted_api_key


def _read_and_store(work: _Work, waiter: StoppableWaiter) -> None:
    client, recorder = work.client, work.recorder

    def idle() -> None:
        _leave_if_told()
        recorder.beat(reader.waiting)

    with client:
        recorder.enter(SyncPhase.CONNECTING)
        together = PAGES_TOGETHER[db.engine.dialect.name]
        with Reader.opened(client, waiter, idle, together=together) as reader:
            if recorder.progress.sync_type is OperationType.RETRY_FAILED:
                return read_failed(
                    work.organization, client, reader, recorder, before_each_page=_leave_if_told
                )
            passes = Passes(client, reader, recorder, before_each_page=_leave_if_told)
            return passes.read_everything(work.organization)


def _leave_if_told() -> None:
    if hand_over_requested.is_set():
        raise HandOver


def _hand_over(sync_log_id: int, attempt: int) -> None:
    """Done a second time because the answer got lost it finds nothing to give; the look for syncs
    that Redis lost queues it."""
    told = hand_over_requested.is_set()
    patience = _PATIENCE_WHEN_TOLD_SECONDS if told else PATIENCE_SECONDS
    give_up_at = time.monotonic() + patience
    until_it_passes(
        partial(recovery.hand_over, sync_log_id, attempt, interrupted=False), seconds=patience
    )
    # If it was cancelled meanwhile, nobody need take it up.
    left = give_up_at - time.monotonic()
    until_it_passes(partial(recovery.settle, sync_log_id), seconds=left)
    log.info("sync_handed_over")


def _tell_followers_again(sync_log_id: int) -> None:
    sync_log = db.session.get_one(SyncLog, sync_log_id)
    changes.leave_room(sync_log.organization_id)


def _fail(sync_log_id: int, attempt: int, closing: Closing) -> None:
    """Close the sync as failed, if it is still this attempt's to close."""
    log.warning("sync_failed", error_code=str(closing.error_code))

    def close() -> None:
        sync_log = db.session.get(SyncLog, sync_log_id, with_for_update=True)
        if sync_log is not None and sync_log.is_running and sync_log.attempt == attempt:
            sync_log.lease_expires_at = None
            # Whatever else has happened meanwhile, somebody has cancelled it.
            cancelled = sync_log.cancel_requested_at is not None
            ending.fail(sync_log, recovery.CANCELLED if cancelled else closing)

    patiently(close)


_TIMEOUT = Closing(
    ErrorCode.SYNC_TIMEOUT, f"The sync took too long and was ended. {WHAT_IS_KEPT} Start it again."
)
_INTERNAL = Closing(
    ErrorCode.INTERNAL_ERROR,
    f"The sync ended on an error of ours. {WHAT_IS_KEPT} The worker's log tells more.",
)
