"""Writes the recommendation log in the background.

What a crash catches in memory is lost by design: the log joins events to the answers that led to them, and no
acknowledged write depends on it.
"""

import hashlib
import logging
import secrets
from collections import deque
from dataclasses import replace
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from ingest.errors import AkinError
from ingest.store.ledger import Ledger
from ingest.store.records import LoggedRecommendation

logger = logging.getLogger(__name__)
_BATCH = 500


class LogWriter:
    """Collects entries and hands them to the ledger in batches; starts with `with`, flushes when left."""

    def __init__(self, ledger: Ledger, *, interval_seconds: float = 0.25, capacity: int = 20_000) -> None:
        self._ledger = ledger
        self._interval_seconds = interval_seconds
        self._waiting: deque[LoggedRecommendation] = deque(maxlen=capacity)  # a ledger that is down drops the oldest
        self._writing = Lock()
        self._stop = Event()
        self._salt = secrets.token_bytes(16)
        self._erased: set[bytes] = set()
        self._thread = Thread(target=self._run, name="recommendation-log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the thread and write what is left."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.flush()

    def add(self, entry: LoggedRecommendation) -> None:
        """Remember an answer; never blocks and never raises."""
        self._waiting.append(entry)

    def forget(self, user_id: str) -> None:
        """From now on, nothing waiting or coming names this user; call it before the ledger erases them."""
        with self._writing:
            self._erased.add(self._mark(user_id))

    def flush(self) -> None:
        """Write everything that waits; a ledger that refuses is logged, and the entries are dropped."""
        with self._writing:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                try:
                    self._ledger.recommendations.log([self._without_erased(entry) for entry in batch])
                except AkinError as error:
                    logger.warning("recommendations not logged", extra={"code": error.code, "entries": len(batch)})
                    return

    def _run(self) -> None:
        while not self._stop.wait(self._interval_seconds):
            try:
                self.flush()
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever one batch brings
                logger.error("recommendation log failed", extra={"error": type(error).__name__})  # noqa: TRY400

    def _without_erased(self, entry: LoggedRecommendation) -> LoggedRecommendation:
        if not self._erased or entry.user_id is None or self._mark(entry.user_id) not in self._erased:
            return entry
        return replace(entry, user_id=None)

    def _mark(self, user_id: str) -> bytes:
        # A salted hash: the memory of an erased user must not be their id.
        return hashlib.blake2b(user_id.encode(), digest_size=16, key=self._salt).digest()
