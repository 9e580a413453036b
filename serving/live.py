"""Which generation answers now. Collection and encoder are read as one value, so no query ever mixes two."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Protocol, TypeVar

from ingest.documents import centred
from ingest.encoder.protocol import Encoder
from ingest.errors import NotFoundError, UnavailableError
from ingest.index.protocol import Collection, Index, Vector
from ingest.store.ledger import Ledger
from ingest.store.records import Generation

Answer = TypeVar("Answer")
_NOTHING_LIVE = "no generation is live yet; add items and wait for the first one, or run a reindex"
_SWITCHES = 3  # moves of the live pointer that one question survives


class Encoders(Protocol):
    """The encoder artifacts at hand, by fingerprint."""

    def get(self, fingerprint: str) -> Encoder:
        """The encoder with this fingerprint, loaded once. Raises ArtifactError when it is not at hand."""
        ...


@dataclass(frozen=True, kw_only=True)
class View:
    """One generation with all that belongs to it. A request takes one view and uses nothing else."""

    generation: Generation
    collection: Collection
    encoders: Encoders

    @property
    def encoder(self) -> Encoder:
        """The encoder this generation was built with; loaded when first asked for, as only searches need it."""
        return self.encoders.get(self.generation.fingerprint)

    def encode(self, text: str) -> Vector:
        """The vector of a query text, `(d,) float32`, centred as this generation's items are, unit length."""
        return centred(self.encoder.embed([text])[0], self.generation.mean)


class LiveIndex:
    """The live generation, read from the ledger at most every `refresh_seconds`."""

    def __init__(
        self,
        ledger: Ledger,
        index: Index,
        encoders: Encoders,
        *,
        refresh_seconds: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._index = index
        self._encoders = encoders
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._lock = Lock()
        self._view: View | None = None
        self._checked_at = 0.0

    def current(self) -> View:
        """The live view. Raises UnavailableError when no generation is live or the ledger does not answer."""
        view = self._view
        if view is None:
            return self.refresh()
        if self._clock() - self._checked_at < self._refresh_seconds or not self._lock.acquire(blocking=False):
            return view  # another request is looking already; this one need not wait
        try:
            return self._look(reopen=False)
        finally:
            self._lock.release()

    def encoder(self) -> Encoder:
        """The live generation's encoder, whether or not its index answers. Raises UnavailableError, ArtifactError."""
        generation = self._ledger.generations.live()
        if generation is None:
            raise UnavailableError(_NOTHING_LIVE)
        return self._encoders.get(generation.fingerprint)

    def refresh(self) -> View:
        """Read the live generation now and open its collection anew, should the handle have been closed."""
        with self._lock:
            return self._look(reopen=True)

    def ask(self, question: Callable[[View], Answer]) -> Answer:
        """Answer from the live view, and again from a fresh one when its handle was closed in between."""
        view = self.current()
        for _ in range(_SWITCHES):
            try:
                return question(view)
            except UnavailableError:
                fresh = self.refresh()
                if fresh.collection is view.collection:
                    raise  # nothing was switched: asking again would only wait again
                view = fresh
        return question(view)

    def _look(self, *, reopen: bool) -> View:
        generation = self._ledger.generations.live()
        if generation is None:
            self._view = None
            raise UnavailableError(_NOTHING_LIVE)
        view = self._view
        if view is None or reopen or view.generation.name != generation.name:
            view = View(generation=generation, collection=self._open(generation.name), encoders=self._encoders)
        self._view = view
        self._checked_at = self._clock()
        return view

    def _open(self, name: str) -> Collection:
        try:
            return self._index.open(name)
        except NotFoundError as error:  # to whoever asks this is no missing item but an index that has to be rebuilt
            raise UnavailableError(f"the index of the live generation {name} is not there") from error
