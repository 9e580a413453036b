"""One collection on a Qdrant server: its points written, asked and read. Part of the server adapter."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any, TypeVar

from qdrant_client import QdrantClient, models

from ingest.errors import UnavailableError
from ingest.index.checks import check_filter, check_points, check_query, check_taste, next_below
from ingest.index.filters import Filter
from ingest.index.graph import LINKS, is_asked_for, item_id_of, text_vector_of
from ingest.index.protocol import CollectionSpec, Hit, Point, Query, SparseVector, Vector, point_id
from ingest.index.server_calls import Calls
from ingest.index.server_filters import compile_filter
from ingest.index.server_requests import (
    ServerOptions,
    as_server_point,
    asked,
    ids_of,
    may_miss,
    search_params,
    selection,
    sparse,
    using,
)
from ingest.index.timing import timed_query

T = TypeVar("T")

_CHUNK = 256  # points per request: about 3 MB of JSON at 768 dimensions, the server takes 32 MB
_PAGE = 1_000


@dataclass(frozen=True, kw_only=True)
class Server:
    """The two ways to the server: answers must come soon, writes may take their time."""

    reader: QdrantClient
    writer: QdrantClient
    reads: Calls
    writes: Calls
    options: ServerOptions


class ServerCollection:
    """One collection on the server. Made by `ServerIndex` only."""

    def __init__(self, server: Server, full_name: str, spec: CollectionSpec) -> None:
        self._server = server
        self._name = full_name
        self._spec = spec
        self._closed = False

    @property
    def average_length(self) -> float | None:
        """Words per item that its word weights are made by; None: it holds no words."""
        return self._spec.average_length

    def upsert(self, points: Sequence[Point]) -> None:
        """Insert or replace; applied and in the server's log when it returns. See the protocol for invalid points."""
        payloads = check_points(points, self._spec)
        stored = [as_server_point(point, payload) for point, payload in zip(points, payloads, strict=True)]
        for start in range(0, len(stored), _CHUNK):
            some = stored[start : start + _CHUNK]
            self._write(
                "store points", partial(QdrantClient.upsert, collection_name=self._name, points=some, wait=True)
            )

    def set_taste(self, weights: Mapping[str, SparseVector]) -> None:
        """Replace taste vectors and nothing else; applied when it returns."""
        check_taste(weights)
        there = self.matching_ids(list(weights), None)
        filled = [item_id for item_id, taste in weights.items() if taste.positions and item_id in there]
        emptied = [item_id for item_id, taste in weights.items() if not taste.positions and item_id in there]
        for start in range(0, len(filled), _CHUNK):
            points = [
                models.PointVectors(id=str(point_id(item_id)), vector={"taste": sparse(weights[item_id])})
                for item_id in filled[start : start + _CHUNK]
            ]
            store = partial(QdrantClient.update_vectors, collection_name=self._name, points=points, wait=True)
            self._write("store weights", store)
        for start in range(0, len(emptied), _PAGE):
            ids = ids_of(emptied[start : start + _PAGE])
            remove = partial(
                QdrantClient.delete_vectors, collection_name=self._name, vectors=["taste"], points=ids, wait=True
            )
            self._write("remove weights", remove)

    def delete(self, item_ids: Sequence[str]) -> None:
        """Remove; ids that are not there are no error. Applied when it returns."""
        for start in range(0, len(item_ids), _PAGE):
            points = models.PointIdsList(points=ids_of(item_ids[start : start + _PAGE]))
            remove = partial(
                QdrantClient.delete,
                collection_name=self._name,
                points_selector=points,
                wait=True,
                # Strong: a replica that comes back must not bring back what was deleted.
                ordering=models.WriteOrdering.STRONG,
            )
            self._write("delete points", remove)

    @timed_query
    def query(self, query: Query) -> list[Hit]:
        """Best first; ties in any order. Never fewer than `limit` when enough points pass."""
        check_query(query, self._spec)
        hits = self._search(query, exact=query.exact or query.among is not None)
        # A graph may miss points that pass a narrow filter; a scan does not.
        if len(hits) < query.limit and query.min_score is None and not query.exact and may_miss(query):
            hits = self._search(query, exact=True)
        return hits

    def vectors(self, item_ids: Sequence[str]) -> dict[str, Vector]:
        """The text vectors, `(dimensions,)` float32, of those ids that are there."""
        found: dict[str, Vector] = {}
        for start in range(0, len(item_ids), _PAGE):
            ids = ids_of(item_ids[start : start + _PAGE])
            retrieve = partial(
                QdrantClient.retrieve,
                collection_name=self._name,
                ids=ids,
                with_payload=["item_id"],
                with_vectors=["text"],
                timeout=self._deadline,
            )
            records = self._read("read vectors", retrieve)
            found.update((item_id_of(record), text_vector_of(record)) for record in records)
        return found

    def matching_ids(self, item_ids: Sequence[str], filter_: Filter | None) -> set[str]:
        """Those of `item_ids` that are there and pass the filter."""
        check_filter(filter_)
        found: set[str] = set()
        for start in range(0, len(item_ids), _PAGE):
            among = models.HasIdCondition(has_id=ids_of(item_ids[start : start + _PAGE]))
            conditions = [among] if filter_ is None else [among, compile_filter(filter_)]
            records, _ = self._scroll("filter points", models.Filter(must=conditions), None)
            found.update(map(item_id_of, records))
        return found

    def count(self) -> int:
        """How many points there are."""
        counted = self._read("count points", lambda client: client.count(self._name, exact=True))
        return int(counted.count)

    def unindexed(self) -> int:
        """0 when the server has finished optimising, else about how many points it still has to cover."""
        info = self._read("look at the collection", lambda client: client.get_collection(self._name))
        if info.status == models.CollectionStatus.GREEN:
            return 0
        return max(1, (info.points_count or 0) - (info.indexed_vectors_count or 0))

    def ids(self) -> Iterator[str]:
        """Every item id, read page by page; points written meanwhile may or may not be among them."""
        offset: Any = None
        while True:
            records, offset = self._scroll("list points", None, offset)
            yield from map(item_id_of, records)
            if offset is None:
                return

    def optimise(self) -> None:
        """Let the server build the graph that a loading collection goes without; it does so in the background."""
        info = self._read("look at the collection", lambda client: client.get_collection(self._name))
        if info.config.hnsw_config.m == 0:
            graph = models.HnswConfigDiff(m=LINKS)
            self._write("build the graph", lambda client: client.update_collection(self._name, hnsw_config=graph))

    def shut(self) -> None:
        """End this handle; called by `ServerIndex.close`."""
        self._closed = True

    @property
    def _deadline(self) -> int:
        return ceil(self._server.options.read_seconds)

    def _search(self, query: Query, *, exact: bool) -> list[Hit]:
        answer = self._read(
            "answer a query",
            lambda client: client.query_points(
                self._name,
                query=asked(query),
                using=using(query),
                limit=query.limit,
                query_filter=selection(query),
                # The engine's threshold leaves out a score that equals it; ours does not.
                score_threshold=None if query.min_score is None else next_below(query.min_score),
                search_params=search_params(self._server.options, query, exact=exact),
                with_payload=["item_id"],
                with_vectors=["text"] if query.with_vectors else False,
                timeout=self._deadline,
            ),
        )
        return [
            Hit(
                item_id=item_id_of(found), score=found.score, text=text_vector_of(found) if query.with_vectors else None
            )
            for found in answer.points
            if is_asked_for(query, found.score)
        ]

    def _scroll(self, purpose: str, filter_: models.Filter | None, offset: Any) -> tuple[list[Any], Any]:
        return self._read(
            purpose,
            lambda client: client.scroll(
                self._name,
                scroll_filter=filter_,
                limit=_PAGE,
                offset=offset,
                with_payload=["item_id"],
                with_vectors=False,
                timeout=self._deadline,
            ),
        )

    def _read(self, purpose: str, ask: Callable[[QdrantClient], T]) -> T:
        self._check_open()
        return self._server.reads.make(f"{purpose} in {self._name}", lambda: ask(self._server.reader))

    def _write(self, purpose: str, tell: Callable[[QdrantClient], object]) -> None:
        self._check_open()
        self._server.writes.make(f"{purpose} in {self._name}", lambda: tell(self._server.writer))

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError(f"the generation {self._name} was closed; ask for the live one again")
