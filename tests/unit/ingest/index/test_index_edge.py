"""Qdrant Edge alone: what becomes of its folder, and what its graph finds."""

import itertools
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from ingest.errors import NotFoundError, StorageFullError, UnavailableError
from ingest.index.edge import EdgeIndex
from ingest.index.edge_shard import GRAPH_THRESHOLD
from ingest.index.filter_parser import parse_filter
from ingest.index.protocol import CollectionSpec, Point, Query, UnreadableCollectionError
from ingest.items import AttributeType
from tests.contract.index_fixtures import SPEC, best, edge_folder, points, unit_vectors

__all__ = ["edge_folder"]


def build_in_child(folder: Path, n: int) -> None:
    """What a rebuild does: fill a collection in another process and close it."""
    index = EdgeIndex(folder)
    built = index.create("built", SPEC)
    built.upsert(points(unit_vectors(n)))
    built.optimise()
    index.close("built")


def write_until_killed(folder: Path, acknowledged: Path) -> None:
    """Upsert for ever, noting each batch only after it was acknowledged."""
    written = EdgeIndex(folder).create("written", SPEC)
    vectors = unit_vectors(64)
    with acknowledged.open("a") as note:
        for start in itertools.count(step=64):
            batch = [
                Point(item_id=str(start + i), text=vector, attributes={"year": start})
                for i, vector in enumerate(vectors)
            ]
            written.upsert(batch)
            note.write(f"{start}\n")
            note.flush()
            os.fsync(note.fileno())


def test_a_collection_built_in_a_child_process_is_opened_by_the_parent(edge_folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=build_in_child, args=(edge_folder, 300))
    child.start()
    child.join(timeout=60)

    assert child.exitcode == 0
    index = EdgeIndex(edge_folder)
    assert index.names() == ["built"]
    assert index.open("built").count() == 300
    index.close("built")


@pytest.mark.parametrize("seconds", [0.3, 0.8])
def test_every_acknowledged_point_survives_kill_minus_nine(edge_folder: Path, tmp_path: Path, seconds: float) -> None:
    acknowledged = tmp_path / "acknowledged"
    acknowledged.touch()
    child = multiprocessing.get_context("spawn").Process(target=write_until_killed, args=(edge_folder, acknowledged))
    child.start()
    deadline = time.monotonic() + 60
    while not acknowledged.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(seconds)
    child.kill()
    child.join(timeout=10)

    starts = [int(line) for line in acknowledged.read_text().splitlines()]
    expected = {str(start + i) for start in starts for i in range(64)}
    index = EdgeIndex(edge_folder)
    assert expected
    assert expected <= set(index.open("written").ids())
    index.close("written")


def test_a_second_process_is_told_that_the_collection_is_held(edge_folder: Path) -> None:
    holder = EdgeIndex(edge_folder)
    holder.create("held", SPEC)

    with pytest.raises(UnavailableError, match="another process") as refused:
        EdgeIndex(edge_folder).open("held")

    assert not isinstance(refused.value, UnreadableCollectionError)
    holder.close("held")


@pytest.mark.parametrize(
    "damage", ["wal/open-1", "edge_config.json", "segments/*/vector_storage-text/vectors/status.dat"]
)
def test_a_damaged_collection_is_named_set_aside_and_built_anew(edge_folder: Path, damage: str) -> None:
    index = EdgeIndex(edge_folder)
    index.create("g", SPEC).upsert(points(unit_vectors(10)))
    index.create("other", SPEC)
    index.close("g")
    for file in (edge_folder / "g" / "shard").glob(damage):
        file.write_bytes(b"")

    with pytest.raises(UnreadableCollectionError):
        index.open("g")
    with pytest.raises(UnreadableCollectionError):
        index.open("g")

    index.quarantine("g")
    assert (edge_folder / "g.unreadable-1").is_dir()
    assert index.names() == ["other"]
    assert index.create("g", SPEC).count() == 0
    index.quarantine("g")
    assert (edge_folder / "g.unreadable-2").is_dir()
    with pytest.raises(NotFoundError):
        index.quarantine("g")
    index.close("other")


