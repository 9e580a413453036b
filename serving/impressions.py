"""How often items were shown lately, read from the log of answers every minute."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from ingest.store.ledger import Ledger
from serving.recounted import Recounted

_ANSWERS = 10_000  # the latest, over which impressions are counted


class Impressions:
    """Counts over the latest answers of every process; an answer counts within `seconds`. Thread-safe.

    With an executor, nobody but the first waits for a count.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        seconds: float = 60.0,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counts = Recounted(
            lambda: ledger.recommendations.impressions(_ANSWERS), seconds=seconds, executor=executor, clock=clock
        )

    def counts(self) -> Mapping[str, int]:
        """By item; items that were not shown are not in it."""
        return self._counts()
