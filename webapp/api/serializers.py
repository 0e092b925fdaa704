"""The JSON shapes of the API, key by key: what is not written here cannot leak."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from webapp.clock import iso, now
from webapp.durations import duration_words
from webapp.models import Organization, Patient, SyncFailure, SyncLog
from webapp.services.connection import ConnectionReport
from webapp.services.patients import PatientPage
from webapp.sync.history import StatusSummary, SyncPage

Json = dict[str, Any]


def token_json(token: str, expires: int) -> Json:
    """`expires` is in Unix seconds."""
    expires_in = expires - int(now().timestamp())
    return {"access_token": token, "token_type": "Bearer", "expires_in": expires_in}


def organization_json(organization: Organization) -> Json:
    return {
        "id": organization.id,
        "name": organization.name,
        "cliniko_id": organization.cliniko_id,
        "configured": organization.is_configured,
    }


def started_json(log: SyncLog, expected_duration: str) -> Json:
    return {
        "success": True,
        "message": f"Full patient sync started for organization {log.organization_id}",
        "operation_type": log.operation_type,
        "expected_duration": expected_duration,
        "sync_log_id": log.id,
    }


def cancelled_json(log: SyncLog) -> Json:
    told = "is asked to stop" if log.is_running else "was cancelled"
    return {
        "success": True,
        "message": f"The sync of organization {log.organization_id} {told}",
        "sync_log_id": log.id,
        "status": log.status,
    }


def connection_json(report: ConnectionReport) -> Json:
    return {
        "status": "connected",
        "total_patients": report.total_patients,
        "api_version": "v1",
        "connection_test": "passed",
        "organization": {"name": report.account.name, "cliniko_id": report.account.id},
    }


def sync_log_page_json(page: SyncPage) -> Json:
    return {
        "logs": [sync_log_json(log) for log in page.logs],
        "total_count": page.total,
        "has_more": page.has_more,
    }


def sync_log_json(log: SyncLog) -> Json:
    return {
        "id": log.id,
        "organization_id": log.organization_id,
        "operation_type": log.operation_type,
        "status": log.status,
        "started_at": iso(log.started_at),
        "completed_at": _iso(log.completed_at),
        "records_processed": log.records_processed,
        "records_success": log.records_success,
        "records_failed": log.records_failed,
        "metadata": log.progress,
        "error_details": _error_details(log),
    }


def sync_log_with_failures_json(
    log: SyncLog, failures: Sequence[SyncFailure], *, limit: int, offset: int
) -> Json:
    return {
        **sync_log_json(log),
        "failures": [
            {
                "cliniko_patient_id": failure.cliniko_patient_id,
                "page": failure.page,
                "field": failure.field,
                "reason": failure.reason,
                "failed_at": iso(failure.failed_at),
            }
            for failure in failures
        ],
        "pagination": _pagination(log.records_failed, limit, offset, len(failures)),
    }


def status_json(summary: StatusSummary) -> Json:
    latest, completed = summary.latest, summary.last_completed
    seconds = latest.duration_seconds if latest else None
    return {
        "sync_status": latest.status if latest else "never_synced",
        "last_sync": _iso(completed.completed_at) if completed else None,
        "patient_counts": {
            "total_in_cliniko": summary.total_in_cliniko,
            "synced_to_database": summary.synced_to_database,
            "success_rate": summary.success_rate,
        },
        "sync_duration": None if seconds is None else duration_words(seconds),
        "duration_seconds": None if seconds is None else int(seconds),
        "operation_type": latest.operation_type if latest else None,
    }


def patient_page_json(page: PatientPage) -> Json:
    return {
        "patients": [patient_json(patient) for patient in page.patients],
        "pagination": _pagination(page.total, page.limit, page.offset, len(page.patients)),
    }


def patient_json(patient: Patient) -> Json:
    return {
        "id": patient.id,
        "cliniko_patient_id": patient.cliniko_patient_id,
        "first_name": patient.first_name,
        "last_name": patient.last_name,
        "email": patient.email,
        "phone": patient.phone,
        "date_of_birth": patient.date_of_birth.isoformat() if patient.date_of_birth else None,
        "last_synced": iso(patient.last_synced),
        "sync_status": patient.sync_status,
        "preferred_first_name": patient.preferred_first_name,
        "phones": [{"type": each["type"], "number": each["number"]} for each in patient.phones],
        "state": patient.state,
        "last_changed": iso(patient.last_changed),
        "archived_at": _iso(patient.archived_at),
        "merged_at": _iso(patient.merged_at),
        "merged_into": patient.merged_into,
        "deleted_at": _iso(patient.deleted_at),
    }


def _error_details(log: SyncLog) -> Json | None:
    if log.error_code is None:
        return None
    return {
        "error_code": log.error_code,
        "message": log.error_message,
        "failed_at": _iso(log.completed_at),
    }


def _pagination(total: int, limit: int, offset: int, shown: int) -> Json:
    return {"total": total, "limit": limit, "offset": offset, "has_next": offset + shown < total}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
