"""The filter tree that queries may carry, and what it means: typed, and free of any vendor."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ingest.index.filter_values import Scalar, normal_point, normal_scalar
from ingest.items import AttributeType, AttributeValue

EARTH_RADIUS_METRES = 6_371_008.8  # IUGG mean radius, the one Qdrant computes with
_POLAR_DEGREES = 89.0


@dataclass(frozen=True, kw_only=True)
class And:
    """Every part must hold; with no parts, everything passes."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, kw_only=True)
class Or:
    """At least one part must hold; with no parts, nothing passes."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, kw_only=True)
class Not:
    """The part must not hold; an attribute that is missing passes a `not`."""

    part: "Filter"


@dataclass(frozen=True, kw_only=True)
class In:
    """The attribute, or one of its values when it is a list, is among `values` (`eq` is `in` with one value)."""

    attribute: str
    type: AttributeType
    values: tuple[Scalar, ...]


@dataclass(frozen=True, kw_only=True)
class Range:
    """The attribute, or one of its values, lies on this side of `value`; datetimes as `normal_scalar` gives them."""

    attribute: str
    type: AttributeType
    operator: Literal["gt", "gte", "lt", "lte"]
    value: int | float | str


@dataclass(frozen=True, kw_only=True)
class Exists:
    """The attribute has a value; an empty list is none."""

    attribute: str


@dataclass(frozen=True, kw_only=True)
class GeoRadius:
    """The attribute's point lies within `metres` of the centre, along a great circle."""

    attribute: str
    latitude: float
    longitude: float
    metres: float


Filter = And | Or | Not | In | Range | Exists | GeoRadius

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def matches(  # noqa: PLR0911 - one return per kind of condition
    filter_: Filter | None, attributes: Mapping[str, AttributeValue]
) -> bool:
    """Whether an item with these attributes passes: what every index must agree with.

    A list passes when one of its values does; a missing attribute passes nothing but a `not`.
    """
    match filter_:
        case None:
            return True
        case And():
            return all(matches(part, attributes) for part in filter_.parts)
        case Or():
            return any(matches(part, attributes) for part in filter_.parts)
        case Not():
            return not matches(filter_.part, attributes)
        case GeoRadius():
            return _within(filter_, attributes.get(filter_.attribute))
        case Exists():
            return bool(_values(attributes.get(filter_.attribute)))
        case In():
            scalars = _normal_values(attributes.get(filter_.attribute), filter_.type)
            return any(scalar in filter_.values for scalar in scalars)
        case Range():
            compare = COMPARISONS[filter_.operator]
            scalars = _normal_values(attributes.get(filter_.attribute), filter_.type)
            return any(compare(scalar, filter_.value) for scalar in scalars)


def great_circle_metres(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Distance of two (latitude, longitude) points in degrees, by the haversine formula."""
    (phi_1, lambda_1), (phi_2, lambda_2) = (tuple(map(math.radians, point)) for point in (first, second))
    h = (
        math.sin((phi_2 - phi_1) / 2) ** 2
        + math.cos(phi_1) * math.cos(phi_2) * math.sin((lambda_2 - lambda_1) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_METRES * math.asin(math.sqrt(min(h, 1.0)))


def nears_pole(circle: GeoRadius) -> bool:
    """Whether the circle comes within a degree of a pole, where Qdrant's geo index misses points."""
    return abs(circle.latitude) + math.degrees(circle.metres / EARTH_RADIUS_METRES) >= _POLAR_DEGREES


def _within(circle: GeoRadius, value: Any) -> bool:
    point = normal_point(value)
    return point is not None and great_circle_metres((circle.latitude, circle.longitude), point) <= circle.metres


def _values(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _normal_values(value: Any, type_: AttributeType) -> list[Scalar]:
    normal = (normal_scalar(element, type_) for element in _values(value))
    return [scalar for scalar in normal if scalar is not None]
