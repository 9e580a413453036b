"""Collections, points and queries in the words of `qdrant_client`, and its answers in ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np
from qdrant_client import models

from ingest.index.checks import MAX_LIMIT
from ingest.index.graph import FILTERED_EF, SEARCH_EF
from ingest.index.protocol import CollectionSpec, Point, Query, SparseVector, point_id
from ingest.index.server_filters import compile_selection
from ingest.items import AttributeType

SCHEMA = {
    AttributeType.KEYWORD: models.PayloadSchemaType.KEYWORD,
    AttributeType.INTEGER: models.PayloadSchemaType.INTEGER,
    AttributeType.FLOAT: models.PayloadSchemaType.FLOAT,
    AttributeType.BOOLEAN: models.PayloadSchemaType.BOOL,
    AttributeType.DATETIME: models.PayloadSchemaType.DATETIME,
    AttributeType.GEO: models.PayloadSchemaType.GEO,
}


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How collections are made and asked; None leaves the choice to the server."""

    shards: int | None = None
    replicas: int | None = None
    write_consistency: int | None = None
    quantization: Literal["none", "int8", "binary"] = "none"
    strict: bool = False
    read_seconds: float = 3.0
    write_seconds: float = 30.0


def quantization(options: ServerOptions) -> Any:
    """How vectors are kept in memory beside the exact ones; None: not quantized."""
    if options.quantization == "int8":
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        return models.ScalarQuantization(scalar=scalar)
    if options.quantization == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
    return None


def strict_mode(options: ServerOptions) -> models.StrictModeConfig | None:
    """What the server itself refuses; None: nothing more than usual."""
    if not options.strict:
        return None
    return models.StrictModeConfig(
        enabled=True,
        max_query_limit=MAX_LIMIT,
        unindexed_filtering_retrieve=False,
        unindexed_filtering_update=False,
        max_timeout=ceil(options.write_seconds),
    )


def search_params(options: ServerOptions, query: Query, *, exact: bool) -> models.SearchParams:
    """How a query is searched."""
    filtered = query.filter is not None and not exact
    quantised = options.quantization != "none"
    return models.SearchParams(
        exact=exact,
        hnsw_ef=FILTERED_EF if filtered else SEARCH_EF,
        # ACORN looks past what does not pass, where a plain search is stranded.
        acorn=models.AcornSearchParams(enable=True, max_selectivity=1.0) if filtered else None,
        # More candidates than asked for are scored again with the original vectors.
        quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0) if quantised else None,
    )


def ids_of(item_ids: Sequence[str]) -> list[Any]:
    """Ids as the server wants them."""
    return [str(point_id(item_id)) for item_id in item_ids]


def as_server_point(point: Point, payload: dict[str, Any]) -> models.PointStruct:
    """A point with its checked payload."""
    vectors: dict[str, Any] = {"text": point.text.astype(np.float32).tolist()}
    if point.taste is not None and point.taste.positions:
        vectors["taste"] = sparse(point.taste)
    if point.words is not None and point.words.positions:
        vectors["words"] = sparse(point.words)
    return models.PointStruct(id=str(point_id(point.item_id)), vector=vectors, payload=payload)


def sparse(vector: SparseVector) -> models.SparseVector:
    """A sparse vector."""
    return models.SparseVector(indices=list(vector.positions), values=list(vector.weights))


def sparse_vectors(spec: CollectionSpec) -> dict[str, models.SparseVectorParams]:
    """The sparse vectors of a collection."""
    vectors = {"taste": models.SparseVectorParams()}
    if spec.average_length is not None:
        vectors["words"] = models.SparseVectorParams(modifier=models.Modifier.IDF)
    return vectors


def selection(query: Query) -> models.Filter | None:
    """The filter of a query with its exclusions."""
    selection = compile_selection(query.filter, query.exclude_ids)
    if query.among is None:
        return selection
    among = models.HasIdCondition(has_id=ids_of(query.among))
    return models.Filter(must=[among] if selection is None else [among, selection])


def may_miss(query: Query) -> bool:
    """Whether approximate search could leave out what exists."""
    return query.text is not None and query.among is None


def using(query: Query) -> str:
    """The name of the vector that is searched."""
    if query.words is not None:
        return "words"
    return "text" if query.taste is None else "taste"


def asked(query: Query) -> Any:
    """What is searched for."""
    for words in (query.taste, query.words):
        if words is not None:
            return sparse(words)
    assert query.text is not None
    return query.text.astype(np.float32).tolist()
