"""The commands."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import Result
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from config import ROOT
from simulator.account import ClinikoAccount
from simulator.server import Simulator
from tests.cast import PASSWORD, SURF_KEY, Cast
from tests.codes import set_up
from tests.conftest import CREDENTIALS_KEY
from tests.support.databases import on_both
from tests.support.postgres_server import PostgresServer
from webapp.cli import _last_words
from webapp.clock import now
from webapp.extensions import db, transaction
from webapp.models import AuditEvent, Role, SyncLog, SyncMetadata
from webapp.models.audit_event import SERVICE_CHAIN
from webapp.services import audit, credentials, invitations, organizations, people, tokens
from webapp.services.audit_events import Event
from webapp.sync import engine
from webapp.sync.start import start_sync


def run(app: Flask, *words: str, typed: str | bytes = "") -> Result:
    """A command as it is typed; `typed` is what comes from standard input."""
    result = app.test_cli_runner().invoke(args=words, input=typed)
    db.session.rollback()
    return result


def test_a_person_is_added_with_a_password_from_standard_input(app: Flask, cast: Cast) -> None:
    words = ("create-user", "Mia@Example.com", "--role", "manager")
    result = run(app, *words, "--organization", str(cast.surf.id), typed=f"{PASSWORD}\n")

    assert result.exit_code == 0, result.output
    mia = people.authenticate("mia@example.com", PASSWORD)
    assert mia is not None
    assert (mia.role, mia.organization_id) == (Role.MANAGER, cast.surf.id)


@pytest.mark.parametrize(
    ("words", "typed", "sentence"),
    [
        (("create-user", "x@example.com", "--role", "admin"), "short\n", "at least 15"),
        (("create-user", "x@example.com", "--role", "viewer"), f"{PASSWORD}\n", "belongs to one"),
        (("create-user", "nonsense", "--role", "admin"), f"{PASSWORD}\n", "not an e-mail"),
        (
            ("create-user", "x@example.com", "--role", "viewer", "--organization", "99"),
            f"{PASSWORD}\n",
            "no organization",
        ),
        (("issue-token", "nobody@example.com"), "", "Nobody"),
        (("set-password", "nobody@example.com"), "", "Nobody"),
        (("new-link", "bob@example.com"), "", "Set PUBLIC_URL"),
        (("invite-user", "new@example.com", "--role", "admin"), "", "Set PUBLIC_URL"),
        (("grant-admin", "nobody@example.com", "--reason", "fire"), "", "Nobody"),
        (("grant-admin", "vera@example.com", "--reason", " "), "", "Say why"),
        (("reset-second-factor", "nobody@example.com", "--reason", "lost"), "", "Nobody"),
        (("reset-second-factor", "bob@example.com", "--reason", ""), "", "Say why"),
        (
            ("reset-second-factor", "bob@example.com", "--reason", "lost"),
            "",
            "has no second factor",
        ),
        (("create-organization", "Clinic"), "key-of-no-form\n", "region"),
        (("create-organization", "Clinic"), "", "Enter the API key"),
        (("create-organization", "Clinic"), " \n", "Enter the API key"),
        (("create-organization", "Clinic"), b"\xff\n", "no text in UTF-8"),
        (("create-organization", "\udcff"), f"{SURF_KEY}\n", "no text in UTF-8"),
        (("create-user", "\udcff@example.com", "--role", "admin"), f"{PASSWORD}\n", "no text"),
        (("issue-token", "\udcff@example.com"), "", "no text in UTF-8"),
        (("issue-token", "bob@example.com", "--name", "\udcff"), "", "no text in UTF-8"),
        (("grant-admin", "vera@example.com", "--reason", "\udcff"), "", "no text in UTF-8"),
        (("sync", "99"), "", "no organization"),
        (("sync", "0"), "", "not in the range"),
        (("sync", "9" * 20), "", "not in the range"),
        (("sync", "9" * 5_000), "", "not a valid integer"),
        (
            ("create-user", "x@example.com", "--role", "viewer", "--organization", "9" * 20),
            f"{PASSWORD}\n",
            "not in the range",
        ),
        *(
            (("audit", "verify", "--anchor", anchor), "", "is not CHAIN:LENGTH:HASH")
            for anchor in (
                "nonsense",
                "0:1:aa",
                f"0:1:{'a' * 64}:bb",
                f"0:1:{'a' * 64}\n",
                f"\u0660:1:{'a' * 64}",
                f"{'9' * 20}:1:{'a' * 64}",
                f"0:{'9' * 5_000}:{'a' * 64}",
                "\udcff",
            )
        ),
    ],
)
def test_bad_input_ends_with_a_sentence(
    words: tuple[str, ...], typed: str | bytes, sentence: str, app: Flask, cast: Cast
) -> None:
    result = run(app, *words, typed=typed)

    assert result.exit_code == 2, result.output
    assert sentence in result.output
    assert "Traceback" not in result.output


LOOKING = [("audit", "verify"), ("sync", "1", "--verify")]  # exit code 1: they found something


@on_both
@pytest.mark.parametrize("words", LOOKING)
def test_a_database_that_is_not_migrated_ends_a_command_with_a_sentence(
    words: tuple[str, ...], app: Flask, cast: Cast
) -> None:
    with db.engine.begin() as theirs:
        for table in ("audit_chains", "patients"):
            theirs.execute(text(f"ALTER TABLE {table} RENAME TO {table}_of_another_release"))

    result = run(app, *words)

    assert result.exit_code == 2, result.output
    assert "The database is not up to date" in result.output
    assert "db upgrade" in result.output


@pytest.mark.parametrize("words", [("audit", "verify"), ("clean-up",), ("db", "upgrade")])
@pytest.mark.parametrize("left", [0, 4096])
def test_a_damaged_database_ends_a_command_with_a_sentence(
    words: tuple[str, ...], left: int, app: Flask, tmp_path: Path
) -> None:
    """Of its file nothing is left, or so many bytes: SQLite says it in different words."""
    db.session.remove()
    db.engine.dispose()
    file = tmp_path / "patient_sync.db"
    rest = file.stat().st_size - left
    with file.open("r+b") as opened:
        opened.seek(left)
        opened.write(b"\xff" * rest)

    result = run(app, *words)

    assert result.exit_code == 2, result.output
    assert "The database is damaged" in result.output
    assert "restore a backup" in result.output


def test_a_command_that_gets_no_connection_ends_with_a_sentence(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(organizations, "get", Mock(side_effect=NoConnectionFree()))

    result = run(app, "sync", "1", "--verify")

    assert (result.exit_code, "no connection became free" in result.output) == (2, True)


NO_DATABASE = "The database cannot be used: "


@pytest.mark.parametrize(
    ("setting", "value", "sentence", "words"),
    [
        ("SECRET_KEY_FILE", "/no/such", "Set either SECRET_KEY or SECRET_KEY_FILE", "audit verify"),
        ("DATABASE_URL", "mysql://x/y", "DATABASE_URL must begin with", "db upgrade"),
        ("DATABASE_URL", "sqlite:////no/such/folder/x.db", NO_DATABASE, "db upgrade"),
        ("DATABASE_URL", "postgresql://127.0.0.1:1/x", NO_DATABASE, "audit verify"),
        ("DATABASE_URL", "postgresql://127.0.0.1:1/x", NO_DATABASE, "db upgrade"),
    ],
)
def test_settings_and_a_database_that_cannot_be_used_end_a_command_with_a_sentence(
    setting: str, value: str, sentence: str, words: str, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "webapp", *words.split()],
        cwd=ROOT,
        env=os.environ | environment | {setting: value},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2, done.stderr
    assert f"Error: {sentence}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["db upgrade", "audit verify"])
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_name_ends_a_command_with_a_sentence(
    encoding: str, words: str, postgres: PostgresServer, environment: dict[str, str]
) -> None:
    with postgres.encoded(encoding) as url:
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "webapp", *words.split()],
            cwd=ROOT,
            env=os.environ | environment | {"DATABASE_URL": url},
            capture_output=True,
            text=True,
        )

    assert done.returncode == 2, done.stderr
    assert f"Error: {NO_DATABASE}its encoding is {encoding} and must be UTF8." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_a_command_makes_is_for_its_user_alone(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """In a folder open to everybody. What SQLite puts beside a database is as open as this is."""
    database = tmp_path / "clinics.db"
    tmp_path.chmod(0o755)
    subprocess.run(
        [sys.executable, "-m", "flask", "--app", "webapp", "db", "upgrade"],
        cwd=ROOT,
        env=os.environ | environment | {"DATABASE_URL": f"sqlite:///{database}"},
        umask=0o022,
        check=True,
    )

    assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_a_password_is_replaced(app: Flask, cast: Cast) -> None:
    run(app, "set-password", "bob@example.com", typed="another long password\n")

    assert people.authenticate("bob@example.com", "another long password") == cast.bob
    assert people.authenticate("bob@example.com", PASSWORD) is None


def test_the_first_admin_is_invited_by_a_link(app: Flask) -> None:
    app.config["PUBLIC_URL"] = "https://patients.example"
    printed = run(app, "invite-user", "Ada@Example.com", "--role", "admin").output.strip()
    link = urlsplit(printed)
    assert (link.scheme, link.netloc, link.path) == ("https", "patients.example", "/invitation")
    ada = invitations.user_of(parse_qs(link.query)["secret"][0])
    assert ada is not None
    assert (ada.email, ada.role, ada.state) == ("ada@example.com", "admin", "invited")
    assert app.test_client().get(printed).status_code == 200


def test_a_link_for_another_password_is_printed(app: Flask, cast: Cast) -> None:
    app.config["PUBLIC_URL"] = "https://patients.example"
    printed = run(app, "new-link", "bob@example.com").output.strip()
    assert invitations.user_of(printed.partition("secret=")[2]) is cast.bob


def test_in_an_emergency_somebody_is_made_an_admin_and_the_trail_says_why(
    app: Flask, cast: Cast
) -> None:
    people.deactivate(cast.vera)
    clinic_id = cast.vera.organization_id
    reason = "Alice cannot be reached"
    set_up(cast.vera)
    result = run(app, "grant-admin", "VERA@example.com", "--reason", reason)
    assert result.exit_code == 0, result.output
    assert (cast.vera.role, cast.vera.organization_id, cast.vera.active) == ("admin", None, True)
    # Whoever has invited her may have used her link.
    assert (cast.vera.invited, cast.vera.second_factor_since) == (True, None)
    assert people.authenticate(cast.vera.email, PASSWORD) is None
    assert "new-link" in result.output
    granted = select(AuditEvent).where(AuditEvent.event == "person:admin_granted")
    events = db.session.scalars(granted.order_by(AuditEvent.chain)).all()
    assert [event.chain for event in events] == [SERVICE_CHAIN, clinic_id]
    assert {(event.via, event.subject) for event in events} == {
        ("command", f"person {cast.vera.id}")
    }
    # The clinic that they left is told no more than that.
    assert [event.details for event in events] == [
        {"person": cast.vera.email, "reason": reason},
        {"person": cast.vera.email},
    ]


@pytest.mark.parametrize("command", ["grant-admin", "reset-second-factor"])
def test_no_emergency_without_a_reason(app: Flask, cast: Cast, command: str) -> None:
    set_up(cast.vera)
    result = run(app, command, "vera@example.com")
    assert result.exit_code == 2
    assert "--reason" in result.output
    assert cast.vera.role == Role.VIEWER
    assert cast.vera.second_factor_since is not None


def test_somebody_who_lost_the_phone_signs_in_without(app: Flask, cast: Cast) -> None:
    set_up(cast.bob)
    epoch = cast.bob.session_epoch
    run(app, "reset-second-factor", "bob@example.com", "--reason", "the phone was stolen")
    assert cast.bob.second_factor_since is None
    assert cast.bob.session_epoch > epoch


@pytest.mark.parametrize("command", ["grant-admin", "reset-second-factor"])
def test_whose_account_was_closed_needs_a_new_link_after_an_emergency_too(
    app: Flask, cast: Cast, command: str
) -> None:
    set_up(cast.alice)
    people.create("ada@example.com", PASSWORD, role=Role.ADMIN, organization_id=None)
    with transaction():
        cast.alice.failures_in_a_row = 100
    if command == "grant-admin":
        people.deactivate(cast.alice)
    result = run(app, command, "alice@example.com", "--reason", "the phone was stolen")
    assert result.exit_code == 0, result.output
    assert "need" in result.output
    assert "a new link: the account is closed" in result.output
    assert "new-link" in result.output
    assert "password alone" not in result.output


def test_a_clinic_is_added_with_its_key_from_standard_input(app: Flask, cast: Cast) -> None:
    result = run(app, "create-organization", "Harbour Podiatry", typed=f"{SURF_KEY}\n")

    assert result.exit_code == 0, result.output
    harbour = organizations.visible_to(cast.alice)[0]
    assert harbour.name == "Harbour Podiatry"
    assert str(harbour.id) in result.output
    assert SURF_KEY not in result.output
    assert credentials.decrypt(harbour.id, harbour.encrypted_api_key or "") == SURF_KEY


def test_a_token_is_printed_that_acts_for_the_person(app: Flask, cast: Cast) -> None:
    token = run(app, "issue-token", "BOB@example.com").output.strip()

    assert tokens.row_of(token).user == cast.bob


def test_a_sync_shows_its_progress_to_the_end(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.cli.start_sync", _started_with_a_worker(app))

    result = run(app, "sync", str(cast.surf.id), "--wait")

    assert result.exit_code == 0, result.output
    assert "648 patients in step" in result.output


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        ({}, "600 patients in step."),
        (
            {"removals_held": 40},
            "600 patients read, 40 seem to be gone: an admin decides.",
        ),
        ({"removals_unasked": 30}, "600 patients read, 30 could not be asked about yet."),
        ({"removals_kept": 2}, "600 patients read, 2 are gone from Cliniko and kept."),
        ({"not_shown": 3}, "600 patients read, 3 more counted by Cliniko than shown."),
        (
            {"certificate": {"in_step": False}},
            "600 patients read, what is stored is not what Cliniko has told: see",
        ),
    ],
)
def test_the_last_words_say_in_step_only_of_what_is(progress: SyncMetadata, said: str) -> None:
    log = SyncLog(status="completed", records_success=600, records_failed=0)
    log.started_at = log.completed_at = now()
    log.progress = {"certificate": {"in_step": not progress}, **progress}
    assert said in _last_words(log)


def test_a_sync_that_fails_ends_with_its_reason_and_code_1(
    app: Flask, cast: Cast, cliniko: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.cli.start_sync", _started_with_a_worker(app))
    cliniko.faults.add("status", status=401, times=None)

    result = run(app, "sync", str(cast.surf.id), "--wait")

    assert result.exit_code == 1
    assert "CLINIKO_AUTH_FAILED" in result.output


def test_a_sync_that_is_deleted_while_it_is_watched_is_said_to_be_gone(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = SyncLog(id=77, operation_type="full_patients")
    monkeypatch.setattr("webapp.cli.start_sync", lambda *_, **__: deleted)

    result = run(app, "sync", str(cast.surf.id), "--wait")

    assert (result.exit_code, "Sync 77 is gone." in result.output) == (2, True)


def test_a_copy_is_compared_without_starting_anything(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(app, "sync", str(cast.surf.id), "--verify")
    assert before.exit_code == 1
    assert "Our copy: no patients;" in before.output
    assert "missing: 648 " in before.output

    monkeypatch.setattr("webapp.cli.start_sync", _started_with_a_worker(app))
    run(app, "sync", str(cast.surf.id), "--wait")

    after = run(app, "sync", str(cast.surf.id), "--verify")
    assert after.exit_code == 0, after.output
    assert "Cliniko: 602 active, 36 archived, 5 deleted, 5 merged; digest " in after.output
    assert "missing: 0\nextra: 0\ndifferent: 0\nnot shown, though counted: 0\n" in after.output


def test_a_sync_may_be_of_what_changed_or_of_the_active_ones(
    app: Flask, cast: Cast, surf_account: ClinikoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.cli.start_sync", _started_with_a_worker(app))
    surf = str(cast.surf.id)

    first = run(app, "sync", surf, "--changes", "--wait")
    surf_account.create()
    changes = run(app, "sync", surf, "--changes", "--wait")
    active = run(app, "sync", surf, "--active-only", "--wait")

    assert "started: full_patients." in first.output
    assert "started: changed_patients." in changes.output
    assert "1 patients read." in changes.output
    assert "started: active_patients." in active.output
    assert "603 patients read." in active.output
    both = run(app, "sync", surf, "--changes", "--active-only")
    assert both.exit_code == 2
    assert "Choose one" in both.output


def _started_with_a_worker(app: Flask) -> Callable[..., SyncLog]:
    """Starts a sync as the command does, with a thread in the place of a worker."""

    def started(*args: Any, **kwargs: Any) -> SyncLog:
        log = start_sync(*args, **kwargs)
        log_id = log.id

        def work() -> None:
            with app.app_context():
                engine.run(log_id, 1, worker="thread")

        Thread(target=work).start()
        return log

    return started


def test_the_audit_trail_is_verified_and_tells_where_it_ends(app: Flask, cast: Cast) -> None:
    for _ in range(3):
        audit.note(Event.SIGNED_IN)
    db.session.rollback()
    (chain, length, last), *others = audit.ends()
    end = f"{chain}:{length}:{last}"

    verified = run(app, "audit", "verify")
    ends = [end, *(":".join(map(str, each)) for each in others)]
    assert (verified.exit_code, verified.output.splitlines()) == (0, ends)
    assert run(app, "audit", "verify", "--anchor", end).exit_code == 0
    other = run(app, "audit", "verify", "--anchor", f"{chain}:{length}:{'0' * 64}")
    assert other.exit_code == 1
    assert f"Event 3 of chain {chain} is not the event that was noted." in other.output


def test_all_ends_that_stand_in_a_log_are_held_against_the_audit_trail(
    app: Flask, cast: Cast, tmp_path: Path
) -> None:
    audit.note(Event.SIGNED_IN)
    db.session.rollback()
    chain, length, last = audit.ends()[0]
    log = tmp_path / "deliverer.log"
    line = '{{"anchor": "{}:{}:{}", "event": "audit_anchor", "level": "info"}}\n'
    verify = ("audit", "verify", "--anchors", str(log))

    log.write_bytes(b"\xff no anchor here\n")
    refused = run(app, *verify)
    assert (refused.exit_code, "no file holds an anchor" in refused.output) == (2, True)

    log.write_text("Started\n" + line.format(chain, length, last))
    assert run(app, *verify).exit_code == 0

    with log.open("a") as more:
        more.write(line.format(chain, length, "0" * 64) + line.format(chain, length, last))
    found = run(app, *verify)
    assert found.exit_code == 1
    assert f"Event {length} of chain {chain} is not the event that was noted." in found.output


def test_keys_are_rotated_and_the_command_says_how_many(app: Flask, cast: Cast) -> None:
    newer = Fernet.generate_key().decode()
    app.config["CREDENTIALS_KEYS"] = [newer, CREDENTIALS_KEY]

    first, second = run(app, "rotate-keys"), run(app, "rotate-keys")
    assert first.output == "2 encrypted anew with the newest key, 0 unreadable.\n"
    assert second.output == "0 encrypted anew with the newest key, 0 unreadable.\n"

    app.config["CREDENTIALS_KEYS"] = [CREDENTIALS_KEY]
    assert run(app, "rotate-keys").exit_code == 1
