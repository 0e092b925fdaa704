"""The migrations: one line of them, and they say what the models say."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import delete, inspect, select, text

from tests.api.rows import make_log
from tests.cast import Cast
from tests.support.databases import on_both
from webapp.extensions import db, in_this_database, transaction
from webapp.models import (
    ApiToken,
    Notice,
    NoticeKind,
    OperationType,
    Organization,
    Patient,
    SyncLog,
    SyncOrigin,
    SyncStatus,
    User,
    UserSession,
)
from webapp.services import sessions, tokens


def test_there_is_one_head() -> None:
    migrations = Path(__file__).resolve().parent.parent / "migrations"
    assert len(ScriptDirectory(str(migrations)).get_heads()) == 1


@on_both
def test_the_migrations_make_what_the_models_describe(app: Flask) -> None:
    with db.engine.connect() as connection:
        opts = {"compare_type": True, "include_object": in_this_database}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, db.metadata) == []


@on_both
def test_the_way_down_and_up_again(app: Flask) -> None:
    db.session.remove()
    downgrade(revision="base")
    assert set(inspect(db.engine).get_table_names()) <= {"alembic_version"}
    upgrade()
    assert "patients" in inspect(db.engine).get_table_names()


@on_both
def test_mails_that_wait_outlive_the_way_to_those_about_no_clinic_and_back(cast: Cast) -> None:
    with transaction() as session:
        for clinic_id in (cast.surf.id, None):
            kind = NoticeKind.ACCOUNT if clinic_id is None else NoticeKind.FAILING
            session.add(
                Notice(
                    organization_id=clinic_id,
                    kind=kind,
                    recipient="a@b.example",
                    subject="",
                    text="",
                )
            )
    db.session.remove()
    downgrade(revision="0016")
    upgrade()
    assert [notice.kind for notice in db.session.scalars(select(Notice))] == [NoticeKind.FAILING]
    if db.engine.dialect.name == "sqlite":  # which has copied the table
        made = db.session.scalars(text("SELECT sql FROM sqlite_master WHERE tbl_name='notices'"))
        words = " ".join(filter(None, made))
        assert "AUTOINCREMENT" in words
        assert "WHERE state = 'waiting'" in words
        assert "fk_notices_organization_id" in words


def kept(clinic_id: int, key: int, number: str, **fields: str) -> Patient:
    return Patient(
        organization_id=clinic_id,
        cliniko_patient_id=str(key),
        state="active",
        phones=[{"type": "Mobile", "number": number}],
        last_synced=datetime(2026, 11, 1, tzinfo=UTC),
        last_changed=datetime(2026, 11, 1, tzinfo=UTC),
        last_sync_id=1,
        **fields,
    )


@on_both
def test_phone_numbers_that_were_kept_wrongly_are_found_afterwards(cast: Cast) -> None:
    numbers = ["+61 (0)412 345 678", "0011 61 412 345 678", "(+61) 412 345 678", "0412 345 678"]
    with transaction() as session:
        for key, number in enumerate(numbers):
            session.add(kept(cast.surf.id, key, number, search_digits="as it was"))
    db.session.remove()
    downgrade(revision="0023")
    upgrade(revision="0024")
    found = db.session.scalars(select(Patient.search_digits).order_by(Patient.id))
    assert list(found) == ["61412345678 0412345678"] * 3 + ["as it was"]
    db.session.remove()
    upgrade()


@on_both
def test_whoever_was_hidden_by_what_nobody_sees_is_found_afterwards(cast: Cast) -> None:
    crowd = 1001  # more than are read at once
    names = {"first_name": "Zo\u00eb\u200b", "last_name": "O\u02bcBrien", "email": "Z@example.com"}
    as_made = {"search_text": "as it was", "search_digits": "as it was", "sort_key": "as it was"}
    with transaction() as session:
        cast.northside.shard = "us1"
        session.merge(cast.northside)
        for key in range(crowd):
            session.add(kept(cast.surf.id, key, "\u202a61 412 345 678\u202c", **names, **as_made))
        session.add(kept(cast.northside.id, 1, "(415) 555-0123", last_name="D`Arcy", **as_made))
        session.add(kept(cast.northside.id, 2, "none", **as_made))
    db.session.remove()
    downgrade(revision="0028")
    upgrade()
    made = select(Patient.search_text, Patient.search_digits, Patient.sort_key)
    *many, darcy, nameless = db.session.execute(made.order_by(Patient.id)).all()
    zoe = ("zoe o'brien z@example.com", "61412345678 0412345678", "o'brien\tzoe")
    assert many == [zoe] * crowd
    assert darcy == ("d'arcy", "4155550123 14155550123", "d`arcy\t")
    assert nameless == ("", "", "\uffff")


@on_both
def test_no_id_that_the_trail_has_named_is_given_again(cast: Cast) -> None:
    bob_id = cast.bob.id

    def begin() -> None:
        bob = db.session.get_one(User, bob_id)
        tokens.issue(bob, name=secrets.token_hex())
        sessions.begin(bob, address="192.0.2.7", agent="A browser")

    for _ in range(3):
        begin()
    with transaction() as session:
        for table in (ApiToken, UserSession):
            session.execute(delete(table).where(table.id > 1))
        if db.engine.dialect.name == "sqlite":  # which knew of no others until now
            session.execute(text("DELETE FROM sqlite_sequence"))
    db.session.remove()
    downgrade(revision="0030")
    upgrade()
    begin()
    for table in (ApiToken, UserSession):
        assert list(db.session.scalars(select(table.id).order_by(table.id))) == [1, 4]
    if db.engine.dialect.name == "sqlite":  # which has copied the tables
        made = text("SELECT tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
        words: dict[str, str] = {}
        for name, each in db.session.execute(made):
            words[name] = words.get(name, "") + each
        for name, unique in (("api_tokens", "jti"), ("user_sessions", "secret_digest")):
            assert "AUTOINCREMENT" in words[name]
            for constraint in (f"uq_{name}_{unique}", f"fk_{name}_user_id", f"ix_{name}_user_id"):
                assert constraint in words[name]


@on_both
def test_what_ended_syncs_knew_of_their_place_goes_and_what_running_ones_know_stays(
    cast: Cast,
) -> None:
    place = {"ranges": [["active", 1_000_000_000_000_000_001, None, False]]}
    with transaction() as session:
        for status in (SyncStatus.FAILED, SyncStatus.COMPLETED, SyncStatus.RUNNING):
            session.add(
                SyncLog(
                    organization_id=cast.surf.id,
                    operation_type=OperationType.FULL_PATIENTS,
                    status=status,
                    origin=SyncOrigin.COMMAND,
                    started_at=datetime(2026, 11, 1, tzinfo=UTC),
                    checkpoint=None if status is SyncStatus.COMPLETED else place,
                )
            )
    db.session.remove()
    downgrade(revision="0031")
    upgrade()
    left = db.session.scalars(select(SyncLog.checkpoint).order_by(SyncLog.id))
    assert list(left) == [None, None, place]


@on_both
def test_digests_of_certificates_tell_nothing_of_each_other_afterwards(cast: Cast) -> None:
    def side(digest: str) -> dict[str, object]:
        return {"active": 1, "archived": 0, "merged": 0, "deleted": 0, "digest": digest}

    one, other = f"{1:032x}", f"{2:032x}"
    for theirs, ours in ((one, one), (one, other)):
        made = {"in_step": theirs == ours, "cliniko": side(theirs), "stored": side(ours)}
        make_log(cast.surf, SyncStatus.COMPLETED, progress={"certificate": made})
    make_log(cast.surf, SyncStatus.COMPLETED, progress={"certificate": None})
    db.session.remove()
    downgrade(revision="0032")
    upgrade()
    logs = db.session.scalars(select(SyncLog).order_by(SyncLog.id)).all()
    same, apart, without = [log.progress["certificate"] for log in logs]

    assert same is not None
    assert apart is not None
    assert without is None
    digests = [each[name]["digest"] for each in (same, apart) for name in ("cliniko", "stored")]
    assert digests[0] == digests[1]
    assert len({*digests, one, other}) == 5
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in digests)
    assert same["stored"] | {"digest": one} == side(one)
    assert (same["in_step"], apart["in_step"]) == (True, False)


@on_both
def test_deleted_clinics_keep_no_key_of_their_forgotten_patients(cast: Cast) -> None:
    with transaction():
        cast.surf.forgetting_key = cast.northside.forgetting_key = "sealed"
        cast.surf.deleted_at = datetime(2026, 11, 1, tzinfo=UTC)
    db.session.remove()
    downgrade(revision="0033")
    upgrade()
    left = db.session.scalars(select(Organization.forgetting_key).order_by(Organization.id))
    assert list(left) == [None, "sealed"]


@on_both
def test_whoever_was_hidden_by_another_form_of_letters_and_numbers_is_found_afterwards(
    cast: Cast,
) -> None:
    crowd = 1001  # more than are read at once
    names = {
        "first_name": "\U0001d409\U0001d428\U0001d421\U0001d427",
        "last_name": "葛\U000e0100城",
        "email": "J@example.com",
    }
    as_made = {"search_text": "as it was", "search_digits": "as it was", "sort_key": "as it was"}
    with transaction() as session:
        cast.northside.shard = "uk1"
        session.merge(cast.northside)
        for key in range(crowd):
            session.add(kept(cast.surf.id, key, "٠٤١٢ ٣٤٥ ٦٧٨", **names, **as_made))
        for key, number in enumerate(("+61 0412 345 678", "61 0412345678", "+44 07911 123456")):
            session.add(kept(cast.surf.id, crowd + key, number, search_digits="as it was"))
        session.add(kept(cast.northside.id, 1, "+44 07911 123456", last_name="Ng", **as_made))
        session.add(kept(cast.northside.id, 2, "none", **as_made))
    db.session.remove()
    downgrade(revision="0034")
    upgrade()
    made = select(Patient.search_text, Patient.search_digits, Patient.sort_key)
    rows = db.session.execute(made.order_by(Patient.id)).all()
    john = ("john 葛城 j@example.com", "0412345678 61412345678", "葛城\tjohn")
    assert rows[:crowd] == [john] * crowd
    assert [row.search_digits for row in rows[crowd:-2]] == [
        *["61412345678 0412345678 610412345678"] * 2,
        "447911123456 4407911123456",
    ]
    ng = ("ng", "447911123456 07911123456 4407911123456", "ng\t")
    assert rows[-2:] == [ng, ("", "", "\uffff")]
