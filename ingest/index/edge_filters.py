"""Filters in Qdrant Edge's words, with the engine's own deviations put right. Part of the Edge adapter."""

from collections.abc import Mapping
from typing import Any

import qdrant_edge as edge

from ingest.index.filters import And, Exists, Filter, GeoRadius, In, Not, Or, Range, nears_pole
from ingest.index.protocol import point_id
from ingest.items import AttributeType


def compile_selection(filter_: Filter | None, excluded: frozenset[str]) -> edge.Filter | None:
    """What passes the filter and is not excluded; None when that is everything."""
    if filter_ is None and not excluded:
        return None
    return edge.Filter(
        must=[] if filter_ is None else [compile_filter(filter_)],
        must_not=[edge.HasIdCondition(set(map(point_id, excluded)))] if excluded else [],
    )


def compile_filter(filter_: Filter) -> Any:  # noqa: PLR0911 - one return per kind of condition
    """The same condition in the engine's words."""
    match filter_:
        case And():
            return edge.Filter(must=[compile_filter(part) for part in filter_.parts])
        case Or():
            return _any_of([compile_filter(part) for part in filter_.parts])
        case Not():
            return edge.Filter(must_not=[compile_filter(filter_.part)])
        case Exists():
            return edge.Filter(must_not=[edge.IsEmptyCondition(filter_.attribute)])
        case GeoRadius():
            return _compiled_circle(filter_)
        case Range():
            return _range(filter_.attribute, filter_.type, {filter_.operator: filter_.value})
        case In():
            return _compiled_in(filter_)


def _any_of(conditions: list[Any]) -> Any:
    # To the engine an empty `should` passes everything; to us an empty `or` passes nothing.
    return edge.Filter(should=conditions) if conditions else edge.HasIdCondition(set())


def _compiled_in(condition: In) -> Any:
    name, type_, values = condition.attribute, condition.type, condition.values
    if type_ in (AttributeType.FLOAT, AttributeType.DATETIME):  # the engine matches no exact value of these types
        return _any_of([_range(name, type_, {"gte": value, "lte": value}) for value in values])
    plain: Any = list(map(without_booleans, values))
    return edge.FieldCondition(name, match=edge.MatchAny(plain)) if plain else _any_of([])


def _range(name: str, type_: AttributeType, bounds: Mapping[str, Any]) -> edge.FieldCondition:
    if type_ is AttributeType.DATETIME:
        return edge.FieldCondition(name, range=edge.RangeDateTime(**bounds))
    return edge.FieldCondition(name, range=edge.RangeFloat(**bounds))


def _compiled_circle(circle: GeoRadius) -> Any:
    centre = edge.GeoPoint(lon=circle.longitude, lat=circle.latitude)
    condition = edge.FieldCondition(circle.attribute, geo_radius=edge.GeoRadius(centre, circle.metres))
    if not nears_pole(circle):
        return condition
    # Near a pole the engine's geo index misses points (0.9.0); a doubled `not` has each point checked by itself.
    return edge.Filter(must_not=[edge.Filter(must_not=[condition])])


def without_booleans(value: Any) -> Any:
    """The value with booleans as 0 and 1: the engine (0.9.0) never matches a stored boolean."""
    if isinstance(value, list):
        return [without_booleans(element) for element in value]
    return int(value) if isinstance(value, bool) else value
