"""Every table, in one place for callers and for the migrations."""

from webapp.models.api_token import ApiToken
from webapp.models.audit_event import AuditChain, AuditEvent
from webapp.models.clean_up import CleanUp
from webapp.models.deleted_syncs import DeletedSyncs
from webapp.models.forgotten_patient import ForgottenPatient
from webapp.models.held_removal import HeldRemoval, RemovalsDecision
from webapp.models.invitation import Invitation
from webapp.models.notice import Notice, NoticeKind, NoticeState
from webapp.models.organization import CAN_BE_SYNCED, IS_OPEN, NOT_DELETED, Organization
from webapp.models.patient import Patient, PatientSyncStatus, Phone
from webapp.models.patient_change import ChangeKind, PatientChange
from webapp.models.schedule import Schedule
from webapp.models.second_factor import RecoveryCode, SecondFactor
from webapp.models.sync_failure import SyncFailure
from webapp.models.sync_log import (
    BRINGS_IN_STEP,
    OperationType,
    SyncLog,
    SyncMetadata,
    SyncOrigin,
    SyncPhase,
    SyncStatus,
    newest_in_step,
)
from webapp.models.user import Role, User
from webapp.models.user_session import UserSession
from webapp.models.webhook import (
    SUBSCRIBABLE,
    DeliveryState,
    PauseReason,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)

__all__ = [
    "BRINGS_IN_STEP",
    "CAN_BE_SYNCED",
    "IS_OPEN",
    "NOT_DELETED",
    "SUBSCRIBABLE",
    "ApiToken",
    "AuditChain",
    "AuditEvent",
    "ChangeKind",
    "CleanUp",
    "DeletedSyncs",
    "DeliveryState",
    "ForgottenPatient",
    "HeldRemoval",
    "Invitation",
    "Notice",
    "NoticeKind",
    "NoticeState",
    "OperationType",
    "Organization",
    "Patient",
    "PatientChange",
    "PatientSyncStatus",
    "PauseReason",
    "Phone",
    "RecoveryCode",
    "RemovalsDecision",
    "Role",
    "Schedule",
    "SecondFactor",
    "SyncFailure",
    "SyncLog",
    "SyncMetadata",
    "SyncOrigin",
    "SyncPhase",
    "SyncStatus",
    "User",
    "UserSession",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "newest_in_step",
]
