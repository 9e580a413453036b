"""The life of a generation: begun, built, caught up, judged, made live or refused; and rolling back to one before.

Every step can be repeated after a crash: where a generation stands is in the ledger, and a build that lost its process
starts again.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from ingest.build import LEAST_ITEMS_FOR_MEAN, BuildProgress, Built, build_in_child
from ingest.child import Child, Failed
from ingest.documents import say_left_out
from ingest.encoder.library import EncoderLibrary
from ingest.errors import AkinError, ConflictError, SupersededError, UnavailableError
from ingest.gate import Evaluate, judge
from ingest.index.protocol import Index
from ingest.own_collections import own_collections
from ingest.reconcile import RETRY_SECONDS
from ingest.settings import Settings
from ingest.store.generations import SETTLED, NewGeneration
from ingest.store.leases import Fence
from ingest.store.ledger import Ledger
from ingest.store.records import Generation, GenerationState

logger = logging.getLogger(__name__)

GROWTH_THAT_REBUILDS = 2.0
MUCH = 1_000  # pending items
LOOK_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 300.0  # between two builds that found a dependency away
MOST_LOSSES = 16  # of one generation's builds: four items at four losses each, and more is not the items' fault
RETRY_REBUILD = timedelta(hours=1)
ROLLED_BACK = "rolled back meanwhile"


class Reindexer:
    """Builds generations beside the live one and switches over. One per installation does the work; see `advance`."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        index: Index,
        encoders: EncoderLibrary,
        evaluate: Evaluate,
        went_live: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._index = index
        self._encoders = encoders
        self._evaluate = evaluate
        self._went_live = went_live
        self._lock = threading.Lock()
        # Going back must not wait for a judgement, during which `_lock` is held; what both do in the end is brief.
        self._switching = threading.Lock()
        self._child: Child[Built] | None = None
        self._child_builds = ""
        self._losses = self._waits = 0  # of the builds of that generation
        self._build_at = 0.0
        self._look_at = 0.0
        self.progress: BuildProgress | None = None

    def request(self) -> Generation:
        """Begin a generation with the configured encoder, or return the one that is under way already."""
        if under_way := self._ledger.generations.under_way():
            return under_way
        new = self._new_generation()
        try:
            generation = self._ledger.generations.begin(new)
        except ConflictError:
            return self._ledger.generations.under_way() or self._ledger.generations.get(new.name)
        logger.info("generation begun", extra={"generation": generation.name})
        return generation

    def request_nightly(self) -> Generation | None:
        """Begin the generation of today (UTC, by the ledger's clock), unless today has had its own: then None."""
        generation = self._ledger.generations.begin_nightly(self._new_generation())
        if generation is not None:
            logger.info("nightly generation begun", extra={"generation": generation.name})
        return generation

    def advance(self, fence: Fence | None = None) -> Generation | None:
        """Take the generation under way one step further without waiting; returns it, or None when there is none.

        With a fence, raises SupersededError and changes nothing once its lease went to another process.
        """
        with self._lock:
            generation = self._ledger.generations.under_way()
            if self._child is not None and (generation is None or generation.name != self._child_builds):
                self._stop_child()  # somebody went back, and what it builds is not wanted any more
            if generation is None:
                return None
            try:
                if generation.state is GenerationState.BUILDING:
                    self._build(generation, fence)
                elif self._caught_up(generation):
                    self._finish(generation, fence)
            except SupersededError:
                raise
            except UnavailableError as error:
                logger.warning("reindex waits", extra={"generation": generation.name, "reason": str(error)})
            except ConflictError as error:  # somebody went back while it was judged, or deleted it since
                logger.warning("generation not wanted", extra={"generation": generation.name, "reason": str(error)})
            except AkinError as error:
                self._end(generation, GenerationState.FAILED, {"reason": str(error)}, fence)
            return generation

    def activate(self, name: str) -> Generation:
        """Make a complete generation live again. What it missed is deleted before, and placed right after, the switch.

        One that is under way is refused, as it would undo this within moments.

        Raises NotFoundError for one that does not exist or whose index is gone, ConflictError for one not complete.
        """
        generation = self._ledger.generations.get(name)
        if generation.state is GenerationState.LIVE:
            return generation
        if generation.state is not GenerationState.RETIRED:
            raise ConflictError(f"generation {name} is {generation.state}; only one that was live can be activated")
        self._encoders.get(generation.fingerprint)
        with self._switching:
            collection = self._index.open(name)
            collection.delete(self._ledger.placements.deleted_but_present(name))
            # Without a fence: whoever asks may, whichever process it is.
            self._switch(generation, dict(generation.report), fence=None, instead_of=ROLLED_BACK)
        return self._ledger.generations.get(name)

    def discard(self, name: str) -> None:
        """Delete a generation that is not needed any more, and what it stored. Raises NotFoundError, ConflictError."""
        generation = self._ledger.generations.get(name)
        if generation.state not in SETTLED:
            raise ConflictError(f"generation {name} is {generation.state}; only one that is not at work can be deleted")
        with self._switching:
            if not self._ledger.generations.forget(name):
                raise ConflictError(f"generation {name} was made live, or deleted, at this moment; it is left as it is")
            self._index.drop(name)
        self._ledger.placements.collect_vectors()

    def rebuild_is_due(self) -> bool:
        """Embedded: whether the live index has outgrown what was optimised when it was built, and all is quiet."""
        live = self._ledger.generations.live()
        if live is None or self._ledger.generations.under_way() or self._ledger.pending.count():
            return False
        newest, *_ = generations = self._ledger.generations.list()
        newer = takewhile(lambda g: g.name != live.name, generations)
        if any(g.state is GenerationState.RETIRED for g in newer):
            return False  # somebody went back from it, and a rebuild would undo that
        ended_badly = newest.state in (GenerationState.REFUSED, GenerationState.FAILED)
        if ended_badly and datetime.now(UTC) - newest.created_at < RETRY_REBUILD:
            return False  # at once, it would most likely end the same way
        collection = self._index.open(live.name)
        grown = collection.count() >= max(LEAST_ITEMS_FOR_MEAN, GROWTH_THAT_REBUILDS * live.items)
        return grown or collection.unindexed() > self._settings.rebuild_unindexed

    def close(self) -> None:
        """Stop a build that is under way; it starts again when akin does."""
        with self._lock:
            if self._child is not None:
                self._stop_child()
                with suppress(UnavailableError):  # that it was stopped is no fault of what it was embedding
                    self._ledger.generations.forget_attempts(self._child_builds)

    def _stop_child(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = self.progress = None

    def _new_generation(self) -> NewGeneration:
        fingerprint, dimensions = configured_encoder(self._settings, self._ledger, self._encoders)
        return NewGeneration(
            name=self._ledger.generations.new_name(),
            fingerprint=fingerprint,
            dimensions=dimensions,
            attributes=self._settings.attributes,
        )

    def _build(self, generation: Generation, fence: Fence | None) -> None:
        if self._child is None:
            if self._child_builds != generation.name:
                self._losses, self._waits, self._build_at = 0, 0, 0.0
            if time.monotonic() < self._build_at:
                return
            self._ledger.placements.forget(generation.name)
            self._child_builds = generation.name
            self._child = Child("build", Built, build_in_child, self._settings, generation.name)
            return
        outcome = self._child.poll(self._heard)
        if outcome is None:
            return
        self._child = self.progress = None
        if isinstance(outcome, Failed):
            self._build_again_or_end(generation, outcome, fence)
            return
        if outcome.untrained:
            logger.error("taste not trained", extra={"reason": outcome.untrained})
        self._index.open(generation.name)
        say_left_out(generation, outcome.left_out)
        missed = self._ledger.generations.catch_up(
            generation.name, mean=outcome.mean, items=outcome.items, job_id=generation.name, fence=fence
        )
        logger.info("generation built", extra={"generation": generation.name, "items": outcome.items, "missed": missed})

    def _build_again_or_end(self, generation: Generation, failed: Failed, fence: Fence | None) -> None:
        """Begin once more where a dependency was away, or where a text may be what ended the process; else end it."""
        if failed.away:
            self._build_at = time.monotonic() + min(LONGEST_WAIT_SECONDS, RETRY_SECONDS * 2.0**self._waits)
            self._waits += 1
            raise UnavailableError(failed.reason)
        if failed.lost and self._losses < MOST_LOSSES and self._ledger.generations.attempts(generation.name):
            self._losses += 1
            logger.warning("build begun again", extra={"generation": generation.name, "reason": failed.reason})
            return
        self._end(generation, GenerationState.FAILED, {"reason": failed.reason}, fence)

    def _heard(self, progress: BuildProgress) -> None:
        self.progress = progress

    def _caught_up(self, generation: Generation) -> bool:
        """Whether it holds everything that the live one holds; what it misses is made pending."""
        # Looking compares the whole catalogue: not every second while workers still have much to do.
        if self._ledger.pending.count() > MUCH and time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._ledger.generations.missing(generation.name, job_id=generation.name)
        return self._ledger.generations.lagging(generation.name) == 0

    def _finish(self, generation: Generation, fence: Fence | None) -> None:
        collection = self._index.open(generation.name)
        if not self._settings.embedded:
            collection.optimise()
            if collection.unindexed():
                return  # the server builds its graph; the gate looks at it when that is done
        verdict = judge(self._settings, self._ledger, generation, collection, self._evaluate)
        if verdict.passed:
            with self._switching:
                self._switch(generation, dict(verdict.report()), fence)
            self._went_live()
        else:
            self._end(generation, GenerationState.REFUSED, dict(verdict.report()), fence)

    def _switch(
        self, generation: Generation, report: dict[str, object], fence: Fence | None, instead_of: str | None = None
    ) -> None:
        """The caller holds `_switching`."""
        previous = self._ledger.generations.go_live(
            generation.name, job_id=generation.name, report=report, fence=fence, instead_of=instead_of
        )
        if previous is not None:
            self._index.close(previous)
        logger.info("generation live", extra={"generation": generation.name})
        self._collect()

    def _end(
        self, generation: Generation, state: GenerationState, report: dict[str, object], fence: Fence | None
    ) -> None:
        ended = self._ledger.generations.close(generation.name, state, report, fence=fence)
        self._index.close(generation.name)
        if not ended:
            return
        logger.error("generation not live", extra={"generation": generation.name, "state": state, "report": report})

    def _collect(self) -> None:
        """Drop what is not kept: old generations, earlier refused and failed ones, own collections without a row."""
        kept = generations_to_keep(self._ledger.generations.list(), self._settings.keep_generations)
        for generation in self._ledger.generations.list():
            # Its row first: from then on nobody can make it live, and a collection without a row goes below.
            if generation.name not in kept and self._ledger.generations.forget(generation.name):
                self._index.drop(generation.name)
        mine = own_collections(self._settings, self._ledger, self._index)
        for name in mine - {g.name for g in self._ledger.generations.list()}:
            self._index.drop(name)
        self._ledger.placements.collect_vectors()


def generations_to_keep(generations: Sequence[Generation], complete: int) -> set[str]:
    """Names to keep of generations given newest first: those at work, the `complete` last live, the last not live."""
    at_work = [g for g in generations if g.state not in SETTLED]
    retired = sorted(
        (g for g in generations if g.state is GenerationState.RETIRED),
        key=lambda g: g.live_at or g.created_at,
        reverse=True,
    )
    ended = [g for g in generations if g.state in (GenerationState.REFUSED, GenerationState.FAILED)]
    return {g.name for g in [*at_work, *retired[: complete - 1], *ended[:1]]}


def configured_encoder(settings: Settings, ledger: Ledger, encoders: EncoderLibrary) -> tuple[str, int]:
    """Fingerprint and dimensions of the encoder that new generations are built with.

    That is the configured artifact, or the live generation's encoder when no artifact is there.
    """
    live = ledger.generations.live()
    if live is not None and not settings.encoder_folder.exists():
        return live.fingerprint, live.dimensions
    artifact = encoders.install(settings.encoder_folder)
    return artifact.fingerprint, artifact.manifest.dimensions
