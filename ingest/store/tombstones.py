"""Knowing without keeping the name that a user was erased."""

import hashlib
import hmac
from collections.abc import Iterable

from sqlalchemy import Connection, select

from ingest.chunks import chunks
from ingest.store.database import Database
from ingest.store.prepared import PreparedIn
from ingest.store.tables import meta, tombstones

_ERASED = PreparedIn(select(tombstones.c.user_hash), tombstones.c.user_hash)


class Tombstones:
    """Salted hashes of erased users, asked inside the transactions that could bring one back."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.read() as connection:
            salt = connection.execute(select(meta.c.value).where(meta.c.key == "tombstone_salt")).scalar_one()
        self._salt = bytes.fromhex(salt)

    def lock(self, connection: Connection, *, shared: bool = False) -> None:
        """Until the transaction ends, nobody is erased (`shared`), or nothing is written of anybody."""
        self._database.lock(connection, "erasing", shared=shared)

    def among(self, connection: Connection, user_ids: Iterable[str]) -> set[str]:
        """Those of the ids that were erased."""
        hashes = {self.hash(user_id): user_id for user_id in user_ids}
        return {hashes[row[0]] for some in chunks(hashes) for row in _ERASED.rows(connection, some)}

    def hash(self, user_id: str) -> str:
        """What stays of an erased user."""
        return hmac.new(self._salt, user_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
