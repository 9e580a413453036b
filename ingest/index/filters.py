"""The filter tree that queries may carry: typed, checked against the declared attributes, and free of any vendor."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from ingest.errors import InvalidInputError
from ingest.items import AttributeType, AttributeValue

Scalar = str | int | float | bool

MAX_DEPTH = 4  # nested and/or/not
MAX_CONDITIONS = 64
MAX_VALUES = 256  # of one `in`
EARTH_RADIUS_METRES = 6_371_008.8  # IUGG mean radius, the one Qdrant computes with


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

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_LARGEST_INTEGER = 2**53  # engines compare integers with range bounds as 64-bit floats, exact up to here
_POLAR_DEGREES = 89.0
_RANGE_TYPES = frozenset({AttributeType.INTEGER, AttributeType.FLOAT, AttributeType.DATETIME})
_EXPECTED = {
    AttributeType.KEYWORD: "a string without NUL or lone surrogates",
    AttributeType.INTEGER: "an integer within 2^53 of zero (longer identifiers are keywords)",
    AttributeType.FLOAT: "a finite number",
    AttributeType.BOOLEAN: "true or false",
    AttributeType.DATETIME: "an RFC 3339 time with an offset, or Unix seconds",
    AttributeType.GEO: 'a point {"lat": -90..90, "lon": -180..180}',
}


def parse_filter(tree: Any, attributes: Mapping[str, AttributeType]) -> Filter | None:
    """Read a filter from JSON. Raises InvalidInputError naming the attribute or operator that does not fit.

    None and `{}` are no filter. The codes are `filter_malformed`, `unknown_operator`, `undeclared_attribute`,
    `filter_wrong_type`, `filter_too_deep` and `filter_too_large`; no message repeats a value.
    """
    if tree is None or tree == {}:
        return None
    return _Reader(attributes).node(tree, depth=0)


class _Reader:
    """One pass over one tree; it stops at the first part that is too deep, so no tree can exhaust the stack."""

    def __init__(self, attributes: Mapping[str, AttributeType]) -> None:
        self._attributes = attributes
        self._groups = 0
        self._conditions = 0

    def node(self, tree: Any, depth: int) -> Filter:
        if not isinstance(tree, dict) or len(tree) != 1:
            raise InvalidInputError(
                "filter_malformed",
                'every part of a filter is an object with one operator, like {"eq": {...}}',
                "filter",
            )
        ((name, body),) = tree.items()
        if name in ("and", "or", "not"):
            return self._group(name, body, depth)
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise _too_large(f"a filter has at most {MAX_CONDITIONS} conditions")
        return self._condition(name, body)

    def _group(self, name: str, body: Any, depth: int) -> Filter:
        if depth >= MAX_DEPTH:
            raise InvalidInputError(
                "filter_too_deep", f"and, or, not may be nested {MAX_DEPTH} deep; flatten the filter", "filter"
            )
        self._groups += 1
        if self._groups > MAX_CONDITIONS:
            raise _too_large(f"a filter has at most {MAX_CONDITIONS} groups")
        if name == "not":
            return Not(part=self.node(body, depth + 1))
        if not isinstance(body, list):
            raise InvalidInputError("filter_malformed", f"{name} takes a list of conditions", name)
        parts = tuple(self.node(part, depth + 1) for part in body)
        return And(parts=parts) if name == "and" else Or(parts=parts)

    def _condition(self, name: Any, body: Any) -> Filter:
        if name == "exists":
            attribute, _ = self._declared(body)
            return Exists(attribute=attribute)
        if name == "geo_radius":
            return self._geo_radius(body)
        if name not in _COMPARISONS and name not in ("eq", "in"):
            known = "and, or, not, eq, in, gt, gte, lt, lte, exists, geo_radius"
            raise InvalidInputError("unknown_operator", f"{_shown(name)} is no operator; known: {known}", _shown(name))
        if not isinstance(body, dict) or len(body) != 1:
            raise InvalidInputError("filter_malformed", f"{name} takes an object with one attribute", name)
        ((key, value),) = body.items()
        attribute, type_ = self._declared(key)
        if name in _COMPARISONS:
            return _range(attribute, type_, cast("Literal['gt', 'gte', 'lt', 'lte']", name), value)
        return _in(attribute, type_, name, value)

    def _declared(self, name: Any) -> tuple[str, AttributeType]:
        type_ = self._attributes.get(name) if isinstance(name, str) else None
        if type_ is None:
            declared = ", ".join(sorted(self._attributes)) or "none"
            detail = f"{_shown(name)} is not a declared attribute; declared: {declared}"
            raise InvalidInputError("undeclared_attribute", detail, _shown(name))
        return name, type_

    def _geo_radius(self, body: Any) -> GeoRadius:
        if not isinstance(body, dict) or set(body) != {"attribute", "lat", "lon", "metres"}:
            raise InvalidInputError("filter_malformed", "geo_radius takes attribute, lat, lon and metres", "geo_radius")
        attribute, type_ = self._declared(body["attribute"])
        if type_ is not AttributeType.GEO:
            raise _wrong_type(attribute, f"geo_radius needs a geo attribute, {attribute} is {type_}")
        point = normal_point({"lat": body["lat"], "lon": body["lon"]})
        metres = normal_scalar(body["metres"], AttributeType.FLOAT)
        if point is None or not isinstance(metres, float) or metres <= 0:
            expected = "lat within -90..90, lon within -180..180 and metres above 0"
            raise _wrong_type(attribute, f"geo_radius on {attribute} needs {expected}")
        return GeoRadius(attribute=attribute, latitude=point[0], longitude=point[1], metres=metres)


def _in(attribute: str, type_: AttributeType, name: str, body: Any) -> In:
    if type_ is AttributeType.GEO:
        raise _wrong_type(attribute, f"{name} does not work on the geo attribute {attribute}; use geo_radius")
    if name == "in" and not isinstance(body, list):
        raise InvalidInputError("filter_malformed", f"in on {attribute} takes a list of values", attribute)
    values = body if name == "in" else [body]
    if len(values) > MAX_VALUES:
        raise _too_large(f"in on {attribute} takes at most {MAX_VALUES} values")
    return In(attribute=attribute, type=type_, values=tuple(_checked(attribute, type_, name, v) for v in values))


def _range(attribute: str, type_: AttributeType, name: Literal["gt", "gte", "lt", "lte"], body: Any) -> Range:
    if type_ not in _RANGE_TYPES:
        raise _wrong_type(attribute, f"{name} needs an integer, float or datetime attribute; {attribute} is {type_}")
    return Range(attribute=attribute, type=type_, operator=name, value=_checked(attribute, type_, name, body))


def _checked(attribute: str, type_: AttributeType, name: str, value: Any) -> Scalar:
    normal = normal_scalar(value, type_)
    if normal is None:
        raise _wrong_type(attribute, f"{name} on the {type_} attribute {attribute} needs {_EXPECTED[type_]}")
    return normal


def _wrong_type(attribute: str, detail: str) -> InvalidInputError:
    return InvalidInputError("filter_wrong_type", detail, attribute)


def _too_large(detail: str) -> InvalidInputError:
    return InvalidInputError("filter_too_large", detail, "filter")


def _shown(name: Any) -> str:
    """A name from outside, only when it is plain and short enough to be put into a message."""
    return name if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_.$-]{1,64}", name) else "this name"


def normal_scalar(value: Any, type_: AttributeType) -> Scalar | None:
    """The one form of a value of this type that filters compare and the index stores; None when it is none.

    Floats are finite; datetimes become RFC 3339 strings in UTC with microseconds, whose order is the order of time.
    """
    match type_:
        case AttributeType.KEYWORD:
            return value if isinstance(value, str) and "\0" not in value and _is_unicode(value) else None
        case AttributeType.BOOLEAN:
            return value if isinstance(value, bool) else None
        case AttributeType.INTEGER:
            whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_INTEGER
            return cast("int", value) if whole else None
        case AttributeType.FLOAT:
            return _finite(value)
        case AttributeType.DATETIME:
            return _normal_datetime(value)
    return None


def normal_point(value: Any) -> tuple[float, float] | None:
    """Latitude and longitude of `{"lat", "lon"}` when both are in range, else None."""
    if not isinstance(value, Mapping) or set(value) != {"lat", "lon"}:
        return None
    latitude, longitude = _finite(value["lat"]), _finite(value["lon"])
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:  # noqa: PLR2004 - degrees
        return None
    return latitude, longitude


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _normal_datetime(value: Any) -> str | None:
    try:
        if isinstance(value, str):
            if not _RFC3339.fullmatch(value):
                return None
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
        else:
            seconds = _finite(value)
            if seconds is None:
                return None
            moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


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
            compare = _COMPARISONS[filter_.operator]
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
