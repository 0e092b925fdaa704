"""The Cliniko account of one clinic: a client for it with its budget, the connection test, whose
account a key opens, and whether it is accepted."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from flask import current_app
from sqlalchemy import select

from config import CLINIKO_API_URL
from webapp.cliniko.client import Account, Cliniko
from webapp.cliniko.errors import ClinikoError
from webapp.cliniko.shard import is_subdomain, patient_page
from webapp.cliniko.throttle import FOR_PEOPLE, FOR_SYNCS, RetryPolicy, SleepingWaiter, Waiter
from webapp.clock import now
from webapp.errors import AccountMismatch, AppError, ClinikoNotConfigured
from webapp.extensions import db, transaction
from webapp.models import NOT_DELETED, Organization, User
from webapp.queue import redis_connection
from webapp.services import audit, credentials, locks, schedules
from webapp.services.audit import Result
from webapp.services.audit_events import Event
from webapp.services.budget import KEPT_FOR_TESTS, SharedBudget


class KeyReplaced(Exception):
    """Another key was saved meanwhile: what the earlier one opens is not the clinic's account."""


@dataclass(frozen=True)
class ConnectionReport:
    """What a connection test that passed has found out."""

    account: Account
    total_patients: int


def client_for(
    organization: Organization, waiter: Waiter | None = None, *, policy: RetryPolicy = FOR_SYNCS
) -> tuple[Cliniko, SharedBudget]:
    """A client that opens this clinic's account, and the budget it spends from.

    Raises ClinikoNotConfigured without a stored key, CredentialsUnreadable if it does not decrypt.
    """
    if organization.encrypted_api_key is None:
        raise ClinikoNotConfigured(organization_id=organization.id)
    api_key = credentials.decrypt(organization.id, organization.encrypted_api_key)
    return client_with(api_key, waiter, policy=policy)


def client_with(
    api_key: str, waiter: Waiter | None = None, *, policy: RetryPolicy = FOR_SYNCS
) -> tuple[Cliniko, SharedBudget]:
    """A client for a key that is not stored yet. Raises InvalidKey for a key of impossible form."""
    config = current_app.config
    keep = 0 if policy is FOR_PEOPLE else KEPT_FOR_TESTS
    budget = SharedBudget(
        redis_connection(), api_key, per_minute=config["CLINIKO_RATE_LIMIT"], keep=keep
    )
    client = Cliniko(
        api_key,
        contact_email=config["CLINIKO_CONTACT_EMAIL"],
        budget=budget,
        waiter=waiter or SleepingWaiter(),
        api_url=config["CLINIKO_API_URL"],
        policy=policy,
    )
    return client, budget


def account_of(api_key: str) -> Account | None:
    """Whose a key is that is not stored yet; None if Cliniko cannot be asked just now. Raises the
    ClinikoError that it is refused with, and as `client_with` does."""
    client, _ = client_with(api_key, policy=FOR_PEOPLE)
    try:
        with client:
            return client.account()
    except ClinikoError as error:
        if not error.retryable:
            raise
    return None


def test_connection(organization: Organization, *, actor: User | None) -> ConnectionReport:
    """Ask Cliniko who the stored key belongs to and how many active patients there are.

    The outcome is kept with the clinic, whichever it is, unless another key was saved meanwhile.
    Raises ClinikoError, AccountMismatch, ClinikoNotConfigured or CredentialsUnreadable.
    """
    organization_id, key = organization.id, organization.encrypted_api_key
    try:
        client, _ = client_for(organization, policy=FOR_PEOPLE)
        with client:
            account = client.account()
            check_account(organization, account)
            report = ConnectionReport(account, client.count_active())
    except (ClinikoError, AppError) as error:
        _remember(organization_id, key, actor, error)
        raise
    _remember(organization_id, key, actor, report)
    return report


def note_account(
    organization: Organization, account: Account, *, patients: int | None = None
) -> None:
    """Write down, inside the caller's transaction, whose account a clinic's key opens; the clinic
    is locked, so that nobody binds it to another one meanwhile.

    `patients` is how many active ones Cliniko told of, if it was asked. Raises AccountMismatch.
    """
    check_account(organization, account)
    organization.cliniko_id = organization.cliniko_id or account.id
    organization.cliniko_name = account.name
    organization.cliniko_subdomain = account.subdomain if is_subdomain(account.subdomain) else None
    schedules.learn_time_zone(organization, account.time_zone)
    if patients is not None:
        organization.cliniko_patients = patients


def note_acceptance(
    organization_id: int, key: str | None, account: Account, *, patients: int | None = None
) -> None:
    """Write down, inside the caller's transaction, that a clinic's key opens the patients of its
    account, and whose that is; `key` as it is stored.

    Raises AccountMismatch, and KeyReplaced if another was saved meanwhile.
    """
    organization = locks.clinic(organization_id)
    if organization.encrypted_api_key != key:
        raise KeyReplaced
    note_account(organization, account, patients=patients)
    organization.connection_checked_at = now()
    organization.connection_error_code = None


def note_refusal(organization_id: int, key: str | None, error_code: str) -> None:
    """Write down, inside the caller's transaction, that a clinic's key does not open its account,
    or cannot be decrypted, unless another was saved meanwhile; `key` as it is stored."""
    organization = locks.clinic(organization_id)
    if organization.encrypted_api_key == key:
        organization.connection_checked_at = now()
        organization.connection_error_code = str(error_code)


def page_in_cliniko(organization: Organization, cliniko_patient_id: str) -> str | None:
    """The address at which Cliniko shows a patient to people; None where it is not known, and
    where something else answers in Cliniko's place, as in the demo."""
    subdomain, shard = organization.cliniko_subdomain, organization.shard
    if current_app.config["CLINIKO_API_URL"] != CLINIKO_API_URL or not subdomain or not shard:
        return None
    return patient_page(subdomain, shard, cliniko_patient_id)


def same_account(organization: Organization) -> list[Organization]:
    """The other clinics whose keys open the same Cliniko account: each holds its patients."""
    if organization.cliniko_id is None:
        return []
    others = select(Organization).where(
        Organization.cliniko_id == organization.cliniko_id,
        Organization.id != organization.id,
        NOT_DELETED,
    )
    return list(db.session.scalars(others.order_by(Organization.name)))


def check_account(organization: Organization, account: Account) -> None:
    """Raise AccountMismatch if the key opens another account than the clinic's first key did."""
    if organization.cliniko_id is not None and organization.cliniko_id != account.id:
        raise AccountMismatch(organization_id=organization.id)


def _remember(
    organization_id: int,
    key: str | None,
    actor: User | None,
    found: ConnectionReport | ClinikoError | AppError,
) -> None:
    error = None if isinstance(found, ConnectionReport) else found
    with transaction():
        # What an earlier key has opened tells nothing about the one that was saved meanwhile.
        if isinstance(found, ConnectionReport):
            with suppress(KeyReplaced):
                note_acceptance(organization_id, key, found.account, patients=found.total_patients)
        elif not isinstance(found, ClinikoNotConfigured):
            note_refusal(organization_id, key, found.error_code)
        audit.record(
            Event.CONNECTION_TESTED,
            actor=actor,
            organization_id=organization_id,
            subject=f"clinic {organization_id}",
            result=Result.FAILED if error else Result.OK,
            error_code=str(error.error_code) if error else None,
        )
