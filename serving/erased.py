"""Who was erased lately, so that what a request reads before the erasure is not kept after it."""

import time
from collections import deque
from collections.abc import Callable

REMEMBERED_SECONDS = 600.0  # no request takes so long


class Erased:
    """The users erased in this process within the last minutes. Not thread-safe: asked under its owner's lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lately: deque[tuple[float, str]] = deque()  # oldest first

    def now(self) -> float:
        """The moment for `since`, taken before anything of a user is read."""
        return self._clock()

    def add(self, user_id: str) -> None:
        """Note that a user is being erased now."""
        self._lately.append((self._clock(), user_id))

    def since(self, moment: float, user_id: str | None) -> bool:
        """Whether that user was erased at that moment or later."""
        while self._lately and self._lately[0][0] < self._clock() - REMEMBERED_SECONDS:
            self._lately.popleft()
        for at, one in reversed(self._lately):
            if at < moment:
                return False
            if one == user_id:
                return True
        return False
