"""The wake-up signal. Losing it loses nothing: the ledger knows what is pending, and the sweep finds it."""

from collections.abc import Sequence
from typing import Protocol


class Queue(Protocol):
    """Tells workers that there is work; carries ids only, never state."""

    def wake(self, item_ids: Sequence[str]) -> None:
        """Ask that these items be reconciled soon. Never raises: what is not delivered is swept up later."""
        ...
