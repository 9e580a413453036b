"""A count over the ledger that answers use: kept for a while, and counted anew behind the back of who asks."""

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from threading import Lock
from typing import Generic, TypeVar

from ingest.errors import AkinError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Recounted(Generic[T]):
    """Keeps what `count` gave for `seconds`. Thread-safe.

    With an executor, an old count is handed out while a new one is made, so that no answer waits but the very first:
    in one process a count over millions of events would stop every other answer. Without one, whoever asks counts.
    """

    def __init__(
        self,
        count: Callable[[], T],
        *,
        seconds: float,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._seconds = seconds
        self._executor = executor
        self._clock = clock
        self._lock = Lock()
        self._kept: tuple[T] | None = None
        self._fresh_until = -math.inf
        self._expired = 0  # how often
        self._counting = False

    def __call__(self) -> T:
        """The count, at most `seconds` old, or as much older as making a new one takes."""
        with self._lock:  # the first and whoever has no executor count under it: the others would only count the same
            if self._kept is None or (self._executor is None and self._clock() >= self._fresh_until):
                return self._keep(self._count(), self._expired)
            if self._executor is not None and self._clock() >= self._fresh_until and not self._counting:
                self._counting = True
                self._executor.submit(self._recount, self._expired)
            return self._kept[0]

    def expire(self) -> None:
        """Count anew at the next question; a count that is under way is old already."""
        with self._lock:
            self._expired += 1
            self._fresh_until = -math.inf

    def _recount(self, expired: int) -> None:
        try:
            found = self._count()
        except AkinError:  # the old count is better than none, and is tried to be renewed at the next question
            logger.warning("a count was not renewed", exc_info=True)
        else:
            with self._lock:
                self._keep(found, expired)
        finally:
            with self._lock:
                self._counting = False

    def _keep(self, found: T, expired: int) -> T:
        self._kept = (found,)
        if expired == self._expired:
            self._fresh_until = self._clock() + self._seconds
        return found
