"""One door to the database: short write transactions, reads without one, and the database's own clock."""

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

from sqlalchemy import URL, Connection, Table, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import BigInteger, String

from ingest.errors import DamagedLedgerError, InvalidInputError, SettingsError, UnavailableError
from ingest.extras import to_install
from ingest.store.hold import Hold

_WRONG_URL = "AKIN_DATABASE_URL must begin with sqlite:/// or postgresql+psycopg://"
_STEPS_BETWEEN_LOOKS = 10_000  # of SQLite's virtual machine
_LOCKED_SECONDS = 30  # how long SQLite waits for another writer
# How long PostgreSQL's end of a connection may be silent, as libpq's parameters; those of the URL win.
_PATIENCE = {
    "connect_timeout": 5,  # seconds, of each address that the host's name stands for
    "tcp_user_timeout": 15_000,  # milliseconds, of what was sent and nobody acknowledges
    "keepalives": 1,
    "keepalives_idle": 15,  # seconds, of an answer that is waited for; then three questions whether anybody is there
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
_DAMAGED = ("malformed", "not a database")  # how SQLite says it
# As PostgreSQL counts them, a second or so late. Without any, reading a large table for them would be for nothing.
_DEAD_ROWS = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = to_regclass(%(table)s)"
ROWS_PER_COMMIT = 500  # of what a training writes, so that others write in between


class now(FunctionElement[int]):  # noqa: N801 - reads as the SQL function that it is
    """Microseconds since 1970 by the database's clock: leases must not depend on the clock of whoever asks."""

    type = BigInteger()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_sqlite(*_: Any, **__: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"


@compiles(now, "postgresql")
def _now_postgresql(*_: Any, **__: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"


class id_order(FunctionElement[str]):  # noqa: N801 - reads as part of the SQL that it is
    """The order of ids that is Python's too, whatever the database's collation: rows are locked in it everywhere."""

    type = String()
    inherit_cache = True


@compiles(id_order, "sqlite")
def _id_order_sqlite(element: id_order, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(id_order, "postgresql")
def _id_order_postgresql(element: id_order, compiler: SQLCompiler, **options: Any) -> str:
    return f'{compiler.process(element.clauses, **options)} COLLATE "C"'


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    return int(moment.timestamp() * 1_000_000)


def moment(microseconds_: int) -> datetime:
    """The aware UTC datetime of that many microseconds since 1970."""
    return datetime.fromtimestamp(microseconds_ / 1_000_000, tz=UTC)


class Database:
    """An engine and its habits. Thread-safe."""

    def __init__(self, url: str) -> None:
        parsed = _parsed(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.file = sqlite_file(url)
        if self.file is not None:
            _make_room(self.file)
        options: dict[str, Any] = {"connect_args": {"timeout": _LOCKED_SECONDS}}
        if not self.is_sqlite:
            patience = {name: value for name, value in _PATIENCE.items() if name not in parsed.query}
            options = {"connect_args": patience, "pool_pre_ping": True}
        try:
            self._engine = create_engine(parsed, pool_size=16, max_overflow=64, hide_parameters=True, **options)
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"AKIN_DATABASE_URL needs the module {error.name}; {to_install('production')}, which brings psycopg"
            ) from error
        # SQLite has one writer at a time; queueing here is fairer and quicker than its own polling between threads.
        self._writer = threading.Lock() if self.is_sqlite else None
        if self.is_sqlite:
            event.listen(self._engine, "connect", _configure_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._writing = self._engine.execution_options(akin_write=True)
        self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        # A connection to a file cannot break, so each thread keeps the one it reads with: taking one from the pool
        # costs as much as a small query. A server's connections can break, and come from the pool, which replaces them.
        self._kept = threading.local() if self.is_sqlite else None
        self._all_kept: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._hold: Hold | None = None

    @contextmanager
    def hold(self, *, alone: bool, restoring: bool = False) -> Iterator[None]:
        """Be one of the programs that run on this database, or the only one; SQLite's file is held by its folder.

        Once others may have had it meanwhile, every read and write raises UnavailableError. See `Hold` for the rest.
        """
        if self.is_sqlite:
            yield
            return
        with _translated():
            self._hold = Hold(self._reading, alone=alone, restoring=restoring)
        try:
            yield
        finally:
            hold, self._hold = self._hold, None
            hold.release()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, durable when the block ends. Keep it short: never embed or wait on a network inside."""
        if self._writer is not None:
            self._writer.acquire()
        try:
            with _translated():
                self._check_hold()
                with self._writing.begin() as connection:
                    yield connection
        finally:
            if self._writer is not None:
                self._writer.release()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; each statement sees what was committed before it."""
        with _translated():
            self._check_hold()
            if self._kept is None:
                with self._reading.connect() as connection:
                    yield connection
                return
            if not hasattr(self._kept, "connection"):
                self._kept.connection = self._reading.connect()
                self._all_kept.add(self._kept.connection)
            yield self._kept.connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection whose every statement sees the database as it was at the first; nobody waits for it."""
        isolation = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with _translated(), self._engine.execution_options(**isolation).connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection

    def check(self, seconds: float) -> bool:
        """SQLite: raise DamagedLedgerError when the file is damaged; False when the time ended before the file did.

        PostgreSQL checks what it reads by itself.
        """
        if not self.is_sqlite:
            return True
        until = time.monotonic() + seconds
        with self.read() as connection:
            driver: Any = connection.connection.dbapi_connection
            driver.set_progress_handler(lambda: time.monotonic() > until, _STEPS_BETWEEN_LOOKS)
            try:
                found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            except OperationalError as error:
                if "interrupted" not in str(error.orig):
                    raise
                return False
            finally:
                driver.set_progress_handler(None, 0)
        if found != "ok":
            raise DamagedLedgerError
        return True

    def lock(self, connection: Connection, matter: str, *, shared: bool = False) -> None:
        """Wait until no other transaction holds this matter (`shared`: none holds it alone); ends with the transaction.

        For decisions over rows that another transaction may be adding. SQLite has one writer at a time anyway.
        """
        if not self.is_sqlite:
            lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
            connection.execute(select(lock(crc32(f"akin {matter}".encode()))))

    def reserve(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert stand-ins, which this transaction will replace, for missing rows: what is not there cannot be locked.

        Give rows in the order of their keys, so that no two transactions wait for each other.
        """
        if rows and not self.is_sqlite:
            connection.execute(postgresql.insert(table).on_conflict_do_nothing(), list(rows))

    def insert(self, table: Table) -> "sqlite.Insert | postgresql.Insert":
        """An INSERT that knows ON CONFLICT in this database's dialect."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def upsert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows or replace those with the same primary key."""
        if not rows:
            return
        statement = self.insert(table)
        keys = [column.name for column in table.primary_key]
        replaced = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        statement = statement.on_conflict_do_update(index_elements=keys, set_=replaced)
        connection.execute(statement, list(rows))

    def empty_log(self) -> bool:
        """SQLite: bring the write-ahead log into the file and empty it, so that nothing deleted is left in it.

        False when a reader of another process was in the way: the log is then emptied the next time. PostgreSQL
        keeps its own log by its own rules (docs/how-to/privacy.md).
        """
        if not self.is_sqlite:
            return True
        with self.read() as connection:
            busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        return not busy

    def rewrite(self) -> None:
        """SQLite: write the file anew, without what lies in freed space. Takes as much disk again meanwhile."""
        with self.read() as connection:
            connection.exec_driver_sql("VACUUM")
        self.empty_log()

    def vacuum(self, *tables: Table) -> None:
        """PostgreSQL: free the space of rows that went from these tables, if any did. SQLite overwrote them already."""
        if self.is_sqlite:
            return
        with self.read() as connection:
            for table in tables:
                if connection.exec_driver_sql(_DEAD_ROWS, {"table": table.name}).scalar():
                    connection.exec_driver_sql(f"VACUUM {table.name}")

    def _check_hold(self) -> None:
        if self._hold is not None:
            self._hold.check()

    def close(self) -> None:
        """Close every connection; nothing may be read or written any more."""
        for connection in list(self._all_kept):
            connection.close()
        self._engine.dispose()


def sqlite_file(url: str) -> Path | None:
    """The file of a ledger in SQLite, whether it is there or not; None where the ledger is no file."""
    parsed = _parsed(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError(_WRONG_URL) from error
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise SettingsError(_WRONG_URL)
    return parsed


def _make_room(file: Path) -> None:
    """Make SQLite's folder; raises SettingsError where this user may not write: SQLite itself hardly says what for."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = "Permission denied" if not os.access(file if file.exists() else file.parent, os.W_OK) else None
    except (FileExistsError, NotADirectoryError) as error:
        raise SettingsError(
            f"the ledger's folder {file.parent} cannot be one: it, or what it is in, is a file; set AKIN_HOME"
        ) from error
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise SettingsError(
            f"the ledger {file} cannot be made or written by this user: {reason}; "
            "run akin as the user whose file it is, or set AKIN_HOME to another folder"
        )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if "no such table" in str(error.orig):
            raise UnavailableError("the ledger has no tables; open it with open_ledger") from error
        raise UnavailableError(f"the ledger does not answer: {error.orig}") from error
    except (DataError, OverflowError) as error:  # PostgreSQL's word, and SQLite's, for what they can never hold
        detail = "a value is too long or too large for the ledger; send what came with it without it"
        raise InvalidInputError("does_not_fit", detail) from error
    except sqlite3.DatabaseError as error:
        if any(sign in str(error) for sign in _DAMAGED):
            raise DamagedLedgerError from error
        raise UnavailableError(f"the ledger does not answer: {error}") from error
    except sqlite3.Error as error:  # from a prepared statement, which SQLAlchemy does not wrap
        raise UnavailableError(f"the ledger does not answer: {error}") from error
    except DatabaseError as error:
        if any(sign in str(error.orig) for sign in _DAMAGED):
            raise DamagedLedgerError from error
        raise UnavailableError(f"the ledger refused: {type(error).__name__}") from error
    except SQLAlchemyError as error:
        # str(error) would repeat the statement's parameters, which may be somebody's text.
        raise UnavailableError(f"the ledger refused: {type(error).__name__}") from error


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says, not where the driver guesses
    _write_ahead(connection)
    for pragma in (
        "synchronous=FULL",
        f"busy_timeout={1000 * _LOCKED_SECONDS}",
        "secure_delete=ON",
        "cache_size=-16000",
        "mmap_size=268435456",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: Any) -> None:
    """Switch a file to a write-ahead log. For this alone SQLite waits for nobody.

    Of several that open a new file at once, all but the first would be told that it is locked.
    """
    until = time.monotonic() + _LOCKED_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a deferred one could fail half way with "database is locked".
    if connection.get_execution_options().get("akin_write"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
