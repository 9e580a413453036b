"""The filter tree that queries may carry: typed, checked against the declared attributes, and free of any vendor."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ingest.items import AttributeType

Scalar = str | int | float | bool


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
    """The part must not hold."""

    part: "Filter"


@dataclass(frozen=True, kw_only=True)
class In:
    """The attribute, or one of its values when it is a list, is among `values` (`eq` is `in` with one value)."""

    attribute: str
    type: AttributeType
    values: tuple[Scalar, ...]


@dataclass(frozen=True, kw_only=True)
class Range:
    """The attribute lies on this side of `value`; datetimes are aware RFC 3339 strings."""

    attribute: str
    type: AttributeType
    operator: Literal["gt", "gte", "lt", "lte"]
    value: int | float | str


@dataclass(frozen=True, kw_only=True)
class Exists:
    """The attribute has a value."""

    attribute: str


@dataclass(frozen=True, kw_only=True)
class GeoRadius:
    """The attribute's point lies within `metres` of the centre."""

    attribute: str
    latitude: float
    longitude: float
    metres: float


Filter = And | Or | Not | In | Range | Exists | GeoRadius


def parse_filter(tree: Any, attributes: Mapping[str, AttributeType]) -> Filter | None:
    """Read a filter from JSON. Raises InvalidInputError naming the attribute or operator that does not fit."""
    raise NotImplementedError(tree, attributes)
