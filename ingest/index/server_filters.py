"""Filters in the words of a Qdrant server. Part of the server adapter."""

from collections.abc import Mapping, Sequence
from typing import Any

from qdrant_client import models

from ingest.index.filters import And, Exists, Filter, GeoRadius, In, Not, Or, Range, nears_pole
from ingest.index.protocol import point_id
from ingest.items import AttributeType


def compile_selection(filter_: Filter | None, exclude_ids: Sequence[str]) -> models.Filter | None:
    """What passes the filter and is not excluded; None when that is everything."""
    if filter_ is None and not exclude_ids:
        return None
    return models.Filter(
        must=[] if filter_ is None else [compile_filter(filter_)],
        must_not=[models.HasIdCondition(has_id=[point_id(item_id) for item_id in exclude_ids])] if exclude_ids else [],
    )


def compile_filter(filter_: Filter) -> Any:  # noqa: PLR0911 - one return per kind of condition
    """The same condition in the server's words."""
    match filter_:
        case And():
            return models.Filter(must=[compile_filter(part) for part in filter_.parts])
        case Or():
            return _any_of([compile_filter(part) for part in filter_.parts])
        case Not():
            return models.Filter(must_not=[compile_filter(filter_.part)])
        case Exists():
            empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=filter_.attribute))
            return models.Filter(must_not=[empty])
        case GeoRadius():
            return _compiled_circle(filter_)
        case Range():
            return _range(filter_.attribute, filter_.type, {filter_.operator: filter_.value})
        case In():
            return _compiled_in(filter_)


def _any_of(conditions: list[Any]) -> Any:
    # To the server an empty `should` passes everything; to us an empty `or` passes nothing.
    return models.Filter(should=conditions) if conditions else models.HasIdCondition(has_id=[])


def _compiled_in(condition: In) -> Any:
    name, type_, values = condition.attribute, condition.type, condition.values
    if type_ in (AttributeType.FLOAT, AttributeType.DATETIME):  # the server matches no exact value of these types
        return _any_of([_range(name, type_, {"gte": value, "lte": value}) for value in values])
    if type_ is AttributeType.BOOLEAN:  # nor any of several booleans
        plain: Any = values
        return _any_of([models.FieldCondition(key=name, match=models.MatchValue(value=value)) for value in plain])
    several: Any = list(values)
    return models.FieldCondition(key=name, match=models.MatchAny(any=several)) if several else _any_of([])


def _range(name: str, type_: AttributeType, bounds: Mapping[str, Any]) -> models.FieldCondition:
    if type_ is AttributeType.DATETIME:
        return models.FieldCondition(key=name, range=models.DatetimeRange(**bounds))
    return models.FieldCondition(key=name, range=models.Range(**bounds))


def _compiled_circle(circle: GeoRadius) -> Any:
    centre = models.GeoPoint(lon=circle.longitude, lat=circle.latitude)
    radius = models.GeoRadius(center=centre, radius=circle.metres)
    condition = models.FieldCondition(key=circle.attribute, geo_radius=radius)
    # Near a pole the engine's geo index misses points; a doubled `not` has each point checked by itself.
    return models.Filter(must_not=[models.Filter(must_not=[condition])]) if nears_pole(circle) else condition
