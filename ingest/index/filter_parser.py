"""Reading a filter tree from JSON, checked against the declared attributes."""

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from ingest.attributes import MAX_VALUE_CHARS
from ingest.errors import InvalidInputError
from ingest.index.filter_values import Scalar, normal_point, normal_scalar
from ingest.index.filters import COMPARISONS, And, Exists, Filter, GeoRadius, In, Not, Or, Range
from ingest.items import AttributeType
from ingest.query_settings import FilterLimits

DEFAULT_LIMITS = FilterLimits()
_RANGE_TYPES = frozenset({AttributeType.INTEGER, AttributeType.FLOAT, AttributeType.DATETIME})
_EXPECTED = {
    AttributeType.KEYWORD: "a string without NUL or lone surrogates",
    AttributeType.INTEGER: "an integer within 2^53 of zero (longer identifiers are keywords)",
    AttributeType.FLOAT: "a finite number",
    AttributeType.BOOLEAN: "true or false",
    AttributeType.DATETIME: "a time like 2024-05-01T12:30:00Z, a date, or Unix seconds; no offset means UTC",
    AttributeType.GEO: 'a point {"lat": -90..90, "lon": -180..180}',
}


def parse_filter(
    tree: Any, attributes: Mapping[str, AttributeType], limits: FilterLimits = DEFAULT_LIMITS
) -> Filter | None:
    """Read a filter from JSON. Raises InvalidInputError naming the attribute or operator that does not fit.

    None and `{}` are no filter. The codes are `filter_malformed`, `unknown_operator`, `undeclared_attribute`,
    `filter_wrong_type`, `filter_too_deep` and `filter_too_large`; no message repeats a value.
    """
    if tree is None or tree == {}:
        return None
    return _Reader(attributes, limits).node(tree, depth=0)


class _Reader:
    """One pass over one tree; it stops at the first part that is too deep, so no tree can exhaust the stack."""

    def __init__(self, attributes: Mapping[str, AttributeType], limits: FilterLimits) -> None:
        self._attributes = attributes
        self._limits = limits
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
        if self._conditions > self._limits.conditions:
            raise _too_large(f"a filter has at most {self._limits.conditions} conditions")
        return self._condition(name, body)

    def _group(self, name: str, body: Any, depth: int) -> Filter:
        if depth >= self._limits.depth:
            raise InvalidInputError(
                "filter_too_deep", f"and, or, not may be nested {self._limits.depth} deep; flatten the filter", "filter"
            )
        self._groups += 1
        if self._groups > self._limits.conditions:
            raise _too_large(f"a filter has at most {self._limits.conditions} groups")
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
        if name not in COMPARISONS and name not in ("eq", "in"):
            known = "and, or, not, eq, in, gt, gte, lt, lte, exists, geo_radius"
            raise InvalidInputError("unknown_operator", f"{_shown(name)} is no operator; known: {known}", _shown(name))
        if not isinstance(body, dict) or len(body) != 1:
            raise InvalidInputError("filter_malformed", f"{name} takes an object with one attribute", name)
        ((key, value),) = body.items()
        attribute, type_ = self._declared(key)
        if name in COMPARISONS:
            return _range(attribute, type_, cast("Literal['gt', 'gte', 'lt', 'lte']", name), value)
        return _in(attribute, type_, name, value, self._limits.values)

    def _declared(self, name: Any) -> tuple[str, AttributeType]:
        type_ = self._attributes.get(name) if isinstance(name, str) else None
        if type_ is None:
            declared = ", ".join(sorted(self._attributes)) or "none"
            detail = f"{_shown(name)} is not a declared attribute; declared: {declared} (later ones take a reindex)"
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


def _in(attribute: str, type_: AttributeType, name: str, body: Any, most: int) -> In:
    if type_ is AttributeType.GEO:
        raise _wrong_type(attribute, f"{name} does not work on the geo attribute {attribute}; use geo_radius")
    if name == "in" and not isinstance(body, list):
        raise InvalidInputError("filter_malformed", f"in on {attribute} takes a list of values", attribute)
    values = body if name == "in" else [body]
    if len(values) > most:
        raise _too_large(f"in on {attribute} takes at most {most} values")
    return In(attribute=attribute, type=type_, values=tuple(_checked(attribute, type_, name, v) for v in values))


def _range(attribute: str, type_: AttributeType, name: Literal["gt", "gte", "lt", "lte"], body: Any) -> Range:
    if type_ not in _RANGE_TYPES:
        raise _wrong_type(attribute, f"{name} needs an integer, float or datetime attribute; {attribute} is {type_}")
    return Range(attribute=attribute, type=type_, operator=name, value=_checked(attribute, type_, name, body))


def _checked(attribute: str, type_: AttributeType, name: str, value: Any) -> Scalar:
    if isinstance(value, str) and len(value) > MAX_VALUE_CHARS:
        detail = f"{name} on {attribute} takes values of at most {MAX_VALUE_CHARS} characters"
        raise InvalidInputError("filter_too_large", detail, attribute)
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