def test_a_damaged_spec_is_an_unreadable_collection(edge_folder: Path) -> None:
    index = EdgeIndex(edge_folder)
    index.create("g", SPEC)
    index.close("g")
    (edge_folder / "g" / "spec.json").write_bytes(b'{"dimensions": 8')

    with pytest.raises(UnreadableCollectionError):
        index.open("g")


def test_a_half_made_collection_is_no_collection_and_is_replaced(edge_folder: Path) -> None:
    index = EdgeIndex(edge_folder)
    index.create("whole", SPEC)
    index.create("half", SPEC)
    index.close("half")
    (edge_folder / "half" / "spec.json").unlink()
    (edge_folder / "bare").mkdir()

    assert index.names() == ["whole"]
    assert index.open("whole").count() == 0
    for name in ("half", "bare"):
        with pytest.raises(NotFoundError):
            index.open(name)
        assert index.create(name, SPEC).count() == 0
        index.close(name)
    index.close("whole")


def test_writes_stop_before_the_disk_is_full(edge_folder: Path) -> None:
    roomy = EdgeIndex(edge_folder)
    roomy.create("g", SPEC).upsert(points(unit_vectors(3)))
    roomy.close("g")
    full = EdgeIndex(edge_folder, min_free_bytes=2**62)
    collection = full.open("g")

    for write in (
        lambda: collection.upsert(points(unit_vectors(4))),
        lambda: collection.delete(["0"]),
        collection.optimise,
        lambda: full.create("h", SPEC),
    ):
        with pytest.raises(StorageFullError):
            write()

    assert len(collection.query(Query(text=unit_vectors(1)[0], limit=9))) == 3
    full.close("g")


def test_unindexed_counts_what_was_written_since_the_graph_was_built(edge_folder: Path) -> None:
    n = GRAPH_THRESHOLD + 500
    vectors = unit_vectors(n)
    index = EdgeIndex(edge_folder)
    collection = index.create("g", SPEC)
    collection.upsert(points(vectors))
    assert collection.unindexed() == n

    collection.optimise()
    assert collection.unindexed() == 0
    collection.upsert(points(vectors[:300]))  # replaced points leave the graph
    collection.delete(["0", "1", str(n - 1)])

    assert collection.count() == n - 3
    assert collection.unindexed() == 298
    index.close("g")
    assert index.open("g").unindexed() == 298
    index.close("g")


def test_a_graph_finds_what_a_scan_finds(edge_folder: Path) -> None:
    n = GRAPH_THRESHOLD + 2_000
    vectors = unit_vectors(n, dimensions=32)
    index = EdgeIndex(edge_folder)
    collection = index.create("g", CollectionSpec(dimensions=32, attributes={"part": AttributeType.INTEGER}))
    collection.upsert(points(vectors, [{"part": i % 1_000} for i in range(n)]))
    collection.optimise()
    found = []

    for text in unit_vectors(100, dimensions=32, seed=5):
        exact = collection.query(Query(text=text, limit=10, exact=True))
        assert [hit.item_id for hit in exact] == best(vectors, text)[:10]
        found.append(
            len({h.item_id for h in exact} & {h.item_id for h in collection.query(Query(text=text, limit=10))})
        )

    assert np.mean(found) >= 9.9
    rare = parse_filter({"eq": {"part": 7}}, {"part": AttributeType.INTEGER})
    assert len(collection.query(Query(text=vectors[0], limit=50, filter=rare))) == 12  # all there are
    order = best(vectors, vectors[0])
    hits = collection.query(Query(text=vectors[0], limit=10, exclude_ids=order[:5_000]))
    assert len(hits) == 10
    assert not {hit.item_id for hit in hits} & set(order[:5_000])
    index.close("g")
