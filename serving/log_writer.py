"""Writes the recommendation log in the background.

What a crash catches in memory is lost by design: the log joins events to the answers that led to them, and no
acknowledged write depends on it. Of a user who was erased meanwhile the ledger keeps no name.
"""

import logging
import time
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from ingest.errors import AkinError
from ingest.store.ledger import Ledger
from ingest.store.records import LoggedRecommendation
from serving.pages import PAGES_KEPT

logger = logging.getLogger(__name__)
_BATCH = 500
_MOST_WAITING_PAGES = 2_000  # a ledger that does not keep up gets answers, and no next pages any more
_TIDY_SECONDS = 60.0


class LogWriter:
    """Collects entries and hands them to the ledger in batches; starts with `with`, flushes when left."""

    def __init__(self, ledger: Ledger, *, interval_seconds: float = 0.25, capacity: int = 20_000) -> None:
        self._ledger = ledger
        self._interval_seconds = interval_seconds
        self._waiting: deque[LoggedRecommendation] = deque(maxlen=capacity)  # a ledger that is down drops the oldest
        self._writing = Lock()
        self._stop = Event()
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
        crowded = entry.page is not None and len(self._waiting) >= _MOST_WAITING_PAGES
        self._waiting.append(replace(entry, page=None) if crowded else entry)

    def flush(self) -> None:
        """Write everything that waits; a ledger that refuses is logged, and the entries are dropped."""
        with self._writing:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                try:
                    self._ledger.recommendations.log(batch)
                except AkinError as error:
                    logger.warning("recommendations not logged", extra={"code": error.code, "entries": len(batch)})
                    return

    def _run(self) -> None:
        tidy_at = 0.0
        while not self._stop.wait(self._interval_seconds):
            try:
                self.flush()
                if time.monotonic() >= tidy_at:
                    tidy_at = time.monotonic() + _TIDY_SECONDS
                    self._ledger.recommendations.forget_pages_before(datetime.now(UTC) - PAGES_KEPT)
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever one batch brings
                logger.error("recommendation log failed", extra={"error": type(error).__name__})  # noqa: TRY400 - a traceback may name users
