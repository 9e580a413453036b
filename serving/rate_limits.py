"""How often each caller may ask: counted in this process, or in a Redis that all processes share."""

import logging
import math
import time

from limits import RateLimitItem, parse
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from ingest.errors import SettingsError, UnavailableError
from ingest.settings import Settings

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 0.25
_REST_SECONDS = 5.0  # a Redis that failed is left alone for this long


class RateLimits:
    """One limit for every caller, over a sliding window (an approximation from two counters a caller)."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError when the limit or the address of the counters cannot be read."""
        self._limit = _parsed(settings.rate_limit)
        self._here = SlidingWindowCounterRateLimiter(MemoryStorage())
        url = None if settings.rate_limit_url is None else settings.rate_limit_url.get_secret_value()
        self._shared = None if url is None or self._limit is None else _shared(url)
        self._rest_until = 0.0

    @property
    def waits_on_network(self) -> bool:
        """Whether `wait_for` may take milliseconds, and so belongs into a thread."""
        return self._shared is not None

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self._limit is not None

    def ping(self) -> None:
        """Raises UnavailableError when the counters that all processes share do not answer."""
        if self._shared is not None and not self._shared.storage.check():
            raise UnavailableError(
                "the Redis of AKIN_RATE_LIMIT_URL does not answer; until it does, each API process counts by itself"
            )

    def wait_for(self, caller: str) -> int:
        """Count one request; 0 when it may pass, else after how many whole seconds the next one may."""
        if self._limit is None:
            return 0
        if self._shared is not None and time.monotonic() >= self._rest_until:
            try:
                return _hit(self._shared, self._limit, caller)
            except StorageError as error:
                # Counting here alone lets through at most as many times the limit as there are processes.
                self._rest_until = time.monotonic() + _REST_SECONDS
                logger.warning("shared counters away; counting here", extra={"reason": type(error).__name__})
        return _hit(self._here, self._limit, caller)


def _hit(counters: SlidingWindowCounterRateLimiter, limit: RateLimitItem, caller: str) -> int:
    if counters.hit(limit, caller):
        return 0
    return max(1, math.ceil(counters.get_window_stats(limit, caller).reset_time - time.time()))


def _parsed(text: str) -> RateLimitItem | None:
    if not text.strip():
        return None
    try:
        limit = parse(text)
    except ValueError as error:
        raise SettingsError("AKIN_RATE_LIMIT is a number of requests and a time, such as 100/second") from error
    if limit.amount < 1:
        raise SettingsError("AKIN_RATE_LIMIT must let at least one request pass")
    return limit


def _shared(url: str) -> SlidingWindowCounterRateLimiter:
    options = {"socket_timeout": _TIMEOUT_SECONDS, "socket_connect_timeout": _TIMEOUT_SECONDS}
    try:
        storage = storage_from_string(url, wrap_exceptions=True, **options)
    except (ConfigurationError, ValueError, StorageError) as error:
        raise SettingsError("AKIN_RATE_LIMIT_URL is the address of a Redis, such as redis://host:6379/1") from error
    assert isinstance(storage, Storage)
    return SlidingWindowCounterRateLimiter(storage)
