"""When a call is made again, and after how long."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

RETRIED = frozenset({429, 502, 503, 504})
_LONGEST_HINT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Retries:
    """At most `attempts` calls in all; waits double from `first_seconds`, each drawn from 0 to that (full jitter)."""

    attempts: int = 4
    first_seconds: float = 0.2
    longest_seconds: float = 5.0

    def waits(self) -> Iterator[float]:
        """The seconds to wait before each further attempt."""
        for attempt in range(self.attempts - 1):
            most = min(self.longest_seconds, self.first_seconds * 2.0**attempt)
            yield random.uniform(0, most)  # noqa: S311 - spreads clients in time, guards nothing


def after(hint: str | None, wait: float) -> float:
    """The server's `Retry-After` in seconds where it is a number, 30 at most, and `wait` on top of it; else `wait`.

    On top, as clients that were given the same hint would otherwise come back together.
    """
    if hint is None or not hint.isdecimal():
        return wait
    return min(_LONGEST_HINT_SECONDS, float(hint)) + wait
