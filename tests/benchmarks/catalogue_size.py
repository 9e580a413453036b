"""What an embedded catalogue of 10,000 to 1,000,000 items costs: time, memory, disk, and the pauses of the process.

    python -m tests.benchmarks.catalogue_size fill FOLDER ITEMS       into the ledger and the live index
    python -m tests.benchmarks.catalogue_size measure FOLDER          rebuild, queries, restart; prints one JSON object

Vectors are generated (384 dimensions, 64 topics) and remembered beforehand, as if the texts had been embedded already:
the encoder, a tiny model with random weights, costs nothing.
"""

import json
import resource
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from akin import worker
from ingest.catalogue import open_catalogue
from ingest.documents import document
from ingest.encoder.protocol import Vectors
from ingest.index.protocol import Collection, Query
from ingest.items import Item
from ingest.queue import NoQueue
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.submit import submit_items
from serving.latency import favour_latency
from tests.artifacts import export_tiny, write_tiny_bert

PAGE = 1_000
TOPICS = 64
DIMENSIONS = 384
YEARS = 50


def settings_of(folder: Path) -> Settings:
    encoder = folder / "encoder"
    if not encoder.exists():
        with TemporaryDirectory() as source:
            export_tiny(write_tiny_bert(Path(source), hidden=DIMENSIONS), encoder)
    return Settings(
        home=folder / "home", encoder=encoder, attributes={"year": "integer"}, reindex_crontab="", encoder_threads=1
    )


def items_with_vectors(n: int) -> Iterator[list[tuple[Item, Vectors]]]:
    chance = np.random.default_rng(1)
    topics = chance.normal(size=(TOPICS, DIMENSIONS)).astype(np.float32)
    for start in range(0, n, PAGE):
        count = min(PAGE, n - start)
        vectors = topics[chance.integers(TOPICS, size=count)] + chance.normal(size=(count, DIMENSIONS))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        yield [
            (Item(item_id=f"i{start + k}", title=f"title {start + k}", attributes={"year": k % YEARS}), v)
            for k, v in enumerate(vectors.astype(np.float32))
        ]


def fill(folder: Path, n: int) -> dict[str, Any]:
    settings = settings_of(folder)
    with open_catalogue(settings) as catalogue:
        ledger = catalogue.ledger
        live = ledger.generations.live()
        assert live is not None
        began = time.monotonic()
        for page in items_with_vectors(n):
            hashes = [document(item, 1, settings.text_template).content_hash for item, _ in page]
            ledger.placements.keep_vectors(live.fingerprint, dict(zip(hashes, (v for _, v in page), strict=True)))
            submit_items(ledger, NoQueue(), settings, [item for item, _ in page])
        loaded = time.monotonic()
        while due := [item_id for item_id, _ in ledger.pending.due(PAGE, put_off=60)]:
            catalogue.reconciler.reconcile(due)
        placed = time.monotonic()
        assert ledger.pending.count() == 0
    return {
        "items": n,
        "accepted_s": round(loaded - began, 1),
        "placed_s": round(placed - loaded, 1),
        "rss_mb": peak(resource.RUSAGE_SELF),
        "disk_mb": disk(settings.home),
    }


def measure(folder: Path) -> dict[str, Any]:
    settings = settings_of(folder)
    began = time.monotonic()
    with worker(settings) as (catalogue, _, reindexer, _):
        ledger, opened = catalogue.ledger, time.monotonic()
        collection = live_collection(ledger, catalogue.index)
        collection.query(Query(text=some_vectors(1)[0], limit=10))
        ready = time.monotonic()
        favour_latency()
        reindexer.request()
        with pauses() as longest:
            while ledger.generations.under_way():
                time.sleep(0.05)
        rebuilt = time.monotonic()
        newest = ledger.generations.list()[0]
        collection = live_collection(ledger, catalogue.index)
        took = [asked(collection, vector) for vector in some_vectors(200)]
        report = {
            "items": collection.count(),
            "restart_s": round(opened - began, 2),
            "first_answer_s": round(ready - began, 2),
            "rebuild_s": round(rebuilt - ready, 1),
            "state": str(newest.state),
            "gate": {check["name"]: check["value"] for check in newest.report.get("checks", ())},
            "longest_pause_ms": round(longest[0] * 1000, 1),
            "query_p50_ms": round(float(np.percentile(took, 50)) * 1000, 2),
            "query_p99_ms": round(float(np.percentile(took, 99)) * 1000, 2),
        }
    again = time.monotonic()
    with open_catalogue(settings) as catalogue:
        live_collection(catalogue.ledger, catalogue.index).query(Query(text=some_vectors(1)[0], limit=10))
        report["restart_after_rebuild_s"] = round(time.monotonic() - again, 2)
    return report | {
        "rss_mb": peak(resource.RUSAGE_SELF),
        "child_rss_mb": peak(resource.RUSAGE_CHILDREN),
        "disk_mb": disk(settings.home),
    }


@contextmanager
def pauses() -> Iterator[list[float]]:
    """The longest time that a thread which wants 1 ms of sleep was kept waiting beyond it."""
    longest, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.is_set():
            began = time.perf_counter()
            time.sleep(0.001)
            longest[0] = max(longest[0], time.perf_counter() - began - 0.001)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield longest
    finally:
        stop.set()
        watching.join()


def live_collection(ledger: Ledger, index: Any) -> Collection:
    live = ledger.generations.live()
    assert live is not None
    found: Collection = index.open(live.name)
    return found


def asked(collection: Collection, vector: Vectors) -> float:
    began = time.perf_counter()
    assert len(collection.query(Query(text=vector, limit=10))) == 10
    return time.perf_counter() - began


def some_vectors(n: int) -> Sequence[Vectors]:
    vectors = np.random.default_rng(2).normal(size=(n, DIMENSIONS)).astype(np.float32)
    return list(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def peak(who: int) -> int:
    return resource.getrusage(who).ru_maxrss // 1024


def disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 2**20


if __name__ == "__main__":
    what, where, *more = sys.argv[1:]
    print(json.dumps(fill(Path(where), int(more[0])) if what == "fill" else measure(Path(where))))
