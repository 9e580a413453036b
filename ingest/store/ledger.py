"""The system of record, as one object: what was accepted is here, and everything else can be made from it."""

import secrets
from typing import Self

from sqlalchemy import Connection, insert, select, text

from ingest.errors import SettingsError
from ingest.store.database import Database
from ingest.store.events import EventStore
from ingest.store.generations import GenerationStore
from ingest.store.items import ItemStore
from ingest.store.journal import JobStore, RecommendationLog, RejectStore
from ingest.store.pending import PendingStore
from ingest.store.placements import PlacementStore
from ingest.store.tables import SCHEMA_VERSION, meta, metadata
from ingest.store.taste import TasteStore
from ingest.store.users import UserStore


class Ledger:
    """The ledger's parts over one database. Thread-safe; several processes may open the same one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.pending = PendingStore(database)
        self.items = ItemStore(database, self.pending)
        self.placements = PlacementStore(database, self.pending)
        self.generations = GenerationStore(database, self.pending)
        self.events = EventStore(database)
        self.taste = TasteStore(database)
        self.users = UserStore(database)
        self.jobs = JobStore(database)
        self.rejects = RejectStore(database)
        self.recommendations = RecommendationLog(database)

    def ping(self) -> None:
        """Raises UnavailableError when the database does not answer."""
        with self._database.read() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_ledger(url: str) -> Ledger:
    """Open the ledger at a SQLAlchemy URL, making its tables the first time.

    Raises SettingsError when it was written by another version of akin, UnavailableError when it does not answer.
    """
    database = Database(url)
    try:
        with database.write() as connection:
            _prepare(database, connection)
        return Ledger(database)
    except BaseException:
        database.close()
        raise


def _prepare(database: Database, connection: Connection) -> None:
    database.lock(connection, "schema")
    metadata.create_all(connection)
    known = {row.key: row.value for row in connection.execute(select(meta))}
    if not known:
        rows = [
            {"key": "schema_version", "value": str(SCHEMA_VERSION)},
            {"key": "tombstone_salt", "value": secrets.token_hex(32)},
        ]
        connection.execute(insert(meta), rows)
    elif known.get("schema_version") != str(SCHEMA_VERSION):
        raise SettingsError(
            f"the ledger has schema version {known.get('schema_version')} and this akin knows {SCHEMA_VERSION}; "
            "install the akin that wrote it, or restore a backup"
        )
