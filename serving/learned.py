"""What the last training learned beside the weights of items, read from the ledger every few seconds."""

import time
from collections.abc import Callable, Mapping

from ingest.scoring import BlendWeights
from ingest.settings import Settings
from ingest.store.ledger import Ledger


class Learned:
    """A training in any process counts here within `seconds`; what the settings say wins over it."""

    def __init__(
        self, ledger: Ledger, settings: Settings, *, seconds: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._given = settings
        self._seconds = seconds
        self._clock = clock
        self._weights = BlendWeights().under(settings)
        self._settings = settings
        self._rarities: Mapping[str, float] = {}
        self._stamp = ""
        self._rarities_until: float | None = None
        self._fresh_until: float | None = None

    def weights(self) -> BlendWeights:
        """What text and recent popularity count now."""
        self._refresh()
        return self._weights

    def settings(self) -> Settings:
        """The settings with what is usual in the catalogue and how histories fade; the same until that changes."""
        self._refresh()
        return self._settings

    def rarities(self) -> Mapping[str, float]:
        """What the text scores of items are multiplied by; 1 for those that are not in it."""
        if self._rarities_until is None or self._clock() >= self._rarities_until:
            changed = self._ledger.learned.rarities_since(self._stamp)
            if changed is not None:
                self._stamp, self._rarities = changed
            self._rarities_until = self._clock() + self._seconds
        return self._rarities

    def _refresh(self) -> None:
        if self._fresh_until is not None and self._clock() < self._fresh_until:
            return
        self._weights = self._ledger.learned.blend().under(self._given)
        found = self._ledger.learned.usual().under(self._given)
        found = found.model_copy(update={"history_fading": self._weights.fading})
        if found != self._settings:
            self._settings = found
        self._fresh_until = self._clock() + self._seconds
