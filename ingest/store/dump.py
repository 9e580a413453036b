"""The ledger's rows as lines of JSON, the same from SQLite and from PostgreSQL, and back into either.

What the index and the queue are made of is left out: after a load the index is built anew, and every item is pending.
"""

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import IO, Any

import orjson
from sqlalchemy import BigInteger, Connection, LargeBinary, Table, delete, func, select, text, update
from sqlalchemy.dialects import postgresql

from ingest.chunks import chunks
from ingest.store.database import Database
from ingest.store.generations import new_name
from ingest.store.hold import MARK
from ingest.store.installation import INSTALLATION
from ingest.store.pending import PendingStore
from ingest.store.records import GenerationState
from ingest.store.tables import generations, meta, metadata

_LEFT_OUT = frozenset({"placements", "pending", "leases", "runs", "pages"})
_TASTE_PLACED = "taste_placed"  # a row of `meta` that speaks of generations
_STAYS = (MARK, INSTALLATION)  # rows of `meta` that speak of a database, and not of what is in it
_ROWS_PER_READ = 1_000

OpenTable = Callable[[str], AbstractContextManager[IO[bytes]]]


def dump(database: Database, open_table: OpenTable) -> dict[str, int]:
    """Write every table as it stands at one moment; returns how many rows each has. Others write on meanwhile."""
    with database.snapshot() as connection:
        return {str(table.name): _write(connection, table, open_table) for table in _tables()}


def load(database: Database, pending: PendingStore, open_table: OpenTable) -> dict[str, int]:
    """Replace everything by what was dumped, in one transaction; returns how many rows each table has then.

    The live generation gets a name of this installation's own. What it lacks, which is everything, is pending with it:
    a crash right after leaves nothing to mend.
    """
    with database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table) if table is not meta else delete(meta).where(meta.c.key.not_in(_STAYS)))
        rows = {str(table.name): _read(connection, table, open_table) for table in _tables()}
        live = new_name(database, connection)
        # By its old name it would be the collection of whoever was backed up, where that is still at work.
        if connection.execute(update(generations).values(name=live)).rowcount:
            pending.add_missing(connection, live, job_id=live)
    return rows


def _tables() -> list[Table]:
    return [table for table in metadata.sorted_tables if table.name not in _LEFT_OUT]


def _write(connection: Connection, table: Table, open_table: OpenTable) -> int:
    binary = _binary_columns(table)
    query = select(table)
    if table is generations:  # the others lose their index, and with it their use
        query = query.where(generations.c.state == GenerationState.LIVE)
    if table is meta:
        query = query.where(meta.c.key.not_in((_TASTE_PLACED, *_STAYS)))
    rows = 0
    with open_table(table.name) as file:
        file.write(orjson.dumps([column.name for column in table.columns]) + b"\n")
        for row in connection.execute(query.execution_options(yield_per=_ROWS_PER_READ)):
            values = list(row)
            for place in binary:
                if values[place] is not None:
                    values[place] = base64.b64encode(values[place]).decode()
            file.write(orjson.dumps(values) + b"\n")
            rows += 1
    return rows


def _read(connection: Connection, table: Table, open_table: OpenTable) -> int:
    count = 0
    with open_table(table.name) as file:
        names = orjson.loads(file.readline())
        for rows in chunks(_rows(file, names, table)):
            connection.execute(table.insert(), rows)
            count += len(rows)
    _set_sequence(connection, table)
    return count


def _rows(file: IO[bytes], names: list[str], table: Table) -> Iterator[dict[str, Any]]:
    binary = [table.columns[place].name for place in _binary_columns(table)]
    for line in file:
        row = dict(zip(names, orjson.loads(line), strict=True))
        for name in binary:
            if row[name] is not None:
                row[name] = base64.b64decode(row[name])
        yield row


def _binary_columns(table: Table) -> list[int]:
    return [place for place, column in enumerate(table.columns) if isinstance(column.type, LargeBinary)]


def _set_sequence(connection: Connection, table: Table) -> None:
    """PostgreSQL counts on from what it gave out itself, not from what was inserted; SQLite does."""
    column = table.autoincrement_column
    if column is None or connection.dialect.name != postgresql.dialect.name or not isinstance(column.type, BigInteger):
        return
    highest = connection.execute(select(func.max(column))).scalar()
    if highest is not None:
        values = {"table": table.name, "column": column.name, "highest": highest}
        connection.execute(text("SELECT setval(pg_get_serial_sequence(:table, :column), :highest)"), values)
