"""Vectors and payload in a Qdrant server or cluster, over its REST API. The only file that speaks to `qdrant_client`.

Needs Qdrant 1.16 or later, which keeps metadata with a collection. The client's local mode (`:memory:`) stands in for
a server in tests: it scans, payload indexes and `optimise` do nothing there, and it warns about both.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from ingest.errors import AkinError, ConflictError, InvalidInputError, NotFoundError, UnavailableError
from ingest.index.checks import (
    check_filter,
    check_name,
    check_points,
    check_query,
    check_spec,
    check_taste,
    next_below,
    spec_as_json,
    spec_from_json,
)
from ingest.index.filters import Filter
from ingest.index.protocol import (
    CollectionSpec,
    Hit,
    Index,
    Point,
    Query,
    SparseVector,
    UnreadableCollectionError,
    Vector,
    point_id,
)
from ingest.index.server_filters import compile_filter, compile_selection
from ingest.items import AttributeType

_CHUNK = 256  # points per request: about 3 MB of JSON at 768 dimensions, the server takes 32 MB
_PAGE = 1_000
_SEARCH_EF = 256
_METADATA = "akin"
_REFUSED = frozenset({400, 413, 422})

_SCHEMA = {
    AttributeType.KEYWORD: models.PayloadSchemaType.KEYWORD,
    AttributeType.INTEGER: models.PayloadSchemaType.INTEGER,
    AttributeType.FLOAT: models.PayloadSchemaType.FLOAT,
    AttributeType.BOOLEAN: models.PayloadSchemaType.BOOL,
    AttributeType.DATETIME: models.PayloadSchemaType.DATETIME,
    AttributeType.GEO: models.PayloadSchemaType.GEO,
}


def connect(url: str, api_key: str | None, *, timeout_seconds: int) -> Index:
    """An index on the server at `url`; nothing is sent before the first call."""
    return ServerIndex(QdrantClient(url=url, api_key=api_key, timeout=timeout_seconds, check_compatibility=False))


class ServerIndex:
    """Collections named `prefix` + name. The caller made the client and closes it."""

    def __init__(self, client: QdrantClient, *, prefix: str = "akin-") -> None:
        self._client = client
        self._prefix = prefix
        self._lock = threading.Lock()
        self._open: dict[str, ServerCollection] = {}

    def create(self, name: str, spec: CollectionSpec) -> "ServerCollection":
        """Make an empty collection with its payload indexes and open it; what a crash left half made is replaced."""
        check_name(name)
        check_spec(spec)
        full_name = self._prefix + name
        with _translated(f"create the collection {name}"):
            if self._client.collection_exists(full_name):
                if self._stored_spec(full_name) is not None:
                    raise ConflictError(f"the collection {name} exists already; drop it first or take another name")
                self._client.delete_collection(full_name)
            self._client.create_collection(
                full_name,
                # Text vectors have unit length: the dot product is the cosine, and is not normalised a second time.
                vectors_config={"text": models.VectorParams(size=spec.dimensions, distance=models.Distance.DOT)},
                sparse_vectors_config={"taste": models.SparseVectorParams()},
                hnsw_config=models.HnswConfigDiff(m=16, ef_construct=128),
            )
            self._create_payload_indexes(full_name, spec)
            # The spec is written last: a collection without it is a leftover.
            self._client.update_collection(full_name, metadata={_METADATA: spec_as_json(spec)})
        return self.open(name)

    def open(self, name: str) -> "ServerCollection":
        """The one shared handle of this process; see the protocol for what it raises."""
        check_name(name)
        already = self._open.get(name)
        if already is not None:
            return already
        full_name = self._prefix + name
        with _translated(f"open the collection {name}"):
            stored = self._stored_spec(full_name) if self._client.collection_exists(full_name) else None
        if stored is None:
            raise NotFoundError(f"there is no collection {name}")
        try:
            spec = spec_from_json(stored)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableCollectionError(
                f"the spec of the collection {name} is damaged; drop and rebuild it"
            ) from error
        with self._lock:
            return self._open.setdefault(name, ServerCollection(self._client, full_name, spec))

    def close(self, name: str) -> None:
        """Forget the handle; the collection stays and so does the client."""
        with self._lock:
            collection = self._open.pop(name, None)
        if collection is not None:
            collection.shut()

    def drop(self, name: str) -> None:
        """Delete the collection; no error when it is not there."""
        check_name(name)
        self.close(name)
        with _translated(f"delete the collection {name}"):
            self._client.delete_collection(self._prefix + name)

    def quarantine(self, name: str) -> None:
        """Delete the collection: a server has nowhere to keep what it cannot read, and everything is in the ledger."""
        self.drop(name)

    def names(self) -> list[str]:
        """Every complete collection under the prefix."""
        with _translated("list the collections"):
            found = [c.name for c in self._client.get_collections().collections if c.name.startswith(self._prefix)]
            return sorted(name.removeprefix(self._prefix) for name in found if self._stored_spec(name) is not None)

    def _stored_spec(self, full_name: str) -> Mapping[str, Any] | None:
        return (self._client.get_collection(full_name).config.metadata or {}).get(_METADATA)

    def _create_payload_indexes(self, full_name: str, spec: CollectionSpec) -> None:
        # Before any point is loaded: the graph gets its links for filtered search only then.
        for name, type_ in spec.attributes.items():
            self._client.create_payload_index(full_name, name, field_schema=_SCHEMA[type_], wait=True)


class ServerCollection:
    """One collection on the server. Made by `ServerIndex` only."""

    def __init__(self, client: QdrantClient, full_name: str, spec: CollectionSpec) -> None:
        self._client = client
        self._name = full_name
        self._spec = spec
        self._closed = False

    def upsert(self, points: Sequence[Point]) -> None:
        """Insert or replace; applied and in the server's log when it returns. See the protocol for invalid points."""
        payloads = check_points(points, self._spec)
        stored = [_as_server_point(point, payload) for point, payload in zip(points, payloads, strict=True)]
        with self._use("store points") as client:
            for start in range(0, len(stored), _CHUNK):
                client.upsert(self._name, stored[start : start + _CHUNK], wait=True)

    def set_taste(self, weights: Mapping[str, SparseVector]) -> None:
        """Replace taste vectors and nothing else; applied when it returns."""
        check_taste(weights)
        there = self.matching_ids(list(weights), None)
        filled = [item_id for item_id, taste in weights.items() if taste.positions and item_id in there]
        emptied = [item_id for item_id, taste in weights.items() if not taste.positions and item_id in there]
        with self._use("store weights") as client:
            for start in range(0, len(filled), _CHUNK):
                points = [
                    models.PointVectors(id=str(point_id(item_id)), vector={"taste": _sparse(weights[item_id])})
                    for item_id in filled[start : start + _CHUNK]
                ]
                client.update_vectors(self._name, points, wait=True)
            for start in range(0, len(emptied), _PAGE):
                client.delete_vectors(self._name, ["taste"], _ids(emptied[start : start + _PAGE]), wait=True)

    def delete(self, item_ids: Sequence[str]) -> None:
        """Remove; ids that are not there are no error. Applied when it returns."""
        with self._use("delete points") as client:
            for start in range(0, len(item_ids), _PAGE):
                client.delete(self._name, models.PointIdsList(points=_ids(item_ids[start : start + _PAGE])), wait=True)

    def query(self, query: Query) -> list[Hit]:
        """Best first; ties in any order. Never fewer than `limit` when enough points pass."""
        check_query(query, self._spec)
        with self._use("answer a query") as client:
            hits = self._search(client, query, exact=query.exact or query.among is not None)
            # A graph may miss points that pass a narrow filter; a scan does not.
            if len(hits) < query.limit and query.min_score is None and not query.exact and _may_miss(query):
                hits = self._search(client, query, exact=True)
        return hits

    def vectors(self, item_ids: Sequence[str]) -> dict[str, Vector]:
        """The text vectors, `(dimensions,)` float32, of those ids that are there."""
        found: dict[str, Vector] = {}
        with self._use("read vectors") as client:
            for start in range(0, len(item_ids), _PAGE):
                ids = _ids(item_ids[start : start + _PAGE])
                records = client.retrieve(self._name, ids, with_payload=["item_id"], with_vectors=["text"])
                found.update((_item_id(record), _text_vector(record)) for record in records)
        return found

    def matching_ids(self, item_ids: Sequence[str], filter_: Filter | None) -> set[str]:
        """Those of `item_ids` that are there and pass the filter."""
        check_filter(filter_)
        found: set[str] = set()
        with self._use("filter points") as client:
            for start in range(0, len(item_ids), _PAGE):
                among = models.HasIdCondition(has_id=_ids(item_ids[start : start + _PAGE]))
                conditions = [among] if filter_ is None else [among, compile_filter(filter_)]
                records, _ = _scroll(client, self._name, models.Filter(must=conditions), None)
                found.update(map(_item_id, records))
        return found

    def count(self) -> int:
        """How many points there are."""
        with self._use("count points") as client:
            return client.count(self._name, exact=True).count

    def unindexed(self) -> int:
        """0 when the server has finished optimising, else about how many points it still has to cover."""
        with self._use("count points") as client:
            info = client.get_collection(self._name)
        if info.status == models.CollectionStatus.GREEN:
            return 0
        return max(1, (info.points_count or 0) - (info.indexed_vectors_count or 0))

    def ids(self) -> Iterator[str]:
        """Every item id, read page by page; points written meanwhile may or may not be among them."""
        offset: Any = None
        while True:
            with self._use("list points") as client:
                records, offset = _scroll(client, self._name, None, offset)
            yield from map(_item_id, records)
            if offset is None:
                return

    def optimise(self) -> None:
        """Nothing: a server builds its graph by itself, in the background; `unindexed` says when it is done."""

    def shut(self) -> None:
        """End this handle; called by `ServerIndex.close`."""
        self._closed = True

    def _search(self, client: QdrantClient, query: Query, *, exact: bool) -> list[Hit]:
        answer = client.query_points(
            self._name,
            query=_asked(query),
            using="text" if query.taste is None else "taste",
            limit=query.limit,
            query_filter=_selection(query),
            # The engine's threshold leaves out a score that equals it; ours does not.
            score_threshold=None if query.min_score is None else next_below(query.min_score),
            search_params=models.SearchParams(exact=exact, hnsw_ef=_SEARCH_EF),
            with_payload=["item_id"],
            with_vectors=["text"] if query.with_vectors else False,
        )
        return [
            Hit(item_id=_item_id(found), score=found.score, text=_text_vector(found) if query.with_vectors else None)
            for found in answer.points
            if (query.min_score is None or found.score >= query.min_score) and (query.taste is None or found.score)
        ]

    @contextmanager
    def _use(self, purpose: str) -> Iterator[QdrantClient]:
        if self._closed:
            raise UnavailableError(f"the generation {self._name} was closed; ask for the live one again")
        with _translated(f"{purpose} in {self._name}"):
            yield self._client


