"""The database: created here without an application and bound in `create_core`; transactions, and
how connections to SQLite and PostgreSQL are set up and given up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session
from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import DeclarativeBase, scoped_session

from webapp import postgresql

if TYPE_CHECKING:  # a megabyte that who works on PostgreSQL does not need
    from sqlite3 import Connection as SqliteConnection

LOCK_TIMEOUT_MS = 5_000
OVERWRITE_WITHIN_MS = 1_000  # others wait for it meanwhile
STATEMENT_TIMEOUT_MS = 15_000
CONNECT_TIMEOUT_SECONDS = 5
# A server that went without a word, as a machine does that lost its power, is asked after five
# seconds and given up within twenty; the kernel would wait for a quarter of an hour.
GIVE_UP_SILENCE = {
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # ms
}
POOL_TIMEOUT_SECONDS = 3  # for a connection while all are in use

NOT_MIGRATED = ("no such table", "no such column", "has no column")  # in the words of SQLite
_SQLITE_DAMAGED = (11, 26)  # its CORRUPT and NOTADB, the latter of a file that is no database
_POSTGRESQL_FAULT = "XX"  # a fault within, of data or an index that is damaged above all

# A process that stopped in the middle of a write must not hold for ever what others need.
_GIVE_UP_WHEN_IDLE = "SET LOCAL idle_in_transaction_session_timeout = '10s'"

# Two megabytes of cache and sixteen of log: with less of either a large sync writes the same pages
# of the indexes to the disk again and again, with more of them it is hardly quicker. What does not
# fit goes to files among the temporary ones unless told otherwise, with patients in them. Who was
# deleted is overwritten, which is not the default of every SQLite.
SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "cache_size=-2000",
    "wal_autocheckpoint=4000",
    "temp_store=MEMORY",
    "secure_delete=ON",
)

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of every table; named constraints, so that migrations can speak of them."""


Base.metadata.naming_convention = NAMING_CONVENTION

_FOR_READING = "for_reading"  # an attribute of PostgreSQL's engine: itself, without transactions


Bind = TypeVar("Bind", bound=Engine | Connection)


def _for_reading(bind: Bind) -> Bind:
    reading: Bind = vars(bind).get(_FOR_READING, bind)
    return reading


class ReadingSession(Session):
    """Asks PostgreSQL without a transaction whatever is asked outside of `transaction`: that only
    reads, and under READ COMMITTED each statement sees its own moment in any case. It saves two
    trips. And it keeps statements prepared: the driver forgets them at each rollback, with which a
    transaction that only read would end.
    """

    def get_bind(self, *about: Any, **more: Any) -> Engine | Connection:
        return _for_reading(super().get_bind(*about, **more))


db = SQLAlchemy(model_class=Base, session_options={"class_": ReadingSession})


@contextmanager
def transaction() -> Iterator[scoped_session[Any]]:
    """One transaction for one public verb: commits at the end, rolls back on any error.

    Whatever was read before is forgotten first, so that a decision is taken on what the
    database holds inside this transaction. SQLite takes its write lock at once: a transaction
    that reads first and writes later is refused with "database is locked" when another
    writer came between, whatever its time-out.
    """
    db.session.rollback()
    if on_postgresql():
        connection = db.session.connection(execution_options={"isolation_level": "READ COMMITTED"})
        connection.exec_driver_sql(_GIVE_UP_WHEN_IDLE)
    else:
        db.session.connection(execution_options={"begin": "IMMEDIATE"})
    try:
        yield db.session
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise


@contextmanager
def write_alone() -> Iterator[Connection]:
    """A transaction of its own, on a connection of its own, beside whatever the session does."""
    immediate = db.engine.connect().execution_options(begin="IMMEDIATE")
    with immediate as connection, connection.begin():
        if on_postgresql():
            connection.exec_driver_sql(_GIVE_UP_WHEN_IDLE)
        yield connection


def overwrite_what_went() -> bool:
    """SQLite keeps what was deleted in its log, and in its file until the log is copied there. Says
    whether it is gone from both: not so where others were at work for longer than a moment.
    PostgreSQL's goes with its vacuum and its own log."""
    db.session.rollback()
    if on_postgresql():
        return True
    with db.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute(f"PRAGMA busy_timeout = {OVERWRITE_WITHIN_MS}")
        try:
            busy, *_ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except db.engine.dialect.loaded_dbapi.Error:  # as of a full disk; what was asked is done
            return False
        finally:
            driver.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}")
    return not busy


def see_one_moment() -> None:
    """Whatever is read from here on, until the next rollback, is as it is now."""
    db.session.rollback()
    if on_postgresql():  # SQLite's transactions see one moment by themselves
        db.session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


@contextmanager
def read_alone(engine: Engine | None = None) -> Iterator[Connection]:
    """A connection for a few statements that only read; `engine` where the application's own cannot
    be asked for, because the request has ended.

    PostgreSQL needs no transaction around it, which would be two more trips there and back.
    SQLite needs no trip; and its driver would forget that transactions are begun by us.
    """
    with _for_reading(engine or db.engine).connect() as connection:
        yield connection


def in_this_database(item: Any, _name: object, _kind: object, reflected: bool, _to: object) -> bool:
    """Whether Alembic is to look for something: some indexes are for one of the databases only."""
    return reflected or item.info.get("only", db.engine.dialect.name) == db.engine.dialect.name


def says_damaged(error: BaseException | None) -> bool:
    """Whether a driver's error is the database's word for damage to what it holds."""
    by_sqlite = getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE_DAMAGED
    return by_sqlite or str(getattr(error, "sqlstate", "")).startswith(_POSTGRESQL_FAULT)


def insert_into(table: type[Base]) -> Any:
    """An INSERT for where a row may be there already: each database says it in its own words, and
    only those of the one in use are loaded."""
    return import_module(f"sqlalchemy.dialects.{db.engine.dialect.name}").insert(table)


def on_postgresql() -> bool:
    """Whether that is the application's database, and not SQLite."""
    return db.engine.dialect.name == "postgresql"


def engine_options(url: str) -> dict[str, Any]:
    """Time-outs, so that a lock fails a page and not the worker; and no values in error texts, for
    they would be names of patients."""
    options: dict[str, Any] = {"hide_parameters": True, "pool_timeout": POOL_TIMEOUT_SECONDS}
    if url.startswith("postgresql"):
        limits = f"-c lock_timeout={LOCK_TIMEOUT_MS} -c statement_timeout={STATEMENT_TIMEOUT_MS}"
        # East of UTC the driver could not read the last moment of the year 9999 back.
        connect = {
            "options": f"{limits} -c TimeZone=UTC",
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        }
        options["connect_args"] = connect | GIVE_UP_SILENCE
    else:
        options["connect_args"] = {"timeout": LOCK_TIMEOUT_MS / 1000}
    return options


def prepare_engine(engine: Engine) -> None:
    """Prepare PostgreSQL's connections, and give SQLite's what it does not do by itself:
    write-ahead logging, foreign keys, and transactions that we begin ourselves."""
    if engine.dialect.name == "postgresql":
        # Once, for making it listens to events of the engine, which nothing would forget again.
        vars(engine)[_FOR_READING] = engine.execution_options(isolation_level="AUTOCOMMIT")
        postgresql.prepare(engine)
    else:
        _configure_sqlite(engine)


def _configure_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _configure(connection: SqliteConnection, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions by itself
        for pragma in SQLITE_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get("begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")
