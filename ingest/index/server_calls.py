"""Asking a Qdrant server that may be slow, busy or away: deadlines, few repetitions, and no queue before a dead one.

Part of the server adapter. Every error of the client leaves here as one of akin's own.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import UnexpectedResponse

from ingest.errors import AkinError, InvalidInputError, UnavailableError

T = TypeVar("T")

_REFUSED = frozenset({400, 413, 422})
_BUSY = frozenset({429, 500, 502, 503, 504})  # the same call may succeed later
_GRPC_REFUSED = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE"})
_GRPC_GONE = frozenset({"NOT_FOUND", "ALREADY_EXISTS", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"})
FAILURES_THAT_OPEN = 3
OPEN_SECONDS = 1.0
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often, and how long in all, one call is tried."""

    attempts: int
    seconds: float


class Circuit:
    """Opens after failures in a row: calls then fail at once, and one a second finds out whether the server is back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._try_at = 0.0

    def admits(self) -> bool:
        """Whether a call may go through now."""
        with self._lock:
            if self._failures < FAILURES_THAT_OPEN:
                return True
            if self._clock() < self._try_at:
                return False
            self._try_at = self._clock() + OPEN_SECONDS  # this one tries; the others wait for what comes of it
            return True

    def succeeded(self) -> None:
        """The server answered."""
        self._failures = 0

    def failed(self) -> None:
        """It did not."""
        with self._lock:
            self._failures += 1
            self._try_at = self._clock() + OPEN_SECONDS


class Calls:
    """Makes calls with one patience over one circuit. Thread-safe."""

    def __init__(
        self,
        patience: Patience,
        circuit: Circuit | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._patience = patience
        self._circuit = circuit or Circuit(clock)
        self._clock = clock
        self._sleep = sleep

    def make(self, purpose: str, call: Callable[[], T]) -> T:
        """What the call returns; waits between attempts as the server asks, else twice as long each time, with jitter.

        Raises InvalidInputError when the server refused what was sent, UnavailableError in every other case.
        """
        deadline = self._clock() + self._patience.seconds
        for attempt in range(self._patience.attempts):
            if not self._circuit.admits():
                raise UnavailableError(f"the Qdrant server was away a moment ago and could not {purpose}; retry")
            try:
                answer = call()
            except AkinError:
                raise
            except Exception as error:
                wait = self._judge(error, purpose, attempt)
                if attempt + 1 == self._patience.attempts or self._clock() + wait > deadline:
                    raise _unavailable(error, purpose) from error
                self._sleep(wait)
            else:
                self._circuit.succeeded()
                return answer
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _judge(self, error: Exception, purpose: str, attempt: int) -> float:
        """Seconds until the next attempt; raises when there should be none."""
        if _is_refusal(error):
            self._circuit.succeeded()
            raise InvalidInputError("refused_by_index", f"the Qdrant server refused to {purpose}") from error
        if _is_final(error):
            self._circuit.succeeded()
            raise _unavailable(error, purpose) from error
        asked = _retry_after(error)
        if asked is None:
            self._circuit.failed()
        backoff = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * float(2**attempt))
        return max(backoff * random.uniform(0.5, 1.0), asked or 0.0)  # noqa: S311 - no secret


def _is_refusal(error: Exception) -> bool:
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _REFUSED
    return _grpc_code(error) in _GRPC_REFUSED


def _is_final(error: Exception) -> bool:
    """Whether the server answered and would answer the same again."""
    if isinstance(error, UnexpectedResponse):
        return error.status_code not in _BUSY
    return _grpc_code(error) in _GRPC_GONE


def _retry_after(error: Exception) -> float | None:
    """What the server asks for, in seconds; None when it does not say, or did not answer."""
    said: str | None
    if isinstance(error, ResourceExhaustedResponse):
        return float(error.retry_after_s)
    if isinstance(error, UnexpectedResponse):
        said = error.headers.get("retry-after") if error.headers is not None else None
        return float(said) if said is not None and said.isdecimal() else None
    return None


def _grpc_code(error: Exception) -> str | None:
    code: Any = getattr(error, "code", None)
    return getattr(code(), "name", None) if callable(code) else None


def _unavailable(error: Exception, purpose: str) -> UnavailableError:
    if isinstance(error, UnexpectedResponse):
        return UnavailableError(f"the Qdrant server could not {purpose} (HTTP {error.status_code}); retry")
    return UnavailableError(f"the Qdrant server could not {purpose}; check that it runs, then retry")
