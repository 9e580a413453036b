"""Which programs run on a ledger in PostgreSQL: one alone, or any number side by side that keep their index elsewhere.

An advisory lock of a session of its own says so, and goes with the process, however that ends. Whoever has a ledger
alone also leaves a mark in it: a process whose session broke learns from it that somebody else was there meanwhile.
"""

import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from zlib import crc32

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError

from ingest.errors import AkinError, HomeInUseError, UnavailableError
from ingest.store.tables import meta

MARK = "held alone"  # the row of `meta` that whoever has a ledger alone writes anew
PATIENCE_SECONDS = 1.0  # the server needs a moment to notice that a process was killed
LOOK_SECONDS = 1.0  # how long a process may go on that has lost its session
_LOCK = crc32(b"akin running")
# A machine that is gone says nothing: the server asks, and lets go within half a minute.
_KEEPALIVES = ("tcp_keepalives_idle = 10", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")
_NAMED = 5  # of those that run
_ALONE = (
    "; stop it first. "
    "Several share a ledger only with a Qdrant server and a broker: set AKIN_QDRANT_URL and AKIN_BROKER_URL"
)
_RESTORING = "; stop it first: a restore must have the ledger to itself"
_SHARED = "a restore, or an akin without a Qdrant server, has this ledger to itself{}; wait for it or stop it"
_TAKEN = "the connection that keeps this ledger for this akin broke, and another akin has it now; stop one of the two"
_OVERTAKEN = "another akin, or a restore, had this ledger while this one had lost its connection; start this one again"

# A lock of one number is kept as its upper and lower half. Sessions of others may hide what they are called.
_HOLDERS = text(
    "SELECT coalesce(nullif(a.application_name, ''), 'session ' || l.pid) FROM pg_locks l "
    "LEFT JOIN pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = :lock AND l.objsubid = 1 "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"
)


class Hold:
    """The lock, taken when made: alone, or shared. Thread-safe.

    Raises HomeInUseError when it is wanted alone and somebody has it, UnavailableError when somebody has it alone.
    """

    def __init__(self, engine: Engine, *, alone: bool, restoring: bool = False) -> None:
        self._engine = engine  # every statement commits by itself
        self._alone = alone
        self._restoring = restoring
        self._guard = threading.Lock()
        self._refusal: str | None = None
        self._overtaken = False
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._connection, self._session = self._connected()
        try:
            self._take()
        except BaseException:
            self._connection.close()
            raise

    def check(self) -> None:
        """Raise UnavailableError when this process no longer has the lock; looks once a second.

        A session that broke is made anew. Once somebody else has had the ledger alone meanwhile, what this process
        knows of it is out of date for good.
        """
        if self._refusal is None and time.monotonic() < self._look_at:
            return
        with self._guard:
            if time.monotonic() >= self._look_at and not self._overtaken:
                self._refusal = None if self._stands() else self._retaken()
                self._look_at = time.monotonic() + LOOK_SECONDS
            if self._refusal is not None:
                raise UnavailableError(self._refusal)

    def release(self) -> None:
        """Let others have it at once: the server may take a moment to notice that a session has ended."""
        with suppress(SQLAlchemyError):
            self._connection.execute(select(func.pg_advisory_unlock_all()))
        with suppress(SQLAlchemyError):
            self._connection.close()

    def _take(self) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._locked():
            if time.monotonic() > until:
                raise self._refused()
            time.sleep(0.05)
        if self._alone:
            insert = postgresql.insert(meta).values(key=MARK, value=secrets.token_hex(16))
            replace = insert.on_conflict_do_update(index_elements=["key"], set_={"value": insert.excluded.value})
            self._connection.execute(replace)
        self._mark = self._read_mark()

    def _refused(self) -> AkinError:
        """Who has it, and what to do: that differs for a restore and for an akin with its index in a folder."""
        names = self._holders()
        named = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        if not self._alone:
            return UnavailableError(_SHARED.format(f" ({named})" if names else ""))
        what_to_do = _RESTORING if self._restoring else _ALONE
        if len(names) > 1:
            what_to_do = what_to_do.replace("stop it", "stop them")
            return HomeInUseError(f"{len(names)} other akin processes run on this ledger ({named}){what_to_do}")
        return HomeInUseError(f"another akin runs on this ledger{f' ({named})' if names else ''}{what_to_do}")

    def _holders(self) -> list[str]:
        """The names of the sessions that have the lock, each by its process and machine."""
        return list(self._connection.execute(_HOLDERS, {"lock": _LOCK}).scalars())

    def _stands(self) -> bool:
        try:
            return bool(self._connection.execute(select(func.pg_backend_pid())).scalar_one() == self._session)
        except SQLAlchemyError:
            return False

    def _retaken(self) -> str | None:
        """Take the lock in a new session; a sentence says why it must not be worked on."""
        with suppress(SQLAlchemyError):
            self._connection.close()
        self._connection, self._session = self._connected()
        if not self._locked():
            self._connection.close()
            return _TAKEN
        self._overtaken = self._read_mark() != self._mark
        return _OVERTAKEN if self._overtaken else None

    def _connected(self) -> tuple[Connection, int]:
        connection = self._engine.connect()
        connection.detach()  # it is no connection for anybody else, and closing it ends its session
        connection.execute(select(func.set_config("application_name", _own_name(), False)))  # noqa: FBT003 - SQL's
        for setting in _KEEPALIVES:
            connection.exec_driver_sql(f"SET {setting}")
        return connection, int(connection.execute(select(func.pg_backend_pid())).scalar_one())

    def _locked(self) -> bool:
        lock = func.pg_try_advisory_lock if self._alone else func.pg_try_advisory_lock_shared
        return bool(self._connection.execute(select(lock(_LOCK))).scalar_one())

    def _read_mark(self) -> str | None:
        return self._connection.execute(select(meta.c.value).where(meta.c.key == MARK)).scalar()


def _own_name() -> str:
    """What PostgreSQL shows of this process, and whoever it is in the way of; 63 bytes are kept of it."""
    return f"process {os.getpid()} on {socket.gethostname()}"
