"""Everything that must be true before an engine is called: neither Qdrant nor its binding checks enough.

Measured: NaN vectors are stored, a vector of a wrong length leaves its batch half applied, deep payload makes a
collection unreadable for good, a deep filter ends the process, and so does a full disk, which `ingest.disk` looks at.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ingest.attributes import check_declarable
from ingest.errors import InvalidInputError, SettingsError
from ingest.index.filter_values import normal_point, normal_scalar
from ingest.index.filters import And, Filter, Not, Or
from ingest.index.protocol import CollectionSpec, NoWordsError, Point, Query, SparseVector, Vector
from ingest.items import AttributeType, AttributeValue

MAX_LIMIT = 100_000
MAX_EXCLUDED = 10_000  # ids that one query may exclude, or be asked among
_MAX_DIMENSIONS = 65_536
_MAX_LIST = 10_000  # values of one attribute
_NORM_TOLERANCE = 0.01  # rounding of float16 and int8 pipelines stays well under it
_LARGEST_SCORE = 1e9
_LARGEST_POSITION = 2**32 - 1  # Qdrant's sparse positions are unsigned 32-bit

# A filter from a request has depth 4 and 64 conditions; scenarios and rules are wrapped around it, hence more room.
_MAX_DEPTH = 8
_MAX_NODES = 1024


def check_name(name: str) -> None:
    """Raise SettingsError when `name` could not be a folder, a URL part and a collection alike."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
        raise SettingsError("a collection's name is 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit")


def check_spec(spec: CollectionSpec) -> None:
    """Raise SettingsError when no collection can be made of the spec."""
    if not 1 <= spec.dimensions <= _MAX_DIMENSIONS:
        raise SettingsError(f"an encoder gives vectors of 1 to {_MAX_DIMENSIONS} dimensions")
    if spec.average_length is not None and not 0 < spec.average_length < _LARGEST_SCORE:
        raise SettingsError("the average length of an item is a positive number of words")
    for name in spec.attributes:
        check_declarable(name)


def check_points(points: Sequence[Point], spec: CollectionSpec) -> list[dict[str, Any]]:
    """Return the payload of each point; raise InvalidInputError naming the first item that does not fit."""
    return [_checked_payload(point, spec) for point in points]


def check_query(query: Query, spec: CollectionSpec) -> None:
    """Raise InvalidInputError when the query could harm the engine or means nothing."""
    if sum(asked is not None for asked in (query.text, query.taste, query.words)) != 1:
        raise InvalidInputError("invalid_vector", "a query asks by text, taste or words, one of the three", "text")
    if query.words is not None and spec.average_length is None:
        raise NoWordsError("this generation was built without words; reindex, then search by words")
    if query.text is not None and not (query.text.shape == (spec.dimensions,) and np.isfinite(query.text).all()):
        raise InvalidInputError("invalid_vector", f"a query vector has {spec.dimensions} finite numbers", "text")
    if query.taste is not None and (fault := _sparse_fault(query.taste, "taste")):
        raise InvalidInputError("invalid_vector", f"the query has {fault}", "taste")
    if query.words is not None and (fault := _sparse_fault(query.words, "word")):
        raise InvalidInputError("invalid_vector", f"the query has {fault}", "words")
    if not 1 <= query.limit <= MAX_LIMIT:
        raise InvalidInputError("invalid_limit", f"limit is 1 to {MAX_LIMIT}", "limit")
    if len(query.among or ()) > MAX_EXCLUDED:
        raise InvalidInputError("too_many_ids", f"at most {MAX_EXCLUDED} ids can be asked about", "among")
    if len(query.exclude_ids) > MAX_EXCLUDED:
        raise InvalidInputError("too_many_exclusions", f"at most {MAX_EXCLUDED} ids can be excluded", "exclude_ids")
    check_min_score(query.min_score)
    check_filter(query.filter)


def check_filter(filter_: Filter | None) -> None:
    """Raise InvalidInputError for a tree deep or large enough to harm the engine, however it was made."""
    level: list[Filter] = [] if filter_ is None else [filter_]
    nodes = 0
    for _ in range(_MAX_DEPTH + 1):
        nodes += len(level)
        if nodes > _MAX_NODES:
            raise InvalidInputError("filter_too_large", f"a composed filter has at most {_MAX_NODES} parts", "filter")
        level = [part for node in level for part in _parts(node)]
    if level:
        raise InvalidInputError("filter_too_deep", f"a composed filter is nested at most {_MAX_DEPTH} deep", "filter")


