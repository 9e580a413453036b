"""API keys as they are made and recognised: random, shown once, kept as hashes."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ingest.errors import InvalidInputError

MAX_NAME_CHARS = 128
_PREFIX = "akin"
_SECRET_BYTES = 32  # 256 bits from the system's source: a fast hash is enough, nobody can try them out


class Scope(StrEnum):
    """What a key allows; `admin` includes the other two."""

    QUERY = "query"
    INGEST = "ingest"
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """One key as the ledger knows it; the secret itself is known only to whoever was given it."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    secret_hash: str
    created_at: datetime
    revoked_at: datetime | None = None

    def opens_with(self, secret: str) -> bool:
        """Whether this is the key's secret and it was not revoked; takes as long for a wrong one as for a right one."""
        same = hmac.compare_digest(hash_secret(secret), self.secret_hash)
        return same and self.revoked_at is None


def check_name(name: str) -> None:
    """Raise InvalidInputError for a name that the ledger cannot hold, or a list not show."""
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise InvalidInputError("name", f"a key's name has 1 to {MAX_NAME_CHARS} printable characters", "name")


def new_secret() -> tuple[str, str]:
    """An id that may be shown, and the whole secret `akin_<id>_<256 random bits>`."""
    key_id = secrets.token_hex(6)
    return key_id, f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def id_of(secret: str) -> str | None:
    """The id inside a secret; None when it has not the form of one."""
    prefix, _, rest = secret.partition("_")
    key_id, _, random = rest.partition("_")
    return key_id if prefix == _PREFIX and key_id and random else None


def hash_secret(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
