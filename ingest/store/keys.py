"""API keys in the ledger: hashes and names. A revoked key stays listed, and locked out for good."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, select, update

from ingest.errors import NotFoundError
from ingest.keys import ApiKey, Scope, check_name, hash_secret, new_secret
from ingest.store.database import Database, moment, now
from ingest.store.tables import api_keys


class KeyStore:
    """The api_keys table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, scopes: Iterable[Scope]) -> tuple[ApiKey, str]:
        """Make a key; the secret that is returned beside it is kept nowhere. Raises InvalidInputError for the name."""
        check_name(name)
        key_id, secret = new_secret()
        with self._database.write() as connection:
            row = {
                "key_id": key_id,
                "name": name,
                "scopes": " ".join(sorted(scopes)),
                "secret_hash": hash_secret(secret),
                "created_at": connection.execute(select(now())).scalar_one(),
            }
            connection.execute(api_keys.insert(), [row])
            made = connection.execute(select(api_keys).where(api_keys.c.key_id == key_id)).one()
        return _record(made), secret

    def list(self) -> list[ApiKey]:
        """Every key that was ever made, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id)).all()
        return [_record(row) for row in rows]

    def revoke(self, key_id: str) -> ApiKey:
        """Lock a key out for good; running programs notice within seconds. Raises NotFoundError."""
        mine = api_keys.c.key_id == key_id
        with self._database.write() as connection:
            revoked = update(api_keys).where(mine, api_keys.c.revoked_at.is_(None)).values(revoked_at=now())
            connection.execute(revoked)
            row = connection.execute(select(api_keys).where(mine)).one_or_none()
        if row is None:
            raise NotFoundError("there is no such key; `akin keys list` shows their ids")
        return _record(row)


def _record(row: Row[Any]) -> ApiKey:
    return ApiKey(
        key_id=row.key_id,
        name=row.name,
        scopes=frozenset(map(Scope, row.scopes.split())),
        secret_hash=row.secret_hash,
        created_at=moment(row.created_at),
        revoked_at=None if row.revoked_at is None else moment(row.revoked_at),
    )
