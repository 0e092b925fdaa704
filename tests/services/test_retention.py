"""S43: what is kept has an end, goes by itself, and does not come back."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any, NoReturn

import pytest
import time_machine
from flask import Flask
from sqlalchemy import create_engine, func, select, update
from sqlalchemy.exc import OperationalError

from tests.api.rows import hold, make_log, record, refuse, store
from tests.cast import Cast
from tests.support.statements import asked_meanwhile, plan_of
from webapp.cliniko.records import PatientRecord, PatientState
from webapp.clock import now
from webapp.extensions import db, prepare_engine, transaction
from webapp.models import (
    ApiToken,
    AuditEvent,
    ChangeKind,
    CleanUp,
    ForgottenPatient,
    HeldRemoval,
    Invitation,
    Notice,
    NoticeKind,
    OperationType,
    Organization,
    Patient,
    PatientChange,
    PatientSyncStatus,
    SyncFailure,
    SyncLog,
    SyncStatus,
    User,
    UserSession,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from webapp.services import (
    audit_check,
    changes,
    clean_ups,
    counts,
    invitations,
    old_syncs,
    organizations,
    people,
    retention,
    sessions,
    tokens,
)
from webapp.services.webhooks import outbox
from webapp.sync import changes as change_notes
from webapp.sync import failures, figures, forgotten, suspension
from webapp.sync.certificate import Tally, tally_of_copy
from webapp.sync.changes import Change
from webapp.sync.failures import FailedRecord
from webapp.sync.target import Target
from webapp.sync.upsert import RecordPage, store_pages

GONE_AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ALL_THAT_MAY_BE_KNOWN = {
    "preferred_first_name": "Liv",
    "phone": "0412 345 678",
    "phones": [{"type": "Mobile", "number": "0412 345 678"}],
    "search_digits": "0412345678",
} | dict.fromkeys(
    ("cliniko_created_at", "cliniko_updated_at", "archived_at", "merged_at"), GONE_AT - DAY
)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock(app: Flask) -> Iterator[time_machine.Traveller]:
    with time_machine.travel(GONE_AT + DAY, tick=False) as clock:
        yield clock


@pytest.fixture
def patients(cast: Cast, clock: object) -> None:
    """One who is deleted, one who lives, and one who had gone before the first sync."""
    store(
        cast.surf,
        record(1, "Olivia", "Nguyen", email="o@example.com", date_of_birth=date(2001, 5, 21)),
        record(2, "Mia", "Chen", phones=(("Mobile", "0412 345 678"),)),
        PatientRecord("3", PatientState.DELETED, deleted_at=GONE_AT),
    )
    store(cast.surf, PatientRecord("1", PatientState.DELETED, deleted_at=GONE_AT))


def olivia(cast: Cast) -> Patient:
    db.session.rollback()
    theirs = Patient.organization_id == cast.surf.id, Patient.cliniko_patient_id == "1"
    return db.session.scalars(select(Patient).where(*theirs)).one()


def rows_of(table: type) -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(table)) or 0


def held(clinic: Organization) -> Tally:
    with transaction():
        return tally_of_copy(clinic.id)


@pytest.mark.usefixtures("patients")
def test_after_ninety_days_nothing_is_known_of_who_was_deleted(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    with transaction():
        db.session.execute(
            update(Patient)
            .where(Patient.cliniko_patient_id == "1")
            .values(**ALL_THAT_MAY_BE_KNOWN, merged_into="2")
        )
    clock.move_to(GONE_AT + 90 * DAY)
    assert retention.clean_up().total() == 0
    row = olivia(cast)
    assert row.first_name == "Olivia"
    bare = db.session.scalars(select(Patient).where(Patient.cliniko_patient_id == "3")).one()
    same = {"organization_id", "state", "sync_status", "deleted_at"}
    kept = {"id", "cliniko_patient_id", "last_sync_id", "last_synced", "last_changed"}
    columns = {column.key for column in Patient.__table__.columns}
    alike = {key for key in columns if getattr(row, key) == getattr(bare, key)}
    assert alike <= same | kept, "of these the test would not see that they are forgotten"

    clock.move_to(GONE_AT + 90 * DAY + timedelta(seconds=1))
    assert retention.clean_up() == {"deleted_patients": 1}

    row = olivia(cast)
    bare = db.session.scalars(select(Patient).where(Patient.cliniko_patient_id == "3")).one()
    for key in columns - kept:
        assert getattr(row, key) == getattr(bare, key), key
    assert "olivia" not in str([getattr(row, c.key) for c in Patient.__table__.columns]).lower()
    mia = db.session.scalars(select(Patient).where(Patient.cliniko_patient_id == "2")).one()
    assert mia.first_name == "Mia"


def changes_of(clinic: Organization) -> list[tuple[int, str, str]]:
    db.session.rollback()
    theirs = select(PatientChange).where(PatientChange.organization_id == clinic.id)
    rows = db.session.scalars(theirs.order_by(PatientChange.position))
    return [(row.position, row.cliniko_patient_id, row.kind) for row in rows]


def failed_in(clinic: Organization, *keys: str, seen_at: datetime = GONE_AT) -> None:
    """A sync that could not store the newest versions of these patients."""
    log = make_log(clinic, records_failed=len(keys))
    failed = [FailedRecord(key, "date_of_birth", "is no date") for key in keys]
    with transaction():
        store_pages(Target(clinic.id, log.id, "au1"), [RecordPage(1, (), failed)], seen_at=seen_at)


@pytest.mark.usefixtures("patients")
def test_of_what_was_noted_about_who_was_deleted_only_the_deletion_stays(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    store(cast.surf, record(1, "Olivia", "Nguyen", email="new@example.com"))  # restored
    failed_in(cast.surf, "1", "2")
    store(cast.surf, PatientRecord("1", PatientState.DELETED, deleted_at=GONE_AT))
    store(cast.northside, record(1, "Olivia", "Chen"))
    failed_in(cast.northside, "1")
    assert [(key, kind) for _, key, kind in changes_of(cast.surf)] == [
        *(("1", "added"), ("2", "added"), ("3", "deleted")),
        *(("1", "deleted"), ("1", "restored"), ("1", "deleted")),
    ]

    clock.move_to(GONE_AT + 100 * DAY)
    assert retention.clean_up() == {"deleted_patients": 1}

    assert changes_of(cast.surf) == [(2, "2", "added"), (3, "3", "deleted"), (6, "1", "deleted")]
    assert changes_of(cast.northside) == [(1, "1", "added")]
    rows = select(SyncLog.organization_id, SyncFailure.cliniko_patient_id).join_from(
        SyncFailure, SyncLog
    )
    kept = {(clinic_id, key) for clinic_id, key in db.session.execute(rows)}
    assert kept == {(cast.surf.id, "2"), (cast.northside.id, "1")}


@pytest.mark.usefixtures("patients")
def test_nothing_tells_that_a_record_of_theirs_once_failed(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    failed_in(cast.surf, "1")
    assert olivia(cast).sync_status == PatientSyncStatus.FAILED

    clock.move_to(GONE_AT + 100 * DAY)
    retention.clean_up()

    assert olivia(cast).sync_status == PatientSyncStatus.SUCCESS
    assert failures.open_keys(cast.surf.id) == []


@pytest.mark.usefixtures("patients")
def test_a_record_that_failed_since_can_still_be_tried_again(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    """Olivia has come back to Cliniko, in a record that could not be stored."""
    failed_in(cast.surf, "1", seen_at=GONE_AT + 95 * DAY)

    clock.move_to(GONE_AT + 100 * DAY)
    retention.clean_up()

    assert olivia(cast).first_name == ""
    assert olivia(cast).sync_status == PatientSyncStatus.FAILED
    assert failures.open_keys(cast.surf.id) == ["1"]


@pytest.mark.usefixtures("patients")
def test_whoever_follows_the_feed_meanwhile_goes_on_and_hears_of_the_deletion(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    begun = changes.feed(cast.surf, cursor=None, limit=1)
    assert [(row.cliniko_patient_id, row.kind) for row, _ in begun.rows] == [("1", "added")]

    clock.move_to(GONE_AT + 100 * DAY)
    assert retention.clean_up() == {"deleted_patients": 1}

    left = changes.feed(cast.surf, cursor=begun.next_cursor, limit=100)
    assert [row.cliniko_patient_id for row, _ in left.rows] == ["2", "3", "1"]
    assert left.rows[-1][0].kind == ChangeKind.DELETED
    anew = changes.feed(cast.surf, cursor=None, limit=100)
    assert [row.position for row, _ in anew.rows] == [row.position for row, _ in left.rows]


@pytest.mark.parametrize(
    ("table", "index"),
    [
        ("patients", "ix_patients_deleted"),
        ("webhook_deliveries", "ix_webhook_deliveries_created_at"),
        ("sync_failures", "ix_sync_logs_completed_at"),
        ("sync_logs", "ix_sync_logs_completed_at"),
    ],
)
def test_what_is_over_is_found_by_an_index(app: Flask, table: str, index: str) -> None:
    with asked_meanwhile() as asked:
        retention.clean_up()

    # The last of them is the day's; before it a worker asks what deleted clinics have left.
    begins = f"SELECT {table}.id \nFROM {table} \n"
    last = [each for each in asked if each[0].startswith(begins)][-1]
    assert index in plan_of(*last)


@pytest.mark.usefixtures("patients")
def test_doing_it_again_removes_nothing(clock: time_machine.Traveller) -> None:
    clock.move_to(GONE_AT + 100 * DAY)
    assert retention.clean_up().total() == 1
    assert retention.clean_up().total() == 0


@pytest.mark.usefixtures("patients")
def test_the_next_sync_finds_nothing_to_change(cast: Cast, clock: time_machine.Traveller) -> None:
    before, counted = held(cast.surf), counts.by_state(cast.surf)
    clock.move_to(GONE_AT + 100 * DAY)
    retention.clean_up()

    store(
        cast.surf,
        PatientRecord("1", PatientState.DELETED, deleted_at=GONE_AT),
        PatientRecord("3", PatientState.DELETED, deleted_at=GONE_AT),
    )

    assert rows_of(Patient) == 3
    assert olivia(cast).first_name == ""
    assert (held(cast.surf), counts.by_state(cast.surf)) == (before, counted)


@pytest.mark.usefixtures("patients")
def test_whoever_is_restored_in_cliniko_is_a_patient_again(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    clock.move_to(GONE_AT + 100 * DAY)
    retention.clean_up()
    store(cast.surf, record(1, "Olivia", "Nguyen"))
    assert (olivia(cast).state, olivia(cast).first_name) == ("active", "Olivia")


@pytest.mark.usefixtures("patients")
def test_the_days_can_be_set(app: Flask, cast: Cast, clock: time_machine.Traveller) -> None:
    app.config["RETENTION_DAYS"] = 7
    clock.move_to(GONE_AT + 8 * DAY)
    assert retention.clean_up() == {"deleted_patients": 1}


def test_old_syncs_go_but_for_those_that_somebody_needs(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    ended = now() - 401 * DAY
    changed = OperationType.CHANGED_PATIENTS

    def old(clinic: Organization = cast.surf, **values: Any) -> int:
        return make_log(clinic, started_at=ended, **values).id

    def failed() -> int:
        return old(status=SyncStatus.FAILED, error_code="CLINIKO_UNAVAILABLE")

    gone = [old(), failed(), old(operation_type=changed)]
    refused, held, told = refuse(cast.northside, 1), hold(cast.surf, 3), old()
    with transaction():
        for log in (refused, held):
            log.completed_at = ended
        refused.operation_type = changed  # and its records are open, with no full sync since
        change_notes.note(cast.surf.id, told, [Change("1", ChangeKind.UPDATED)], at=now())
    old(operation_type=changed)  # the last of its type
    old(cast.northside, operation_type=changed)
    old(organizations.add("The only one of its clinic"))
    make_log(cast.surf, started_at=now() - 399 * DAY)
    gone.append(failed())  # after the last that completed, and not the newest
    failed()  # the newest of its clinic
    kept = set(db.session.scalars(select(SyncLog.id))) - set(gone)
    outcomes = figures.read().outcomes

    assert retention.clean_up()["syncs"] == len(gone)
    assert retention.clean_up()["syncs"] == 0

    db.session.rollback()
    assert set(db.session.scalars(select(SyncLog.id))) == kept
    assert figures.read().outcomes == outcomes  # what is counted never falls


def test_records_that_failed_go_after_400_days_unless_they_are_open(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    full, changed = OperationType.FULL_PATIENTS, OperationType.CHANGED_PATIENTS

    def refused(clinic: Organization, number: int, days: int, operation_type: str = full) -> None:
        log = refuse(clinic, number)
        with transaction():
            log.completed_at, log.operation_type = now() - days * DAY, operation_type

    refused(cast.surf, 5, 401)
    refused(cast.surf, 2, 399)
    make_log(cast.surf, started_at=now() - DAY)
    refused(cast.northside, 1, 402)
    refused(cast.northside, 3, 401)
    refused(cast.northside, 4, 401, changed)
    make_log(cast.northside, SyncStatus.FAILED, started_at=now() - DAY)
    make_log(cast.northside, started_at=now(), operation_type=changed)
    still_open = failures.open_keys(cast.northside.id)
    assert len(still_open) == 4

    assert retention.clean_up() == {"failed_records": 6, "syncs": 2}
    assert retention.clean_up().total() == 0

    assert failures.open_keys(cast.northside.id) == still_open
    assert rows_of(SyncFailure) == 2 + 3 + 4

    make_log(cast.northside, started_at=now())
    assert retention.clean_up() == {"failed_records": 7, "syncs": 2}


def test_each_way_in_which_old_syncs_ended_is_counted_on(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    for day in range(3):
        make_log(cast.surf, started_at=now() - 401 * DAY)
        make_log(cast.surf, started_at=now())
        assert retention.clean_up()["syncs"] == 1, day
    assert figures.read().outcomes == {("completed", ""): 6}


def test_tokens_and_links_go_thirty_days_after_their_end(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    begun = GONE_AT + DAY
    tokens.issue(cast.bob, name="hour", lifetime=timedelta(hours=1))
    tokens.issue(cast.bob, name="year", lifetime=300 * DAY)
    tokens.issue(cast.bob, name="revoked", lifetime=300 * DAY)
    revoked = db.session.scalars(select(ApiToken).where(ApiToken.name == "revoked")).one()
    tokens.revoke(revoked.id, owner=cast.bob)
    invitations.renew(cast.vera)

    clock.move_to(begun + 29 * DAY)
    assert retention.clean_up().total() == 0
    clock.move_to(begun + 32 * DAY)
    assert retention.clean_up() == {"tokens": 2, "invitations": 1}
    assert (rows_of(ApiToken), rows_of(Invitation)) == (1, 0)


def tell(organization: Organization) -> None:
    """A webhook of the clinic, a message to it, and a mail about the clinic."""
    with transaction() as session:
        endpoint = WebhookEndpoint(
            organization_id=organization.id,
            address="https://crm.clinic.example/",
            sealed_secret="sealed",
            events=[WebhookEvent.SYNC_COMPLETED],
        )
        session.add(endpoint)
        session.flush()
        outbox.put_for(endpoint, WebhookEvent.SYNC_COMPLETED, {})
        session.add(
            Notice(
                organization_id=organization.id,
                kind=NoticeKind.FAILING,
                recipient="bob@example.com",
                subject="Syncs are failing",
                text="",
            )
        )


def test_messages_to_webhooks_and_mails_go_after_thirty_days(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    tell(cast.surf)
    clock.shift(30 * DAY)
    assert retention.clean_up().total() == 0
    clock.shift(timedelta(seconds=1))
    assert retention.clean_up() == {"webhook_messages": 1, "notices": 1}
    assert (rows_of(WebhookDelivery), rows_of(Notice), rows_of(WebhookEndpoint)) == (0, 0, 1)
    assert retention.clean_up().total() == 0


def test_sessions_go_thirty_days_after_they_ended_or_lapsed(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    sessions.begin(cast.bob, address="192.0.2.1", agent="a browser")  # lapses when nobody is there
    ended, _ = sessions.begin(cast.vera, address="192.0.2.1", agent="a browser")
    sessions.end(ended.id, owner=cast.vera)
    clock.shift(30 * DAY)
    assert retention.clean_up().total() == 0
    clock.shift(timedelta(seconds=1))
    assert retention.clean_up() == {"sessions": 1}
    clock.shift(sessions.IDLE)
    assert retention.clean_up() == {"sessions": 1}
    assert rows_of(UserSession) == 0


def test_the_audit_trail_is_kept_for_seven_years_and_longer(
    cast: Cast, clock: time_machine.Traveller
) -> None:
    people.deactivate(cast.vera, actor=cast.alice)
    before = rows_of(AuditEvent)
    assert before > 0
    clock.shift(2556 * DAY)  # seven years and a day
    retention.clean_up()
    assert rows_of(AuditEvent) == before + 1  # that it was cleaned up
    assert list(audit_check.verify()) == []


def test_of_a_deleted_clinic_no_patient_is_left_after_the_next_look(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 3)
    store(cast.surf, *(record(number, "Olivia", "Nguyen") for number in range(1, 9)))
    store(cast.northside, record(1, "Mia", "Chen"))
    refuse(cast.surf, 2)
    log = refuse(cast.northside, 2)
    with transaction() as session:
        for organization in (cast.surf, cast.northside):
            session.add(
                HeldRemoval(
                    organization_id=organization.id,
                    sync_log_id=log.id,
                    cliniko_patient_id="1",
                    held_since=GONE_AT,
                )
            )
    tell(cast.surf)
    tell(cast.northside)
    suspension.delete(cast.surf, "Surf Rehab", actor=cast.alice)

    retention.remove_a_little()

    assert (rows_of(Patient), rows_of(SyncFailure), rows_of(HeldRemoval)) == (1, 2, 1)
    told = (WebhookEndpoint, WebhookDelivery, Notice)
    assert [rows_of(table) for table in told] == [1, 1, 1]
    assert rows_of(PatientChange) == 1
    assert rows_of(SyncLog) == 4  # what its syncs were is kept
    assert rows_of(Organization) == 2


def forget_somebody(clinic: Organization, actor: User) -> None:
    store(clinic, record(1, "Mia", "Chen"))
    theirs = select(Patient).where(Patient.organization_id == clinic.id)
    forgotten.forget(clinic, db.session.scalars(theirs).one(), actor=actor)


def delete_surf(cast: Cast, _clock: time_machine.Traveller) -> None:
    suspension.delete(cast.surf, "Surf Rehab", actor=cast.alice)


def wait(cast: Cast, clock: time_machine.Traveller) -> None:
    """So long that all is over, but for what has no later sync yet."""
    clock.shift(500 * DAY)
    make_log(cast.surf, started_at=now())


def fail_lately(clinic: Organization, _actor: User) -> None:
    refuse(clinic, 2, make_log(clinic, started_at=now()))


@pytest.mark.parametrize(
    ("table", "let_go", "add"),
    [
        (ForgottenPatient, delete_surf, forget_somebody),
        (HeldRemoval, delete_surf, lambda clinic, _actor: hold(clinic, 2)),
        (SyncFailure, delete_surf, fail_lately),
        (SyncFailure, wait, fail_lately),
        (Invitation, wait, lambda _clinic, person: invitations.renew(person)),
    ],
)
def test_what_another_clinic_has_had_since_under_an_id_that_was_freed_stays(
    cast: Cast,
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
    table: type[ForgottenPatient | HeldRemoval | SyncFailure | Invitation],
    let_go: Callable[[Cast, time_machine.Traveller], None],
    add: Callable[[Organization, User], object],
) -> None:
    """Two workers have seen the same rows, and one is quicker."""
    add(cast.surf, cast.bob)
    freed = set(db.session.scalars(select(table.id)))
    let_go(cast, clock)
    added: list[set[int]] = []
    name = table.__tablename__

    def slowly() -> AbstractContextManager[Any]:
        if not added and asked[-1][0].startswith(f"SELECT {name}.id \nFROM {name} \n"):
            monkeypatch.undo()
            retention.clean_up()
            assert rows_of(table) == 0
            add(cast.northside, cast.charlie)
            added.append(set(db.session.scalars(select(table.id))))
        return transaction()

    with asked_meanwhile() as asked:
        for module in (retention, old_syncs):
            monkeypatch.setattr(module, "transaction", slowly)
        retention.clean_up()

    db.session.rollback()
    assert added == [set(db.session.scalars(select(table.id)))]
    if db.engine.dialect.name == "sqlite":
        assert added == [freed]


@pytest.mark.usefixtures("patients")
def test_a_worker_does_it_once_a_day(clock: time_machine.Traveller) -> None:
    for _ in range(3):
        retention.remove_a_little()
    assert rows_of(CleanUp) == 1

    clock.move_to(GONE_AT + 100 * DAY)
    for _ in range(3):
        retention.remove_a_little()
    db.session.rollback()
    first, second = db.session.scalars(select(CleanUp).order_by(CleanUp.day))
    assert (first.removed, second.removed) == ({}, {"deleted_patients": 1})
    assert second.completed_at == GONE_AT + 100 * DAY


def test_a_day_with_much_to_do_is_done_in_steps(
    cast: Cast, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(retention, "STEP_SECONDS", -1.0)  # so after each transaction it is over
    store(
        cast.surf,
        *(
            record(number, "Olivia", "Nguyen", state=PatientState.DELETED, deleted_at=GONE_AT)
            for number in range(1, 6)
        ),
    )
    clock.move_to(GONE_AT + 100 * DAY)
    named = select(func.count()).where(Patient.first_name != "")
    left = []
    for _ in range(5):
        retention.remove_a_little()
        db.session.rollback()
        left.append(db.session.scalar(named))
    assert left == [3, 1, 0, 0, 0]
    (day,) = db.session.scalars(select(CleanUp))
    assert (day.removed, day.completed_at is not None) == ({"deleted_patients": 5}, True)


@pytest.mark.usefixtures("patients")
def test_what_another_worker_is_at_is_left_to_it_for_a_minute(
    clock: time_machine.Traveller,
) -> None:
    moment = GONE_AT + 100 * DAY
    clock.move_to(moment)
    with transaction() as session:
        taken_until = moment + timedelta(seconds=30)
        session.add(CleanUp(day=moment.date(), taken_until=taken_until, removed={}))

    retention.remove_a_little()
    db.session.rollback()
    assert db.session.get_one(CleanUp, moment.date()).completed_at is None

    clock.move_to(moment + timedelta(seconds=31))  # that worker has died
    retention.remove_a_little()
    db.session.rollback()
    assert db.session.get_one(CleanUp, moment.date()).removed == {"deleted_patients": 1}


@pytest.mark.usefixtures("patients")
def test_the_audit_trail_tells_how_much_went(clock: time_machine.Traveller) -> None:
    clock.move_to(GONE_AT + 100 * DAY)
    retention.remove_a_little()
    db.session.rollback()
    (event,) = db.session.scalars(select(AuditEvent).where(AuditEvent.event.like("service:%")))
    assert (event.event, event.details) == ("service:cleaned_up", {"deleted_patients": 1})


def test_batches_end(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that never finds an end would keep a worker for ever: each of ours does."""
    for rule in (retention._LEFT_BY_CLINICS, *retention._rules()):
        assert next(n for n in count() if not rule.remove(GONE_AT)) == 0, rule.name


