"""The system of record, as one object: what was accepted is here, and everything else can be made from it."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from sqlalchemy import text

from ingest.store.database import Database
from ingest.store.dump import OpenTable, dump, load
from ingest.store.events import EventStore
from ingest.store.generations import GenerationStore
from ingest.store.items import ItemStore
from ingest.store.journal import JobStore, RecommendationLog, RejectStore
from ingest.store.keys import KeyStore
from ingest.store.learned import LearnedStore
from ingest.store.leases import LeaseStore
from ingest.store.pending import PendingStore
from ingest.store.placements import PlacementStore
from ingest.store.residue import residue
from ingest.store.schema import ensure_current
from ingest.store.tables import events, items, placements, rarities, recommendations, taste, vectors
from ingest.store.taste import TasteStore
from ingest.store.tombstones import Tombstones
from ingest.store.users import UserStore


class Ledger:
    """The ledger's parts over one database. Thread-safe; several processes may open the same one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.pending = PendingStore(database)
        self.items = ItemStore(database, self.pending)
        self.placements = PlacementStore(database, self.pending)
        self.generations = GenerationStore(database, self.pending)
        stones = Tombstones(database)
        self.events = EventStore(database, stones)
        self.taste = TasteStore(database)
        self.learned = LearnedStore(database)
        self.users = UserStore(database, stones)
        self.keys = KeyStore(database)
        self.jobs = JobStore(database)
        self.rejects = RejectStore(database)
        self.recommendations = RecommendationLog(database, stones)
        self.leases = LeaseStore(database)

    def ping(self) -> None:
        """Raises UnavailableError when the database does not answer."""
        with self._database.read() as connection:
            connection.execute(text("SELECT 1"))

    def scrub(self) -> bool:
        """Leave nothing that was deleted in the database's files, as far as it can be told to.

        False when another process kept SQLite from emptying its log.
        """
        self._database.vacuum(events, recommendations, items, vectors, taste, rarities, placements)
        return self._database.empty_log()

    def hold(self, *, alone: bool, restoring: bool = False) -> AbstractContextManager[None]:
        """Be one of the programs that run on this ledger, or the only one; in SQLite its folder's lock says that.

        Raises HomeInUseError when it is wanted alone and another program runs, UnavailableError when another one has it
        alone; so does later every use of a ledger that another one has had meanwhile. `restoring` is who asks, whom the
        refusal tells something else.
        """
        return self._database.hold(alone=alone, restoring=restoring)

    def dump(self, open_table: OpenTable) -> dict[str, int]:
        """Write every table's rows, as of one moment, into what `open_table` gives; returns how many each has."""
        return dump(self._database, open_table)

    def load(self, open_table: OpenTable) -> dict[str, int]:
        """Replace every row by what was dumped; returns how many each table has then. Every item is pending."""
        return load(self._database, self.pending, open_table)

    def check(self, seconds: float = math.inf) -> bool:
        """Raise DamagedLedgerError when SQLite finds its file damaged; False when `seconds` did not suffice for all."""
        return self._database.check(seconds)

    @property
    def file(self) -> Path | None:
        """SQLite's file; None where the ledger is no file."""
        return self._database.file

    def residue(self, contents: Sequence[bytes]) -> list[int]:
        """How often each of the contents stands in SQLite's file without a row that holds it.

        What is found is swept out first by writing the file anew, which takes as much disk again, and looked for once
        more. Writers wait meanwhile.
        """
        assert self.file is not None
        left = residue(self._database, self.file, contents)
        if any(left):
            self._database.rewrite()
            left = residue(self._database, self.file, contents)
        return left

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_ledger(url: str) -> Ledger:
    """Open the ledger at a SQLAlchemy URL. One in SQLite gets its tables, or a newer form of them, here.

    Raises SettingsError when it was written by another version of akin, or lacks what `akin migrate` makes;
    UnavailableError when it does not answer.
    """
    database = Database(url)
    try:
        ensure_current(database)
        return Ledger(database)
    except BaseException:
        database.close()
        raise
