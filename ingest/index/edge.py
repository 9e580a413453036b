"""Vectors and payload in Qdrant Edge: Qdrant's engine inside this process, one folder per collection.

A folder may be open in one process at a time; a generation is therefore built in a child process, closed there, and
only then opened where queries are served.
"""

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import qdrant_edge as edge

from ingest.disk import check_free_space
from ingest.durable import flush, write_durably
from ingest.errors import AkinError, ConflictError, NotFoundError, UnavailableError
from ingest.index.checks import (
    check_filter,
    check_name,
    check_points,
    check_query,
    check_spec,
    check_taste,
    spec_as_json,
    spec_from_json,
)
from ingest.index.edge_filters import compile_filter
from ingest.index.edge_shard import (
    EPOCH,
    GRAPH_THRESHOLD,
    PAGE,
    as_edge_point,
    ask,
    configuration,
    create_payload_indexes,
    end_with_a_small_write,
    hits_of,
    replace_taste,
    scroll,
    search,
)
from ingest.index.filters import Filter
from ingest.index.graph import item_id_of, text_vector_of
from ingest.index.protocol import (
    CollectionSpec,
    Hit,
    Point,
    Query,
    SparseVector,
    UnreadableCollectionError,
    Vector,
    point_id,
)
from ingest.index.timing import timed_query
from ingest.page_cache import read_into_page_cache

_CHUNK = 256  # points per call: the binding holds the interpreter for as long as a call takes
_SPARE = 100  # excluded ids that are fetched and dropped before a filter over ids is worth its price


class EdgeIndex:
    """Collections as folders under `folder`. `search_threads` is per collection; 1 suits the interpreter's lock."""

    def __init__(self, folder: Path, *, search_threads: int = 1, min_free_bytes: int = 0) -> None:
        self._folder = folder
        self._search_threads = search_threads
        self._min_free_bytes = min_free_bytes
        self._lock = threading.RLock()
        self._open: dict[str, EdgeCollection] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def create(self, name: str, spec: CollectionSpec, *, loading: bool = False) -> "EdgeCollection":
        """Make an empty collection with its payload indexes and open it; what a crash left half made is replaced."""
        del loading  # the graph waits for `optimise` in any case
        check_name(name)
        check_spec(spec)
        folder = self._folder / name
        with self._lock:
            if _spec_path(folder).exists():
                raise ConflictError(f"the collection {name} exists already; drop it first or take another name")
            check_free_space(self._folder, self._min_free_bytes)
            with _translated(f"create the collection {name}"):
                shutil.rmtree(folder, ignore_errors=True)
                (folder / "shard").mkdir(parents=True)
                shard = edge.EdgeShard.create(str(folder / "shard"), configuration(spec, self._search_threads))
                create_payload_indexes(shard, spec)
                # The spec is written last: a folder without it is no collection yet.
                write_durably(_spec_path(folder), orjson.dumps(spec_as_json(spec)))
                flush(self._folder)
            return self._opened(name, shard, spec)

    def open(self, name: str) -> "EdgeCollection":
        """The one shared handle of this process; see the protocol for what it raises."""
        check_name(name)
        already = self._open.get(name)  # without the lock: queries must not wait while another collection loads
        if already is not None:
            return already
        with self._lock:
            if name in self._open:
                return self._open[name]
            spec = _read_spec(name, self._folder / name)
            return self._opened(name, self._load(name, spec), spec)

    def close(self, name: str) -> None:
        """Wait for the calls that run on the handle, then let go of it; the collection stays."""
        with self._lock:
            collection = self._open.pop(name, None)
            if collection is not None:
                collection.shut()

    def drop(self, name: str) -> None:
        """Delete the folder; no error when it is not there."""
        check_name(name)
        folder = self._folder / name
        with self._lock:
            self.close(name)
            with _translated(f"delete the collection {name}"):
                # Without its spec it is a leftover, whatever of the rest a crash leaves.
                _spec_path(folder).unlink(missing_ok=True)
                if folder.exists():
                    flush(folder)
                    shutil.rmtree(folder)

    def shut(self) -> None:
        """Close every handle."""
        for name in list(self._open):
            self.close(name)

    def names(self) -> list[str]:
        """Every complete collection; leftovers and those set aside are not listed."""
        return sorted(path.parent.name for path in self._folder.glob("*/spec.json") if "." not in path.parent.name)

    def quarantine(self, name: str) -> None:
        """Set an unreadable collection aside under `name.unreadable-<n>`, so that `name` can be built again."""
        check_name(name)
        folder = self._folder / name
        with self._lock:
            if not folder.exists():
                raise NotFoundError(f"there is no collection {name}")
            self.close(name)
            n = 1
            while (aside := self._folder / f"{name}.unreadable-{n}").exists():
                n += 1
            with _translated(f"set the collection {name} aside"):
                folder.rename(aside)
                flush(self._folder)

    def _load(self, name: str, spec: CollectionSpec) -> edge.EdgeShard:
        config = configuration(spec, self._search_threads)
        read_into_page_cache(self._folder / name / "shard")
        try:
            return edge.EdgeShard.load(str(self._folder / name / "shard"), config)
        except BaseException as error:
            if not _is_vendor_error(error):
                raise
            if "WouldBlock" in str(error):
                raise UnavailableError(f"another process holds the collection {name}; stop it, then retry") from error
            raise UnreadableCollectionError(
                f"the collection {name} is damaged; set it aside and rebuild it from the ledger"
            ) from error

    def _opened(self, name: str, shard: edge.EdgeShard, spec: CollectionSpec) -> "EdgeCollection":
        collection = EdgeCollection(self._folder / name, shard, spec, self._min_free_bytes)
        self._open[name] = collection
        return collection


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
            with _translated(f"{purpose} in {self._name}"):
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
        with _translated(f"close {self._name}"):
            self._shard.close()


@contextmanager
def _translated(purpose: str) -> Iterator[None]:
    try:
        yield
    except AkinError:
        raise
    except BaseException as error:
        if not _is_vendor_error(error):
            raise
        raise UnavailableError(f"the index could not {purpose}; see the cause in the log, then retry") from error


def _is_vendor_error(error: BaseException) -> bool:
    # A panic inside the engine arrives as a BaseException that cannot be imported by name.
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _spec_path(folder: Path) -> Path:
    return folder / "spec.json"


def _read_spec(name: str, folder: Path) -> CollectionSpec:
    try:
        return spec_from_json(orjson.loads(_spec_path(folder).read_bytes()))
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no collection {name}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableCollectionError(
            f"the spec of the collection {name} is damaged; set it aside and rebuild it"
        ) from error


def _read_epoch(folder: Path) -> int:
    try:
        return int(orjson.loads((folder / "graph.json").read_bytes())["epoch"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # no graph yet, or nobody knows: then every point counts as unindexed
