"""Talking to the Cliniko of one clinic: the client with its budget, and the connection test."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from webapp.cliniko.client import Account, Cliniko
from webapp.cliniko.errors import ClinikoError
from webapp.cliniko.shard import DEFAULT_API_URL, is_subdomain, patient_page
from webapp.cliniko.throttle import AT_ONCE, PATIENT, RetryPolicy, SleepingWaiter, Waiter
from webapp.clock import now
from webapp.errors import (
    AccountMismatch,
    AppError,
    ClinikoNotConfigured,
    CredentialsUnreadable,
)
from webapp.extensions import transaction
from webapp.models import Organization, User
from webapp.queue import redis_connection
from webapp.services import audit, credentials, schedules
from webapp.services.audit import Event, Result
from webapp.services.budget import KEPT_FOR_TESTS, SharedBudget


@dataclass(frozen=True)
class ConnectionReport:
    """What a connection test that passed has found out."""

    account: Account
    total_patients: int


def client_for(
    organization: Organization, waiter: Waiter | None = None, *, policy: RetryPolicy = PATIENT
) -> tuple[Cliniko, SharedBudget]:
    """A client that opens this clinic's account, and the budget it spends from.

    Raises ClinikoNotConfigured without a stored key, CredentialsUnreadable if it does not decrypt.
    """
    if organization.encrypted_api_key is None:
        raise ClinikoNotConfigured(organization_id=organization.id)
    api_key = credentials.decrypt(organization.id, organization.encrypted_api_key)
    return client_with(api_key, waiter, policy=policy)


def client_with(
    api_key: str, waiter: Waiter | None = None, *, policy: RetryPolicy = PATIENT
) -> tuple[Cliniko, SharedBudget]:
    """A client for a key that is not stored yet. Raises InvalidKey for a key of impossible form."""
    config = current_app.config
    keep = 0 if policy is AT_ONCE else KEPT_FOR_TESTS
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


def test_connection(organization: Organization, *, actor: User | None) -> ConnectionReport:
    """Ask Cliniko who the stored key belongs to and how many active patients there are.

    The outcome is kept with the clinic, whichever it is. Raises ClinikoError, AccountMismatch,
    ClinikoNotConfigured or CredentialsUnreadable.
    """
    organization_id = organization.id
    try:
        client, _ = client_for(organization, policy=AT_ONCE)
        with client:
            account = client.account()
            check_account(organization, account)
            report = ConnectionReport(account, client.count_active())
    except (ClinikoError, AppError) as error:
        _remember(organization_id, actor, error=error)
        raise
    _remember(organization_id, actor, account=account, total_patients=report.total_patients)
    return report


def note_account(
    organization: Organization, account: Account, *, patients: int | None = None
) -> None:
    """Write down, inside the caller's transaction, whose account a clinic's key opens.

    `patients` is how many active ones Cliniko told of, if it was asked.
    """
    organization.cliniko_id = organization.cliniko_id or account.id
    organization.cliniko_name = account.name
    organization.cliniko_subdomain = account.subdomain if is_subdomain(account.subdomain) else None
    schedules.learn_time_zone(organization, account.time_zone)
    if patients is not None:
        organization.cliniko_patients = patients


def page_in_cliniko(organization: Organization, cliniko_patient_id: str) -> str | None:
    """The address at which Cliniko shows a patient to people; None where it is not known, and
    where something else answers in Cliniko's place, as in the demo."""
    subdomain, shard = organization.cliniko_subdomain, organization.shard
    if current_app.config["CLINIKO_API_URL"] != DEFAULT_API_URL or not subdomain or not shard:
        return None
    return patient_page(subdomain, shard, cliniko_patient_id)


def check_account(organization: Organization, account: Account) -> None:
    """Raise AccountMismatch if the key opens another account than the clinic's first key did."""
    if organization.cliniko_id is not None and organization.cliniko_id != account.id:
        raise AccountMismatch(organization_id=organization.id)


def _remember(
    organization_id: int,
    actor: User | None,
    *,
    error: ClinikoError | AppError | None = None,
    account: Account | None = None,
    total_patients: int | None = None,
) -> None:
    with transaction() as session:
        organization = session.get_one(Organization, organization_id)
        if not isinstance(error, (ClinikoNotConfigured, CredentialsUnreadable)):  # it was asked
            organization.connection_checked_at = now()
            organization.connection_error_code = str(error.error_code) if error else None
        if account is not None:
            note_account(organization, account, patients=total_patients)
        audit.record(
            Event.CONNECTION_TESTED,
            actor=actor,
            organization_id=organization_id,
            subject=f"clinic {organization_id}",
            result=Result.FAILED if error else Result.OK,
            error_code=str(error.error_code) if error else None,
        )