def test_an_sqlite_that_would_leave_the_deleted_in_its_file_is_told_to_overwrite_them() -> None:
    def careless() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:")
        connection.execute("PRAGMA secure_delete=OFF")
        return connection

    engine = create_engine("sqlite://", creator=careless)
    prepare_engine(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar() == 1
    engine.dispose()


def test_what_a_deleted_clinic_left_is_overwritten_though_the_database_was_lost_midway(
    cast: Cast, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):  # today's cleaning up, and what it left to be overwritten
        retention.remove_a_little()
    store(cast.surf, record(1, "Mia", "Chen"))
    suspension.delete(cast.surf, "Surf Rehab", actor=cast.alice)
    overwritten: list[int] = []

    def overwrite() -> bool:
        overwritten.append(rows_of(Patient))
        return True

    monkeypatch.setattr(retention, "overwrite_what_went", overwrite)
    with monkeypatch.context() as losing:
        losing.setattr(changes, "delete_of_deleted", lose)
        with pytest.raises(OperationalError):
            retention.remove_a_little()
    assert not overwritten

    retention.remove_a_little()
    assert overwritten == [0]


def lose(*_asked: object) -> NoReturn:
    raise OperationalError("UPDATE", None, Exception("the connection was lost"))


def stop_at(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """The database is lost in the middle of this rule."""
    rules = retention._rules()
    broken = [replace(each, remove=lose) if each.name == rule else each for each in rules]
    monkeypatch.setattr(retention, "_rules", lambda: broken)


def cleaned_up() -> list[dict[str, Any]]:
    db.session.rollback()
    ours = select(AuditEvent).where(AuditEvent.event == "service:cleaned_up")
    return [event.details for event in db.session.scalars(ours.order_by(AuditEvent.id))]


def told_of_late(day: datetime) -> list[dict[str, Any]]:
    """What the trail holds once a worker comes to an end that took this day long before."""
    clean_ups.note(day.date(), Counter(tokens=7))
    clean_ups.complete(day.date())
    return cleaned_up()


@pytest.fixture
def in_100_days(patients: None, clock: time_machine.Traveller) -> datetime:
    """When one patient is to go."""
    clock.move_to(GONE_AT + 100 * DAY)
    return now()


@pytest.mark.parametrize("later", [timedelta(minutes=1), DAY])
@pytest.mark.parametrize("for_long", [False, True])
@pytest.mark.usefixtures("in_100_days")
def test_what_went_before_a_clean_up_was_broken_off_is_told_once_one_is_completed(
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
    later: timedelta,
    for_long: bool,
) -> None:
    with monkeypatch.context() as meanwhile:
        stop_at(meanwhile, "sessions")
        if for_long:
            meanwhile.setattr(clean_ups, "note", lose)
        with pytest.raises(OperationalError):
            retention.remove_a_little()
    assert cleaned_up() == []

    clock.shift(later)
    retention.remove_a_little()
    assert cleaned_up() == [{"deleted_patients": 1}]


def test_what_a_slow_worker_removed_is_told_when_another_has_completed_its_day(
    in_100_days: datetime, clock: time_machine.Traveller
) -> None:
    assert clean_ups.take(in_100_days.date())
    clock.shift(timedelta(minutes=2))
    retention.remove_a_little()

    assert told_of_late(in_100_days) == [{"deleted_patients": 1}, {"tokens": 7}]


def test_a_day_that_another_worker_is_at_is_not_completed_with_the_next_one(
    in_100_days: datetime, clock: time_machine.Traveller
) -> None:
    clock.move_to(in_100_days.replace(hour=23, minute=59, second=50))
    assert clean_ups.take(in_100_days.date())
    clock.shift(timedelta(seconds=20))
    retention.remove_a_little()

    assert told_of_late(in_100_days) == [{"deleted_patients": 1}, {"tokens": 7}]


@pytest.mark.parametrize(
    ("rule", "told"),
    [("sessions", [("failed", {"deleted_patients": 1})]), ("deleted_patients", [])],
)
@pytest.mark.usefixtures("in_100_days")
def test_the_command_tells_what_went_before_it_was_broken_off(
    monkeypatch: pytest.MonkeyPatch, rule: str, told: list[tuple[str, dict[str, int]]]
) -> None:
    stop_at(monkeypatch, rule)
    with pytest.raises(OperationalError):
        retention.clean_up()
    db.session.rollback()
    ours = db.session.scalars(select(AuditEvent).where(AuditEvent.event == "service:cleaned_up"))
    assert [(event.result, event.details) for event in ours] == told
