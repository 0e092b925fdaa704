"""Two clinics in which every word tells whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from simulator.account import ClinikoAccount
from webapp.clock import now
from webapp.extensions import transaction
from webapp.models import (
    SUBSCRIBABLE,
    DeliveryState,
    HeldRemoval,
    OperationType,
    Organization,
    Patient,
    SyncFailure,
    SyncLog,
    SyncOrigin,
    SyncStatus,
    WebhookEvent,
)
from webapp.services import organizations
from webapp.services.webhooks import endpoints, outbox
from webapp.sync.progress import Progress


@dataclass(frozen=True)
class Clinic:
    """A clinic as the tests know it: its ids, its key, and the words that only it knows."""

    id: int
    sync_id: int
    patient_id: int
    webhook_id: int
    delivery_id: int
    key: str
    words: frozenset[str]


def make(account: ClinikoAccount, word: str, key: str, born: date) -> Clinic:
    """A clinic with a sync, a record that failed, a patient who is held, and a webhook with a
    message, full of this word."""
    account.add_key(key)
    clinic = organizations.add(f"{word}-clinic", key)
    with transaction():
        # No letter of the alphabet that tokens are written in: four of those could meet by chance.
        hint = f"!{word[0]}!!"
        clinic.api_key_hint = hint
        clinic.cliniko_id, clinic.cliniko_name = account.id, f"{word}-name"
        clinic.cliniko_patients = 1
    sync_id = _sync(clinic, word)
    patient_id = _patient(clinic, word, born, sync_id)
    webhook_id, delivery_id = _webhook(clinic, word)
    birthdays = (born.isoformat(), f"{born.day} {born:%b} {born.year}")
    words = frozenset({word, hint, key, account.id, *birthdays})
    return Clinic(clinic.id, sync_id, patient_id, webhook_id, delivery_id, key, words)


def _webhook(clinic: Organization, word: str) -> tuple[int, int]:
    endpoint, _ = endpoints.add(
        clinic, f"https://{word}.example.com/{word}", SUBSCRIBABLE, actor=None
    )
    with transaction() as session:
        delivery = outbox.put_for(endpoint, WebhookEvent.SYNC_FAILED, {"message": word})
        delivery.state = DeliveryState.DELIVERED
        session.flush()
        return endpoint.id, delivery.id


def _sync(clinic: Organization, word: str) -> int:
    start = now() - timedelta(days=1)
    with transaction() as session:
        log = SyncLog(
            organization_id=clinic.id,
            operation_type=OperationType.FULL_PATIENTS,
            status=SyncStatus.FAILED,
            origin=SyncOrigin.COMMAND,
            started_at=start,
            completed_at=start + timedelta(seconds=9),
            records_failed=1,
            progress=Progress(OperationType.FULL_PATIENTS).metadata()
            | {"note": f"{word}-note", "removals_held": 1},
            error_code=f"{word}-code",
            error_message=f"{word}-message",
            worker=f"{word}-worker",
            checkpoint={"next": f"{word}-checkpoint"},
        )
        session.add(log)
        session.flush()
        session.add(
            SyncFailure(
                sync_log_id=log.id,
                cliniko_patient_id=f"{word}-failed",
                page=1,
                field=f"{word}-field",
                reason=f"{word}-reason",
                failed_at=start,
            )
        )
        return log.id


def _patient(clinic: Organization, word: str, born: date, sync_id: int) -> int:
    moment = datetime(2026, 3, 2, tzinfo=UTC)
    with transaction() as session:
        patient = Patient(
            organization_id=clinic.id,
            cliniko_patient_id=f"{word}-id",
            state="active",
            first_name=f"{word}-first",
            last_name=f"{word}-last",
            preferred_first_name=f"{word}-preferred",
            email=f"{word}@example.com",
            phone=f"{word}-phone",
            phones=[{"type": f"{word}-type", "number": f"{word}-number"}],
            date_of_birth=born,
            merged_into=f"{word}-merged",
            content_hash=f"{word}-hash",
            search_text=f"{word}-search",
            search_digits=f"{word}-digits",
            sort_key=f"{word}-sort",
            last_synced=moment,
            last_changed=moment,
            last_sync_id=sync_id,
        )
        session.add(patient)
        session.add(
            HeldRemoval(
                organization_id=clinic.id,
                sync_log_id=sync_id,
                cliniko_patient_id=patient.cliniko_patient_id,
                held_since=moment,
            )
        )
        session.flush()
        return patient.id