@contextmanager
def _translated(purpose: str) -> Iterator[None]:
    try:
        yield
    except AkinError:
        raise
    except UnexpectedResponse as error:
        if error.status_code in _REFUSED:
            raise InvalidInputError("refused_by_index", f"the Qdrant server refused to {purpose}") from error
        raise UnavailableError(f"the Qdrant server could not {purpose} (HTTP {error.status_code}); retry") from error
    except Exception as error:  # the client raises its own, httpx's and plain ValueErrors
        raise UnavailableError(f"the Qdrant server could not {purpose}; check that it runs, then retry") from error


def _ids(item_ids: Sequence[str]) -> list[Any]:
    return [str(point_id(item_id)) for item_id in item_ids]


def _as_server_point(point: Point, payload: dict[str, Any]) -> models.PointStruct:
    vectors: dict[str, Any] = {"text": point.text.astype(np.float32).tolist()}
    if point.taste is not None and point.taste.positions:
        vectors["taste"] = _sparse(point.taste)
    return models.PointStruct(id=str(point_id(point.item_id)), vector=vectors, payload=payload)


def _sparse(taste: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=list(taste.positions), values=list(taste.weights))


def _selection(query: Query) -> models.Filter | None:
    selection = compile_selection(query.filter, query.exclude_ids)
    if query.among is None:
        return selection
    among = models.HasIdCondition(has_id=_ids(query.among))
    return models.Filter(must=[among] if selection is None else [among, selection])


def _may_miss(query: Query) -> bool:
    return query.text is not None and query.among is None


def _asked(query: Query) -> Any:
    if query.taste is not None:
        return _sparse(query.taste)
    assert query.text is not None
    return query.text.astype(np.float32).tolist()


def _scroll(client: QdrantClient, name: str, filter_: models.Filter | None, offset: Any) -> tuple[list[Any], Any]:
    return client.scroll(
        name, scroll_filter=filter_, limit=_PAGE, offset=offset, with_payload=["item_id"], with_vectors=False
    )


def _item_id(found: Any) -> str:
    return str(found.payload["item_id"])


def _text_vector(found: Any) -> Vector:
    return np.asarray(found.vector["text"], dtype=np.float32)
