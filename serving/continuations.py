"""What next pages are made from, so that they repeat nothing. Kept in this process only."""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from serving.erased import Erased

_OVERHEAD = 500  # bytes that each takes beside its page


class _Kept(NamedTuple):
    page: bytes
    user_id: str | None
    expires_at: float

    @property
    def size(self) -> int:
        return _OVERHEAD + len(self.page)


class Continuations:
    """The latest `capacity` pages, each for `seconds`; all of them together hold at most `most_bytes`."""

    def __init__(
        self,
        *,
        capacity: int = 10_000,
        most_bytes: int = 32_000_000,
        seconds: float = 1800.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._size = 0
        self._erased = Erased(clock)
        self._lock = Lock()

    def now(self) -> float:
        """The moment at which a request begins; what it makes is kept with it."""
        return self._erased.now()

    def keep(self, recommendation_id: str, page: bytes, *, user_id: str | None, begun_at: float) -> None:
        """Remember one page; the oldest leave when there are too many.

        Nothing is kept of a user who was erased since the request began.
        """
        kept = _Kept(page, user_id, self._clock() + self._seconds)
        with self._lock:
            if self._erased.since(begun_at, user_id):
                return
            self._kept[recommendation_id] = kept
            self._size += kept.size
            while self._kept and self._too_much():
                _, oldest = self._kept.popitem(last=False)
                self._size -= oldest.size

    def get(self, recommendation_id: str) -> bytes | None:
        """What was kept, or None when the id is unknown or its time is over. Asking twice gives the same page."""
        with self._lock:
            kept = self._kept.get(recommendation_id)
        return kept.page if kept is not None and kept.expires_at > self._clock() else None

    def forget(self, user_id: str) -> None:
        """Drop everything of a user who is being erased."""
        with self._lock:
            self._erased.add(user_id)
            mine = [name for name, kept in self._kept.items() if kept.user_id == user_id]
            for recommendation_id in mine:
                self._size -= self._kept.pop(recommendation_id).size

    def _too_much(self) -> bool:
        oldest = next(iter(self._kept.values()))
        return len(self._kept) > self._capacity or self._size > self._most_bytes or oldest.expires_at <= self._clock()
