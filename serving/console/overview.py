"""What an operator wants to see at a glance: what is placed, what waits, since when, and what answers."""

import time
from collections.abc import Callable
from dataclasses import asdict
from threading import Lock
from typing import Any

from ingest.build import BuildProgress
from ingest.encoder.artifact import Manifest
from ingest.errors import AkinError, UnavailableError
from ingest.queue import Queue
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import Generation
from serving.live import LiveIndex


class Overview:
    """The counts of an installation, read from the ledger at most every `seconds`: counting is dear in a large one."""

    def __init__(
        self,
        ledger: Ledger,
        live: LiveIndex,
        settings: Settings,
        *,
        queue: Queue,
        progress: Callable[[], BuildProgress | None] = lambda: None,
        manifest: Callable[[str], Manifest | None] = lambda _: None,
        seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._live = live
        self._settings = settings
        self._queue = queue
        self._progress = progress
        self._manifest = manifest
        self._seconds = seconds
        self._clock = clock
        self._lock = Lock()
        self._counts: dict[str, Any] | None = None
        self._fresh_until = 0.0

    def read(self) -> dict[str, Any]:
        """Everything as plain values. A generation that cannot be read is a `trouble` in words, not an error."""
        generation = self._ledger.generations.live()
        return {
            **self._counted(generation),
            "generation": generation.name if generation else None,
            "building": self._building(),
            "trouble": self._trouble(),
            "encoder": self._encoder(generation),
            "attributes": {name: str(kind) for name, kind in self._settings.attributes.items()},
            "event_types": sorted(self._settings.event_weights),
        }

    def _counted(self, generation: Generation | None) -> dict[str, Any]:
        with self._lock:
            if self._counts is None or self._clock() >= self._fresh_until:
                self._counts = self._count(generation)
                self._fresh_until = self._clock() + self._seconds
            return self._counts

    def _count(self, generation: Generation | None) -> dict[str, Any]:
        ledger = self._ledger
        return {
            "items": ledger.items.count(),
            "placed": ledger.placements.count(generation.name) if generation else 0,
            "pending": ledger.pending.count(),
            "oldest_pending_seconds": ledger.pending.oldest_age_seconds(),
            "set_aside": ledger.pending.count_set_aside(),
            "events": ledger.events.count(),
            "queue_messages": self._queue.depth(),
        }

    def _building(self) -> dict[str, Any] | None:
        progress = self._progress()
        return None if progress is None else asdict(progress)

    def _trouble(self) -> str | None:
        try:
            self._live.ask(lambda view: view.collection.count())
        except UnavailableError as error:
            return str(error)
        except AkinError as error:
            return f"{error.code}: {error}"
        return None

    def _encoder(self, generation: Generation | None) -> dict[str, Any] | None:
        if generation is None:
            return None
        manifest = self._manifest(generation.fingerprint)
        said = {} if manifest is None else _summary(manifest)
        return {"fingerprint": generation.fingerprint, "dimensions": generation.dimensions, **said}


def _summary(manifest: Manifest) -> dict[str, Any]:
    fidelity = manifest.fidelity
    return {
        "source": manifest.source,
        "recipe": manifest.recipe,
        "licence": manifest.licence,
        "max_tokens": manifest.max_tokens,
        "fidelity": asdict(fidelity) if fidelity is not None else None,
    }
