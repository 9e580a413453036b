"""Who is asking: the ledger's keys, read again every two seconds, and the one key that this machine's commands use."""

import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ingest.errors import UnavailableError
from ingest.keys import ApiKey, Scope, id_of
from ingest.store.ledger import Ledger

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 2.0
# Compared with when no key has the id that was sent, so that an unknown id takes as long as a wrong secret.
_NOBODY = ApiKey(
    key_id="", name="", scopes=frozenset(), secret_hash="0" * 64, created_at=datetime.fromtimestamp(0, UTC)
)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whoever asks, by what their key allows. `key_id` is None for this machine's own commands and where none is."""

    key_id: str | None
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether they may do what needs `scope`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


ANYBODY = Caller(key_id=None, scopes=frozenset({Scope.ADMIN}))


class Keyring:
    """Recognises callers. `public` says that a key is needed even where none was made yet."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        public: bool,
        local_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._public = public
        self._local_key = local_key
        self._clock = clock
        self._keys: dict[str, ApiKey] | None = None
        self._read_at = 0.0

    @property
    def stale(self) -> bool:
        """Whether `refresh` should be called before anybody is recognised."""
        return self._keys is None or self._clock() - self._read_at >= REFRESH_SECONDS

    def refresh(self) -> None:
        """Read the keys. A ledger that is away leaves those known before; raises UnavailableError when none are."""
        try:
            self._keys = {key.key_id: key for key in self._ledger.keys.list()}
        except UnavailableError:
            if self._keys is None:
                raise
            logger.warning("keys not read again; those known before stay in force")
        self._read_at = self._clock()

    @property
    def needed(self) -> bool:
        """Whether a key is needed: on public addresses, and wherever one was ever made, even if it was revoked since.

        Otherwise revoking the last one would open everything.
        """
        return self._public or bool(self._keys)

    def recognise(self, secret: str | None) -> Caller | None:
        """The caller that holds this secret; None when a key is needed and this is none."""
        if secret is None:
            return None if self.needed else ANYBODY
        if self._local_key is not None and hmac.compare_digest(secret.encode(), self._local_key.encode()):
            return ANYBODY
        key = (self._keys or {}).get(id_of(secret) or "", _NOBODY)
        if key.opens_with(secret):
            return Caller(key_id=key.key_id, scopes=key.scopes)
        return None if self.needed else ANYBODY
