"""A process that takes generations further, and kills itself at a named point.

A build, which has a process of its own otherwise, runs inside this one, so that the point takes everything along.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ingest.reindex
from akin import load_settings, open_resources
from ingest.build import Built, build
from ingest.catalogue import open_catalogue, put_in_order
from ingest.encoder.library import EncoderLibrary
from ingest.errors import SupersededError, UnavailableError
from ingest.index.engines import open_index
from ingest.index.server import ServerIndex
from ingest.index.server_collection import ServerCollection
from ingest.settings import Settings
from ingest.store.generations import GenerationStore
from ingest.store.leases import UPKEEP
from ingest.store.ledger import open_ledger
from ingest.store.placements import PlacementStore
from ingest.sweep import sweep


@dataclass(frozen=True)
class Point:
    """Before or after the n-th call of a method."""

    owner: Any
    method: str
    after: bool
    nth: int = 1


# In the order in which a reindex reaches them.
POINTS = {
    "generation begun": Point(GenerationStore, "begin", after=True),
    "collection not yet made": Point(ServerIndex, "create", after=False),
    "collection made, spec not written": Point(ServerIndex, "_create", after=False, nth=2),
    "collection made": Point(ServerIndex, "create", after=True),
    "mean embedded": Point(PlacementStore, "vectors", after=True, nth=3),
    "build handed over": Point(GenerationStore, "catch_up", after=False),
    "catching up": Point(GenerationStore, "catch_up", after=True),
    "10 % loaded": Point(ServerCollection, "upsert", after=True, nth=2),
    "loaded and not recorded": Point(PlacementStore, "record", after=False, nth=4),
    "half loaded": Point(ServerCollection, "upsert", after=True, nth=10),
    "90 % loaded": Point(ServerCollection, "upsert", after=True, nth=18),
    "graph asked for": Point(ServerCollection, "optimise", after=True),
    "judged": Point(ingest.reindex, "judge", after=True),
    "before the switch": Point(GenerationStore, "go_live", after=False),
    "after the switch": Point(GenerationStore, "go_live", after=True),
    "old generation forgotten": Point(GenerationStore, "forget", after=True),
    "old collection dropped": Point(ServerIndex, "drop", after=True, nth=2),  # a build begins with the first
}


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: Point) -> None:
    right = getattr(point.owner, point.method)
    calls = 0

    def armed(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == point.nth and not point.after:
            die()
        result = right(*args, **kwargs)
        if calls == point.nth and point.after:
            die()
        return result

    setattr(point.owner, point.method, armed)


def arm_half_made() -> None:
    """Die between the collection and its spec, as a crash between two requests does."""
    from qdrant_client import QdrantClient

    QdrantClient.update_collection = die


class WorkAtOnce:
    """Does the work of a message instead of sending it."""

    def __init__(self, reconcile: Callable[[Any], Any]) -> None:
        self.reconcile = reconcile

    def wake(self, item_ids: Any) -> bool:
        with suppress(UnavailableError):  # as the task does: what is not done stays pending
            self.reconcile(item_ids)
        return True

    def ping(self) -> None: ...


class BuildHere:
    """A build inside this process, in place of the child."""

    def __init__(self, _what: str, _outcome: type[Built], _main: Any, settings: Settings, generation: str) -> None:
        with open_ledger(settings.ledger_url) as ledger, EncoderLibrary(settings.home, 1) as encoders:
            index = open_index(settings)
            found = ledger.generations.get(generation)
            self.built = build(settings, ledger, index, encoders, found, lambda *_: None)
            index.shut()

    def poll(self, _heard: Any) -> Built:
        return self.built

    def stop(self) -> None: ...


def run(environment: Mapping[str, str], point: str | None, *, reindex: bool) -> None:
    """Take the upkeep, begin a generation when asked to, and work until nothing is left to do."""
    os.environ.update(environment)
    ingest.reindex.Child = BuildHere
    if point == "collection made, spec not written":
        arm_half_made()
    elif point:
        arm(POINTS[point])
    settings = load_settings()
    with open_catalogue(settings) as catalogue, open_resources(settings) as resources:
        ledger = catalogue.ledger
        fence = None
        while fence is None:
            fence = ledger.leases.acquire(UPKEEP, holder=str(os.getpid()), seconds=2)
            time.sleep(0.05)
        put_in_order(catalogue)
        if reindex:
            resources.reindexer.request()
        while ledger.generations.under_way() or ledger.pending.count():
            fence = ledger.leases.acquire(UPKEEP, holder=str(os.getpid()), seconds=2)
            if fence is not None:  # else a step took longer than the lease, and another process has taken over
                ledger.pending.make_due()
                sweep(settings, ledger, WorkAtOnce(resources.reconciler.reconcile))
                with suppress(SupersededError):  # as the upkeep does: it stands back, and takes over again or is done
                    resources.reindexer.advance(fence)
            time.sleep(0.02)
