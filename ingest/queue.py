"""The wake-up signal. Losing it loses nothing: the ledger knows what is pending, and the sweep finds it."""

from collections.abc import Sequence
from typing import Protocol


class Queue(Protocol):
    """Tells workers that there is work; carries ids only, never state."""

    def wake(self, item_ids: Sequence[str]) -> bool:
        """Ask that these items be reconciled soon, as one batch. Never raises; False says that nobody was told."""
        ...

    def ping(self) -> None:
        """Raises UnavailableError when the broker does not answer."""
        ...

    def depth(self) -> int | None:
        """How many messages wait; None where that cannot be said now. Never raises."""
        ...


class NoQueue:
    """For a process that only writes to the ledger: whoever runs the sweep will find what it wrote."""

    def wake(self, item_ids: Sequence[str]) -> bool:
        """Tell nobody."""
        del item_ids
        return False

    def ping(self) -> None:
        """There is nothing that could fail to answer."""

    def depth(self) -> int | None:
        """There is no queue."""
        return None
