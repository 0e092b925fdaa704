"""The clinics, their people, their patients and their syncs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
SORTED_BY_CODE_POINT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "organizations",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("cliniko_id", sa.String(length=40), nullable=True),
        sa.Column("cliniko_name", sa.String(length=200), nullable=True),
        sa.Column("encrypted_api_key", sa.Text(), nullable=True),
        sa.Column("api_key_hint", sa.String(length=4), nullable=True),
        sa.Column("shard", sa.String(length=4), nullable=True),
        sa.Column("credentials_saved_at", MOMENT, nullable=True),
        sa.Column("connection_checked_at", MOMENT, nullable=True),
        sa.Column("connection_error_code", sa.String(length=40), nullable=True),
        sa.Column("cliniko_patients", sa.Integer(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_organizations"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "patients",
        sa.Column("id", ID, nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("cliniko_patient_id", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("preferred_first_name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("phones", sa.JSON(), nullable=False),
        sa.Column("date_of_birth", sa.Date(), nullable=True),
        sa.Column("cliniko_created_at", MOMENT, nullable=True),
        sa.Column("cliniko_updated_at", MOMENT, nullable=True),
        sa.Column("archived_at", MOMENT, nullable=True),
        sa.Column("merged_at", MOMENT, nullable=True),
        sa.Column("merged_into", sa.String(length=20), nullable=True),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("search_text", sa.Text(), nullable=False),
        sa.Column("search_digits", sa.Text(), nullable=False),
        sa.Column("sort_key", SORTED_BY_CODE_POINT, nullable=False),
        sa.Column("sync_status", sa.String(length=10), nullable=False),
        sa.Column("last_synced", MOMENT, nullable=False),
        sa.Column("last_changed", MOMENT, nullable=False),
        sa.Column("last_sync_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name="fk_patients_organization_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_patients"),
        sa.UniqueConstraint(
            "organization_id",
            "cliniko_patient_id",
            name="uq_patients_organization_id_cliniko_patient_id",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_patients_organization_id_sort_key_id",
        "patients",
        ["organization_id", "sort_key", "id"],
        unique=False,
    )
    op.create_index(
        "ix_patients_organization_id_state_sort_key_id",
        "patients",
        ["organization_id", "state", "sort_key", "id"],
        unique=False,
    )

    op.create_table(
        "users",
        sa.Column("id", ID, nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("organization_id", ID, nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("session_epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "role = 'admin' OR organization_id IS NOT NULL", name="ck_users_belongs_to_a_clinic"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name="fk_users_organization_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sync_logs",
        sa.Column("id", ID, nullable=False),
        sa.Column("organization_id", ID, nullable=False),
        sa.Column("operation_type", sa.String(length=20), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("origin", sa.String(length=10), nullable=False),
        sa.Column("started_by_id", ID, nullable=True),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("completed_at", MOMENT, nullable=True),
        sa.Column("records_success", sa.Integer(), nullable=False),
        sa.Column("records_failed", sa.Integer(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("error_code", sa.String(length=40), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("cancel_requested_at", MOMENT, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("interruptions", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=100), nullable=True),
        sa.Column("lease_expires_at", MOMENT, nullable=True),
        sa.Column("checkpoint", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name="fk_sync_logs_organization_id"
        ),
        sa.ForeignKeyConstraint(["started_by_id"], ["users.id"], name="fk_sync_logs_started_by_id"),
        sa.PrimaryKeyConstraint("id", name="pk_sync_logs"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_sync_logs_organization_id_id", "sync_logs", ["organization_id", "id"], unique=False
    )
    op.create_index(
        "uq_sync_logs_one_running",
        "sync_logs",
        ["organization_id"],
        unique=True,
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )

    op.create_table(
        "sync_failures",
        sa.Column("id", ID, nullable=False),
        sa.Column("sync_log_id", ID, nullable=False),
        sa.Column("cliniko_patient_id", sa.String(length=40), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("field", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("failed_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["sync_log_id"], ["sync_logs.id"], name="fk_sync_failures_sync_log_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_sync_failures"),
        sa.UniqueConstraint(
            "sync_log_id",
            "cliniko_patient_id",
            name="uq_sync_failures_sync_log_id_cliniko_patient_id",
        ),
    )


def downgrade() -> None:
    for table in ("sync_failures", "sync_logs", "users", "patients", "organizations"):
        op.drop_table(table)
