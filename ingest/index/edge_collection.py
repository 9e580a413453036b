"""One open collection of Qdrant Edge: its points written, asked and read. Part of the Edge adapter."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import qdrant_edge as edge

from ingest.disk import check_free_space
from ingest.durable import write_durably
from ingest.errors import UnavailableError
from ingest.index.checks import check_filter, check_points, check_query, check_taste
from ingest.index.edge_errors import translated
from ingest.index.edge_filters import compile_filter
from ingest.index.edge_shard import (
    EPOCH,
    GRAPH_THRESHOLD,
    PAGE,
    as_edge_point,
    ask,
    end_with_a_small_write,
    hits_of,
    replace_taste,
    scroll,
    search,
)
from ingest.index.filters import Filter
from ingest.index.graph import item_id_of, text_vector_of
from ingest.index.protocol import CollectionSpec, Hit, Point, Query, SparseVector, Vector, point_id
from ingest.index.timing import timed_query

_CHUNK = 256  # points per call: the binding holds the interpreter for as long as a call takes
_SPARE = 100  # excluded ids that are fetched and dropped before a filter over ids is worth its price


class EdgeCollection:
    """One open collection. Reads run side by side, writes one after the other; made by `EdgeIndex` only."""

    def __init__(self, folder: Path, shard: edge.EdgeShard, spec: CollectionSpec, min_free_bytes: int) -> None:
        self._folder = folder
        self._spec = spec
        self._min_free_bytes = min_free_bytes
        self._handle = _Handle(shard, folder.name)
        self._writing = threading.Lock()
        self._epoch = _read_epoch(folder)

    @property
    def average_length(self) -> float | None:
        """Words per item that its word weights are made by; None: it holds no words."""
        return self._spec.average_length

    def upsert(self, points: Sequence[Point]) -> None:
        """Insert or replace; durable when it returns. Nothing is applied when any point is invalid."""
        payloads = check_points(points, self._spec)
        with self._writing, self._handle.use("store points") as shard:
            for start in range(0, len(points), _CHUNK):
                check_free_space(self._folder, self._min_free_bytes)
                chunk = slice(start, start + _CHUNK)
                pairs = zip(points[chunk], payloads[chunk], strict=True)
                stored = [as_edge_point(point, payload, self._epoch) for point, payload in pairs]
                shard.update(edge.UpdateOperation.upsert_points(stored))
            # The write-ahead log survives the process without a flush, but not the loss of power.
            shard.flush()

    def set_taste(self, weights: Mapping[str, SparseVector]) -> None:
        """Replace taste vectors and nothing else. A changed point leaves the graph, so it counts as unindexed."""
        check_taste(weights)
        with self._writing, self._handle.use("store weights") as shard:
            there = self.matching_ids(list(weights), None)  # the engine fails half way through on ids it does not have
            known = [item_id for item_id in weights if item_id in there]
            for start in range(0, len(known), _CHUNK):
                check_free_space(self._folder, self._min_free_bytes)
                replace_taste(
                    shard, {item_id: weights[item_id] for item_id in known[start : start + _CHUNK]}, self._epoch
                )
            shard.flush()

    def delete(self, item_ids: Sequence[str]) -> None:
        """Remove; ids that are not there are no error. Durable when it returns."""
        with self._writing, self._handle.use("delete points") as shard:
            for start in range(0, len(item_ids), _CHUNK):
                check_free_space(self._folder, self._min_free_bytes)
                ids: list[Any] = [point_id(item_id) for item_id in item_ids[start : start + _CHUNK]]
                shard.update(edge.UpdateOperation.delete_points(ids))
            shard.flush()

    @timed_query
    def query(self, query: Query) -> list[Hit]:
        """Best first; ties in any order. Never fewer than `limit` when enough points pass."""
        check_query(query, self._spec)
        excluded = frozenset(query.exclude_ids)
        with self._handle.use("answer a query") as shard:
            # A filter over ids costs more than a few more results, which are dropped here (docs/decisions/0004).
            fetched = query.limit + min(len(excluded), _SPARE)
            found = ask(shard, query, limit=fetched)
            hits = hits_of(found, query, without=excluded)
            if len(hits) < query.limit and len(found) == fetched:
                hits = search(shard, query, limit=query.limit, excluded=excluded)
            graph = query.text is not None and query.among is None and not query.exact
            short = len(hits) < query.limit and query.min_score is None and graph
            if short and shard.info().indexed_vectors_count:  # a graph may miss points, a scan does not
                hits = search(shard, query, limit=query.limit, excluded=excluded, exact=True)
        return hits[: query.limit]

    def vectors(self, item_ids: Sequence[str]) -> dict[str, Vector]:
        """The text vectors, `(dimensions,)` float32, of those ids that are there."""
        found: dict[str, Vector] = {}
        with self._handle.use("read vectors") as shard:
            for start in range(0, len(item_ids), PAGE):
                ids: list[Any] = [point_id(item_id) for item_id in item_ids[start : start + PAGE]]
                records = shard.retrieve(ids, with_payload=["item_id"], with_vector=["text"])
                found.update((item_id_of(record), text_vector_of(record)) for record in records)
        return found

    def matching_ids(self, item_ids: Sequence[str], filter_: Filter | None) -> set[str]:
        """Those of `item_ids` that are there and pass the filter."""
        check_filter(filter_)
        found: set[str] = set()
        with self._handle.use("filter points") as shard:
            for start in range(0, len(item_ids), PAGE):
                among = edge.HasIdCondition({point_id(item_id) for item_id in item_ids[start : start + PAGE]})
                conditions = [among] if filter_ is None else [among, compile_filter(filter_)]
                records, _ = scroll(shard, edge.Filter(must=conditions), None)
                found.update(map(item_id_of, records))
        return found

    def count(self) -> int:
        """How many points there are."""
        with self._handle.use("count points") as shard:
            return shard.count(edge.CountRequest(exact=True))

    def unindexed(self) -> int:
        """How many points were written since the graph was built; 0 where there are too few points for a graph.

        Counted by a mark on each point, because the engine's own number keeps counting points that were replaced or
        deleted, and counts sparse vectors too.
        """
        with self._handle.use("count points") as shard:
            if shard.count(edge.CountRequest(exact=True)) <= GRAPH_THRESHOLD:
                return 0
            since = edge.FieldCondition(EPOCH, range=edge.RangeFloat(gte=self._epoch))
            return shard.count(edge.CountRequest(exact=True, filter=edge.Filter(must=[since])))

    def ids(self) -> Iterator[str]:
        """Every item id, read page by page; points written meanwhile may or may not be among them."""
        offset: Any = None
        while True:
            with self._handle.use("list points") as shard:
                records, offset = scroll(shard, None, offset)
            yield from map(item_id_of, records)
            if offset is None:
                return

    def optimise(self) -> None:
        """Build the graph. Blocks every thread of the process for minutes: only where nothing is served."""
        with self._writing, self._handle.use("build the graph") as shard:
            check_free_space(self._folder, self._min_free_bytes)
            shard.optimize()
            end_with_a_small_write(shard)
            if shard.count(edge.CountRequest(exact=True)) > GRAPH_THRESHOLD:
                # Written after the graph: a crash in between makes points count as unindexed, never the reverse.
                write_durably(self._folder / "graph.json", orjson.dumps({"epoch": self._epoch + 1}))
                self._epoch += 1

    def shut(self) -> None:
        """End this handle; called by `EdgeIndex.close`."""
        self._handle.close()


class _Handle:
    """Lends the shard to any number of callers and closes it only when none uses it."""

    def __init__(self, shard: edge.EdgeShard, name: str) -> None:
        self._shard = shard
        self._name = name
        self._users = 0
        self._closed = False
        self._changed = threading.Condition()

    @contextmanager
    def use(self, purpose: str) -> Iterator[edge.EdgeShard]:
        with self._changed:
            if self._closed:
                raise UnavailableError(f"the generation {self._name} was closed; ask for the live one again")
            self._users += 1
        try:
            with translated(f"{purpose} in {self._name}"):
                yield self._shard
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.wait_for(lambda: self._users == 0)
        with translated(f"close {self._name}"):
            self._shard.close()


def _read_epoch(folder: Path) -> int:
    try:
        return int(orjson.loads((folder / "graph.json").read_bytes())["epoch"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # no graph yet, or nobody knows: then every point counts as unindexed
