"""Erasing a user."""

import uuid
from collections.abc import Iterable

from sqlalchemy import delete, select

from ingest.store.database import Database, moment, now
from ingest.store.records import ErasureReceipt
from ingest.store.tables import events, pages, recommendations, tombstones
from ingest.store.tombstones import Tombstones


class UserStore:
    """The tombstones table; users themselves are only the ids that events carry."""

    def __init__(self, database: Database, stones: Tombstones) -> None:
        self._database = database
        self._stones = stones

    def delete(self, user_id: str) -> ErasureReceipt:
        """Remove the user's events and logged answers, and leave a salted tombstone. Repeating it is harmless.

        SQLite's log is emptied afterwards; its pages were overwritten as the rows went (`secure_delete`).
        """
        with self._database.write() as connection:
            self._stones.lock(connection)
            stamp = connection.execute(select(now())).scalar_one()
            gone = connection.execute(delete(events).where(events.c.user_id == user_id)).rowcount
            logged = connection.execute(delete(recommendations).where(recommendations.c.user_id == user_id)).rowcount
            connection.execute(delete(pages).where(pages.c.user_id == user_id))
            stone = {"user_hash": self._stones.hash(user_id), "erased_at": stamp}
            connection.execute(self._database.insert(tombstones).on_conflict_do_nothing(), [stone])
        self._database.empty_log()
        return ErasureReceipt(
            receipt_id=str(uuid.uuid4()), erased_at=moment(stamp), events=gone, recommendations=logged
        )

    def deleted(self, user_ids: Iterable[str]) -> set[str]:
        """Those of the ids that were deleted."""
        with self._database.read() as connection:
            return self._stones.among(connection, user_ids)