def check_min_score(min_score: float | None) -> None:
    """Raise InvalidInputError unless engines can hold the number."""
    if min_score is not None and not abs(min_score) <= _LARGEST_SCORE:
        raise InvalidInputError("invalid_min_score", f"min_score is within {_LARGEST_SCORE:g} of zero", "min_score")


def next_below(score: float) -> float:
    """The float32 just below: engines leave out a score that equals their threshold, `Query.min_score` does not."""
    return float(np.nextafter(np.float32(score), np.float32(-np.inf)))


def _parts(node: Filter) -> Iterable[Filter]:
    if isinstance(node, And | Or):
        return node.parts
    return (node.part,) if isinstance(node, Not) else ()


def _checked_payload(point: Point, spec: CollectionSpec) -> dict[str, Any]:
    if not _is_plain_id(point.item_id):
        raise InvalidInputError("invalid_item_id", "an item id is text without NUL or lone surrogates", "item_id")
    _check_vector(point.item_id, point.text, spec.dimensions)
    if point.taste is not None:
        check_taste({point.item_id: point.taste})
    if point.words is not None:
        _check_words(point, spec)
    payload: dict[str, Any] = {"item_id": point.item_id}
    for name, value in point.attributes.items():
        type_ = spec.attributes.get(name)
        if type_ is None:
            declared = ", ".join(sorted(spec.attributes)) or "none"
            raise _invalid(point.item_id, "undeclared_attribute", f"an undeclared attribute; declared: {declared}")
        payload[name] = _payload_value(point.item_id, name, value, type_)
    return payload


def _payload_value(item_id: str, name: str, value: AttributeValue, type_: AttributeType) -> Any:
    if type_ is AttributeType.GEO:
        place = normal_point(value)
        normal: Any = None if place is None else {"lat": place[0], "lon": place[1]}
    elif isinstance(value, list):
        elements = [normal_scalar(element, type_) for element in value[: _MAX_LIST + 1]]
        normal = None if None in elements or len(elements) > _MAX_LIST else elements
    else:
        normal = normal_scalar(value, type_)
    if normal is None:
        raise _invalid(item_id, "wrong_type", f"an attribute {name} that is no {type_}, nor a short list of such")
    return normal


def _check_vector(item_id: str, vector: Vector, dimensions: int) -> None:
    if vector.shape != (dimensions,):
        raise _invalid(item_id, "invalid_vector", f"a text vector that is not of length {dimensions}")
    norm = float(np.linalg.norm(vector))
    if not abs(norm - 1.0) <= _NORM_TOLERANCE:  # so written that NaN fails too
        raise _invalid(item_id, "invalid_vector", "a text vector that is not of unit length, or not finite")


def check_taste(weights: Mapping[str, SparseVector]) -> None:
    """Raise InvalidInputError naming the first item whose taste vector no engine should see."""
    for item_id, taste in weights.items():
        if fault := _sparse_fault(taste, "taste"):
            raise _invalid(item_id, "invalid_vector", fault)


def _check_words(point: Point, spec: CollectionSpec) -> None:
    if spec.average_length is None:
        raise _invalid(point.item_id, "invalid_vector", "words, which this generation cannot hold; reindex")
    if point.words is not None and (fault := _sparse_fault(point.words, "word")):
        raise _invalid(point.item_id, "invalid_vector", fault)


def _sparse_fault(vector: SparseVector, kind: str) -> str | None:
    positions, weights = vector.positions, vector.weights
    if len(positions) != len(weights) or len(set(positions)) != len(positions):
        return f"a {kind} vector whose positions are not unique, one per weight"
    if any(not 0 <= position <= _LARGEST_POSITION for position in positions) or not np.isfinite(weights).all():
        return f"a {kind} vector with a position or weight out of range"
    return None


def _is_plain_id(item_id: str) -> bool:
    return item_id != "" and normal_scalar(item_id, AttributeType.KEYWORD) is not None


def _invalid(item_id: str, code: str, what: str) -> InvalidInputError:
    return InvalidInputError(code, f"item {item_id!r:.300} has {what}", item_id)
