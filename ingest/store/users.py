"""Erasing a user, and knowing without keeping the name that this user was erased."""

import hashlib
import hmac
import uuid
from collections.abc import Iterable

from sqlalchemy import delete, select

from ingest.store.database import Database, chunks, moment, now
from ingest.store.records import ErasureReceipt
from ingest.store.tables import events, meta, recommendations, tombstones


class UserStore:
    """The tombstones table; users themselves are only the ids that events carry."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.read() as connection:
            salt = connection.execute(select(meta.c.value).where(meta.c.key == "tombstone_salt")).scalar_one()
        self._salt = bytes.fromhex(salt)

    def delete(self, user_id: str) -> ErasureReceipt:
        """Remove the user's events and logged answers, and leave a salted tombstone. Repeating it is harmless."""
        with self._database.write() as connection:
            stamp = connection.execute(select(now())).scalar_one()
            gone = connection.execute(delete(events).where(events.c.user_id == user_id)).rowcount
            logged = connection.execute(delete(recommendations).where(recommendations.c.user_id == user_id)).rowcount
            stone = {"user_hash": self._hash(user_id), "erased_at": stamp}
            connection.execute(self._database.insert(tombstones).on_conflict_do_nothing(), [stone])
        return ErasureReceipt(
            receipt_id=str(uuid.uuid4()), erased_at=moment(stamp), events=gone, recommendations=logged
        )

    def deleted(self, user_ids: Iterable[str]) -> set[str]:
        """Those of the ids that were deleted."""
        hashes = {self._hash(user_id): user_id for user_id in user_ids}
        found: set[str] = set()
        with self._database.read() as connection:
            for some in chunks(hashes):
                query = select(tombstones.c.user_hash).where(tombstones.c.user_hash.in_(some))
                found |= {hashes[user_hash] for user_hash in connection.execute(query).scalars()}
        return found

    def is_deleted(self, user_id: str) -> bool:
        """Whether this user was deleted."""
        return bool(self.deleted([user_id]))

    def _hash(self, user_id: str) -> str:
        return hmac.new(self._salt, user_id.encode(), hashlib.sha256).hexdigest()
