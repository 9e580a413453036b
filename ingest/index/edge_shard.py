"""Points, queries and settings in the words of `qdrant_edge`, and its answers in ours."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import qdrant_edge as edge

from ingest.index.checks import next_below
from ingest.index.edge_filters import compile_selection, without_booleans
from ingest.index.graph import BUILD_EF, FILTERED_EF, LINKS, SEARCH_EF, is_asked_for, item_id_of, text_vector_of
from ingest.index.protocol import CollectionSpec, Hit, Point, Query, SparseVector, point_id
from ingest.items import AttributeType

GRAPH_THRESHOLD = 10_000  # points; under it a scan takes 1 to 2 ms and is exact, so no graph is built
PAGE = 1_000  # points per call when reading
_SEARCH_THREADS = 1  # per collection; one suits the interpreter's lock
EPOCH = "graph-epoch"  # a hyphen: no declared attribute can have this name

_INDEXES: Mapping[AttributeType, Callable[..., Any]] = {
    AttributeType.KEYWORD: edge.KeywordIndexParams,
    AttributeType.INTEGER: edge.IntegerIndexParams,
    AttributeType.FLOAT: edge.FloatIndexParams,
    # The binding turns True into the number 1 in a match, which then never equals a stored boolean (0.9.0): booleans
    # are kept as 0 and 1.
    AttributeType.BOOLEAN: edge.IntegerIndexParams,
    AttributeType.DATETIME: edge.DatetimeIndexParams,
    AttributeType.GEO: edge.GeoIndexParams,
}


def configuration(spec: CollectionSpec) -> edge.EdgeConfig:
    """How a shard for this collection is made and loaded."""
    kilobytes = GRAPH_THRESHOLD * spec.dimensions * 4 // 1024  # the engine counts vectors by their size
    return edge.EdgeConfig(
        # Text vectors have unit length: the dot product is the cosine, and is not normalised a second time.
        vectors={"text": edge.EdgeVectorParams(size=spec.dimensions, distance=edge.Distance.Dot)},
        sparse_vectors=_sparse_vectors(spec),
        hnsw_config=edge.HnswIndexConfig(m=LINKS, ef_construct=BUILD_EF, full_scan_threshold=max(kilobytes, 1)),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=max(kilobytes, 1), default_segment_number=1),
        max_search_threads=_SEARCH_THREADS,
        wal_enabled=True,  # also the lock that keeps a second process out
    )


def _sparse_vectors(spec: CollectionSpec) -> dict[str, edge.EdgeSparseVectorParams]:
    # Mapped like the payload indexes.
    vectors = {"taste": edge.EdgeSparseVectorParams(memory=edge.Memory.Cached)}
    if spec.average_length is not None:  # a shard made without them cannot be loaded with them
        vectors["words"] = edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf, memory=edge.Memory.Cached)
    return vectors


def create_payload_indexes(shard: edge.EdgeShard, spec: CollectionSpec) -> None:
    """An index for each declared attribute and for the epoch."""
    for name, type_ in {EPOCH: AttributeType.INTEGER, **spec.attributes}.items():
        # Mapped from their files, not read into structures of their own: loading holds the interpreter (decision 0045).
        parameters = _INDEXES[type_](memory=edge.Memory.Cached)
        shard.update(edge.UpdateOperation.create_field_index(name, parameters))
    shard.flush()


def end_with_a_small_write(shard: edge.EdgeShard) -> None:
    """Delete what is not there: whoever loads the shard does its last write again, which may be a batch of points."""
    shard.update(edge.UpdateOperation.delete_points([point_id("")]))  # no item has the empty id
    shard.flush()


def as_edge_point(point: Point, payload: dict[str, Any], epoch: int) -> edge.Point:
    """A point with its checked payload, written in this epoch."""
    vectors: dict[str, Any] = {"text": point.text.astype(np.float32).tolist()}
    if point.taste is not None and point.taste.positions:
        vectors["taste"] = _sparse(point.taste)
    if point.words is not None and point.words.positions:
        vectors["words"] = _sparse(point.words)
    stored = {name: without_booleans(value) for name, value in payload.items()}
    return edge.Point(point_id(point.item_id), vectors, {**stored, EPOCH: epoch})


def _sparse(vector: SparseVector) -> edge.SparseVector:
    return edge.SparseVector(list(vector.positions), list(vector.weights))


def replace_taste(shard: edge.EdgeShard, weights: Mapping[str, SparseVector], epoch: int) -> None:
    """Replace taste vectors of points that are there; an empty one removes it."""
    ids: list[Any] = [point_id(item_id) for item_id in weights]
    emptied: list[Any] = [point_id(item_id) for item_id, taste in weights.items() if not taste.positions]
    filled = [
        edge.PointVectors(point_id(item_id), {"taste": _sparse(taste)})
        for item_id, taste in weights.items()
        if taste.positions
    ]
    if filled:
        shard.update(edge.UpdateOperation.update_vectors(filled))
    if emptied:
        shard.update(edge.UpdateOperation.delete_vectors(emptied, ["taste"]))
    if ids:
        shard.update(edge.UpdateOperation.set_payload(ids, {EPOCH: epoch}))


def _nearest(query: Query) -> edge.Query:
    if query.taste is not None:
        return edge.Query.Nearest(_sparse(query.taste), using="taste")
    if query.words is not None:
        return edge.Query.Nearest(_sparse(query.words), using="words")
    assert query.text is not None
    return edge.Query.Nearest(query.text.astype(np.float32).tolist(), using="text")


def search(
    shard: edge.EdgeShard,
    query: Query,
    *,
    limit: int,
    excluded: frozenset[str] = frozenset(),
    exact: bool = False,
) -> list[Hit]:
    """The hits of a query, best first."""
    return hits_of(ask(shard, query, limit=limit, excluded=excluded, exact=exact), query)


def ask(
    shard: edge.EdgeShard,
    query: Query,
    *,
    limit: int,
    excluded: frozenset[str] = frozenset(),
    exact: bool = False,
) -> list[edge.ScoredPoint]:
    """What the engine finds, best first; `excluded` becomes part of the filter."""
    selection = compile_selection(query.filter, excluded)
    if query.among is not None:
        among = edge.HasIdCondition({point_id(item_id) for item_id in query.among})
        selection = edge.Filter(must=[among] if selection is None else [among, selection])
    exact = exact or query.exact or query.among is not None
    request = edge.QueryRequest(
        limit=limit,
        query=_nearest(query),
        filter=selection,
        # The engine's threshold leaves out a score that equals it; ours does not.
        score_threshold=None if query.min_score is None else next_below(query.min_score),
        params=_parameters(exact=exact, filtered=query.filter is not None),
        with_payload=["item_id"],
        with_vector=["text"] if query.with_vectors else False,
    )
    return shard.query(request)


def _parameters(*, exact: bool, filtered: bool) -> edge.SearchParams:
    if exact:
        return edge.SearchParams(exact=True)
    if filtered:  # ACORN looks past what does not pass, where a plain search is stranded
        acorn = edge.AcornSearchParams(enable=True, max_selectivity=1.0)
        return edge.SearchParams(hnsw_ef=FILTERED_EF, acorn=acorn)
    return edge.SearchParams(hnsw_ef=SEARCH_EF)


def hits_of(found: list[edge.ScoredPoint], query: Query, *, without: frozenset[str] = frozenset()) -> list[Hit]:
    """What the query asked for of what was found, best first."""
    hits: list[Hit] = []
    for point in found:
        if len(hits) == query.limit:
            break
        item_id = item_id_of(point)
        if item_id not in without and is_asked_for(query, point.score):
            text = text_vector_of(point) if query.with_vectors else None
            hits.append(Hit(item_id=item_id, score=point.score, text=text))
    return hits


def scroll(shard: edge.EdgeShard, filter_: edge.Filter | None, offset: Any) -> tuple[list[edge.Record], Any]:
    """A page of points with their ids alone, and the offset of the next page."""
    return shard.scroll(
        edge.ScrollRequest(offset=offset, limit=PAGE, filter=filter_, with_payload=["item_id"], with_vector=False)
    )
