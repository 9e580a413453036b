"""How often items were shown lately, read from the log of answers every minute."""

import time
from collections.abc import Callable, Mapping
from threading import Lock

from ingest.store.ledger import Ledger

ANSWERS = 10_000  # the latest, over which impressions are counted


class Impressions:
    """Counts over the latest answers of every process; an answer counts within `seconds`. Thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        seconds: float = 60.0,
        answers: int = ANSWERS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self._answers = answers
        self._clock = clock
        self._lock = Lock()
        self._counts: Mapping[str, int] = {}
        self._fresh_until: float | None = None

    def counts(self) -> Mapping[str, int]:
        """By item; items that were not shown are not in it."""
        with self._lock:
            if self._fresh_until is None or self._clock() >= self._fresh_until:
                self._counts = self._ledger.recommendations.impressions(self._answers)
                self._fresh_until = self._clock() + self._seconds
            return self._counts
