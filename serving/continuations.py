"""What has been given under a recommendation id, so that its next page repeats nothing. Kept in this process only."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from serving.erased import Erased

Request = TypeVar("Request")


@dataclass(frozen=True, kw_only=True)
class Continuation(Generic[Request]):
    """A request and every item id that its pages have given so far."""

    request: Request
    given: tuple[str, ...]
    user_id: str | None
    expires_at: float
    size: int


class Continuations(Generic[Request]):
    """The latest `capacity` continuations, each for `seconds`; `size_capacity` bounds what all of them hold."""

    def __init__(
        self,
        *,
        capacity: int = 10_000,
        size_capacity: int = 300_000,
        seconds: float = 1800.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity = capacity
        self._size_capacity = size_capacity
        self._seconds = seconds
        self._clock = clock
        self._kept: OrderedDict[str, Continuation[Request]] = OrderedDict()
        self._size = 0
        self._erased = Erased(clock)
        self._lock = Lock()

    def now(self) -> float:
        """The moment at which a request begins; what it makes is kept with it."""
        return self._erased.now()

    def keep(
        self,
        recommendation_id: str,
        request: Request,
        given: tuple[str, ...],
        *,
        user_id: str | None,
        size: int,
        begun_at: float,
    ) -> None:
        """Remember one page that holds about `size` ids; the oldest leave when there are too many.

        Nothing is kept of a user who was erased since the request began.
        """
        expires_at = self._clock() + self._seconds
        kept = Continuation(request=request, given=given, user_id=user_id, expires_at=expires_at, size=size)
        with self._lock:
            if self._erased.since(begun_at, user_id):
                return
            self._kept[recommendation_id] = kept
            self._size += size
            while self._kept and self._too_much():
                _, oldest = self._kept.popitem(last=False)
                self._size -= oldest.size

    def get(self, recommendation_id: str) -> Continuation[Request] | None:
        """What was kept, or None when the id is unknown or its time is over. Asking twice gives the same page."""
        with self._lock:
            kept = self._kept.get(recommendation_id)
        return kept if kept is not None and kept.expires_at > self._clock() else None

    def forget(self, user_id: str) -> None:
        """Drop everything of a user who is being erased."""
        with self._lock:
            self._erased.add(user_id)
            mine = [name for name, kept in self._kept.items() if kept.user_id == user_id]
            for recommendation_id in mine:
                self._size -= self._kept.pop(recommendation_id).size

    def _too_much(self) -> bool:
        oldest = next(iter(self._kept.values()))
        return (
            len(self._kept) > self._capacity or self._size > self._size_capacity or oldest.expires_at <= self._clock()
        )
