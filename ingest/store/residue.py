"""Looking for bytes in SQLite's own file that no row holds: what was deleted and is still there.

A value stands in the file once for its row and once for each index over its column. What the file holds beyond that
lies in freed space. Values that SQLite cut over two pages are not found; ids and vectors are too short to be cut.
"""

import mmap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from ingest.errors import UnavailableError
from ingest.store.database import Database

_TRIES = 20
_PAUSE_SECONDS = 0.1


def residue(database: Database, file: Path, contents: Sequence[bytes]) -> list[int]:
    """How often each of the contents stands in the file without a row. Others may write on meanwhile.

    Raises UnavailableError when they keep the write-ahead log from being emptied.
    """
    log = file.with_name(f"{file.name}-wal")
    for _ in range(_TRIES):
        database.empty_log()
        with database.snapshot() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")  # from here on it sees nothing new
            # With an empty log the snapshot is the file itself, which nobody may change before the snapshot ends.
            if not log.exists() or log.stat().st_size == 0:
                held = _held_by_rows(connection, contents)
                stored = [count_in_file(file, content) for content in contents]
                return [max(0, there - known) for there, known in zip(stored, held, strict=True)]
        time.sleep(_PAUSE_SECONDS)
    raise UnavailableError("the ledger is being read and written without a pause; try again when there is less to do")


def count_in_file(path: Path, content: bytes) -> int:
    """How often the bytes stand in a file."""
    return sum(1 for _ in places_in_file(path, content))


def places_in_file(path: Path, content: bytes) -> Iterator[tuple[int, bytes]]:
    """Where the bytes stand in a file, and up to 4 kB on both sides of them."""
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        at = mapped.find(content)
        while at >= 0:
            yield min(at, 4096), mapped[max(0, at - 4096) : at + len(content) + 4096]
            at = mapped.find(content, at + len(content))


def _held_by_rows(connection: Connection, contents: Sequence[bytes]) -> list[int]:
    counts = [0] * len(contents)
    tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
    for table in tables:
        columns = [row[1] for row in connection.exec_driver_sql(f'PRAGMA table_info("{table}")')]
        layouts = [list(range(len(columns))), *_indexes(connection, table, columns)]
        for number, content in enumerate(contents):
            for row in _rows_with(connection, table, columns, layouts, content):
                values = [_stored(value) for value in row]
                counts[number] += sum(b"".join(values[place] for place in layout).count(content) for layout in layouts)
    return counts


def _rows_with(
    connection: Connection, table: str, columns: Sequence[str], layouts: Sequence[Sequence[int]], content: bytes
) -> Iterator[Any]:
    """Rows that may hold the content in a column, or across columns that stand side by side in a record."""
    blobs = [
        f"CAST(CASE typeof(\"{c}\") WHEN 'integer' THEN '' WHEN 'real' THEN '' ELSE \"{c}\" END AS BLOB)"
        for c in columns
    ]
    joined = [" || ".join(f"coalesce({blobs[place]}, '')" for place in layout) for layout in layouts if len(layout) > 1]
    places = [*blobs, *(f"CAST({one} AS BLOB)" for one in joined)]
    condition = " OR ".join(f"instr({place}, ?1) > 0" for place in places)
    yield from connection.exec_driver_sql(f'SELECT * FROM "{table}" WHERE {condition}', (content,))  # noqa: S608 - names that SQLite gave us


def _indexes(connection: Connection, table: str, columns: Sequence[str]) -> Iterator[list[int]]:
    for index in connection.exec_driver_sql(f'PRAGMA index_list("{table}")').all():
        _, name, _, _, partial = index
        if not partial:  # its rows are few, and none of their columns names a user
            parts = connection.exec_driver_sql(f'PRAGMA index_info("{name}")').all()
            yield [columns.index(part[2]) for part in parts]


def _stored(value: Any) -> bytes:
    # Numbers are stored in other bytes than their digits.
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""
