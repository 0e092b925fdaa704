"""The connection to PostgreSQL is lost before a statement of a sync, each of them in turn: every
such sync completes, and the copy is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import count
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import Connection, event

from simulator.account import ClinikoAccount
from simulator.patient import State
from simulator.server import Simulator
from tests.sync.copies import Copy, copy_of, truth_of
from tests.sync.logs import certificate_of
from webapp.cliniko.records import PatientState
from webapp.extensions import db
from webapp.models import OperationType, Organization, SyncLog, SyncOrigin
from webapp.services import organizations
from webapp.sync import database_trouble, engine
from webapp.sync.start import start_sync

pytestmark = [
    pytest.mark.parametrize("database", ["postgresql"], indirect=True),
    # SQLAlchemy closes no cursor of a connection that is gone, and psycopg complains.
    pytest.mark.filterwarnings("ignore:.*ServerCursor:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def account(cliniko: Simulator) -> ClinikoAccount:
    cliniko.rate_limit = 0
    account = ClinikoAccount.generate(account_id="777", seed=7, active=12, archived=2, deleted=2)
    account.add_key("invented-777-au1")
    cliniko.accounts = (account,)
    return account


@pytest.fixture
def clinic(app: Flask, account: ClinikoAccount) -> Organization:
    app.config["CLINIKO_RATE_LIMIT"] = 10_000
    return organizations.add("Surf Rehab", "invented-777-au1")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_trouble, "_SHORTEST_PAUSE_SECONDS", 0.001)


def test_a_sync_completes_wherever_it_loses_its_connection(
    clinic: Organization,
    account: ClinikoAccount,
    database_url: str,
) -> None:
    lost_before = partial(_lost_before, database_url)
    assert _until_nothing_is_lost(clinic, account, lost_before) > 40


@pytest.mark.parametrize(
    "operation_type", [OperationType.CHANGED_PATIENTS, OperationType.RETRY_FAILED]
)
def test_so_does_one_of_some_patients(
    operation_type: OperationType,
    clinic: Organization,
    account: ClinikoAccount,
    database_url: str,
) -> None:
    somebody = account.ids(State.ACTIVE)[0]
    account.edit(somebody, date_of_birth="1753-01-01")
    _run(clinic, OperationType.FULL_PATIENTS, nullcontext([]))
    for number in count(1):
        account.edit(account.ids(State.ACTIVE)[1], first_name=f"Zoë {number}")
        log, lost = _run(clinic, operation_type, _lost_before(database_url, number))
        assert (log.status, log.error_code) == ("completed", None), lost
        assert log.records_failed == 1
        if not lost:
            break
    assert number > 20


def test_a_sync_completes_whichever_commit_it_gets_no_answer_to(
    clinic: Organization, account: ClinikoAccount
) -> None:
    assert _until_nothing_is_lost(clinic, account, _committed_unheard) > 8


def _until_nothing_is_lost(
    clinic: Organization,
    account: ClinikoAccount,
    lose: Callable[[int], AbstractContextManager[list[str]]],
) -> int:
    """Syncs that lose the first, the second, … until there is none any more; their number."""
    for number in count(1):
        _change_everything(account)
        log, lost = _run(clinic, OperationType.FULL_PATIENTS, lose(number))
        assert (log.status, log.error_code) == ("completed", None), lost
        assert certificate_of(log)["in_step"]
        assert _living(copy_of(clinic)) == _living(truth_of(account))
        if not lost:
            return number
    raise AssertionError("there is an end to what a sync does")


def _run(
    clinic: Organization,
    operation_type: OperationType,
    losing: AbstractContextManager[list[str]],
) -> tuple[SyncLog, list[str]]:
    """A sync that loses something on its way, and what."""
    log = start_sync(clinic, operation_type, actor=None, origin=SyncOrigin.COMMAND)
    with losing as lost:
        engine.run(log.id, log.attempt, worker="test")
    db.session.expire_all()
    return db.session.get_one(SyncLog, log.id), lost


def _change_everything(account: ClinikoAccount) -> None:
    """Somebody new, somebody edited, archived, deleted, and gone without a tombstone."""
    for _ in range(3):
        account.create(first_name="Invented", last_name="Person")
    active = account.ids(State.ACTIVE)
    account.edit(active[0], first_name="Zoë")
    account.archive(active[1])
    account.delete(active[2])
    account.forget(active[3])


def _living(copies: dict[str, Copy]) -> dict[str, Copy]:
    return {key: copy for key, copy in copies.items() if copy.state != PatientState.DELETED}


@contextmanager
def _lost_before(database_url: str, number: int) -> Iterator[list[str]]:
    """The server ends the connection before this statement or commit; yields which it was."""
    made, lost = count(1), []

    def step(connection: Connection, what: str) -> None:
        if next(made) != number:
            return
        lost.append(what)
        ours: Any = connection.connection.dbapi_connection
        with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (ours.info.backend_pid,))

    def before_statement(
        connection: Connection, _cursor: object, statement: str, *_rest: object
    ) -> None:
        step(connection, statement)

    def before_commit(connection: Connection) -> None:
        step(connection, "COMMIT")

    event.listen(db.engine, "before_cursor_execute", before_statement)
    event.listen(db.engine, "commit", before_commit)
    try:
        yield lost
    finally:
        event.remove(db.engine, "before_cursor_execute", before_statement)
        event.remove(db.engine, "commit", before_commit)


@contextmanager
def _committed_unheard(number: int) -> Iterator[list[str]]:
    """The server does this commit of ours, and we never hear of it; yields that it was so."""
    made, lost = count(1), []
    dialect: Any = db.engine.dialect
    commit = dialect.do_commit

    def do_commit(connection: Any) -> None:
        commit(connection)
        if next(made) == number:
            lost.append("COMMIT")
            connection.dbapi_connection.close()
            raise psycopg.OperationalError("the connection was lost")

    dialect.do_commit = do_commit
    try:
        yield lost
    finally:
        dialect.do_commit = commit
