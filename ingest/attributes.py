"""Attributes of an item: their types, and how values from outside are checked against what is declared."""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from math import isfinite
from typing import Any, cast

from ingest.errors import InvalidInputError, SettingsError
from ingest.text import plain
from ingest.times import format_time, parse_time

MAX_ATTRIBUTES = 100
MAX_NAME_CHARS = 64
MAX_VALUES = 100
MAX_VALUE_CHARS = 8_192
LARGEST_INTEGER = 2**53  # engines compare integers with range bounds as 64-bit floats, exact up to here
_LARGEST_STORED = 2**63  # JSON holds integers of 64 bits; what is not declared is kept and never compared
_DECLARABLE = re.compile(rf"[A-Za-z0-9_]{{1,{MAX_NAME_CHARS}}}")
_FIELDS_OF_ITEMS = frozenset({"item_id", "title", "text"})


class AttributeType(StrEnum):
    """The types an attribute may be declared with."""

    KEYWORD = "keyword"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    GEO = "geo"


GeoPoint = Mapping[str, float]
AttributeValue = str | int | float | bool | list[str] | list[int] | list[float] | GeoPoint


def check_declarable(name: str) -> None:
    """Raise SettingsError unless an attribute of this name may be declared: also as a part of filters and templates.

    Items may have attributes of any printable name of that length beside, which are kept and not filtered by.
    """
    if name in _FIELDS_OF_ITEMS or not _DECLARABLE.fullmatch(name):
        raise SettingsError(
            f"{name[:80]!r} cannot be declared: attribute names are 1 to {MAX_NAME_CHARS} letters, digits and _, "
            "and not item_id, title or text"
        )


def parse_attributes(data: Any, declared: Mapping[str, AttributeType]) -> dict[str, AttributeValue]:
    """Declared attributes checked and normalised, the others checked to be flat. Absent: None and empty lists.

    Normalised means: integers and floats by their declared type, times as RFC 3339 in UTC, strings in NFC.
    Raises InvalidInputError naming the attribute.
    """
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise InvalidInputError("wrong_type", "attributes must be an object of names and values", "attributes")
    if len(data) > MAX_ATTRIBUTES:
        raise InvalidInputError("too_many", f"attributes has more than {MAX_ATTRIBUTES} entries", "attributes")
    parsed = {}
    for name, value in data.items():
        _check_name(name)
        if value is not None and value != []:
            parsed[name] = parse_value(value, declared.get(name), f"attributes.{name}")
    return parsed


def parse_value(value: Any, declared: AttributeType | None, field: str) -> AttributeValue:
    """One value, or a list of them, of the type; raises InvalidInputError saying what `field` must be."""
    parse = _PARSERS[declared]
    if declared in SINGLE or not isinstance(value, list | tuple):
        return parse(value, field)
    return cast("AttributeValue", _parse_list(value, parse, field))


def check_number(value: Any, field: str, expected: str, code: str = "wrong_type") -> float | int:
    """A finite number that is no boolean; raises InvalidInputError saying that `field` must be `expected`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError(code, f"{field} must be {expected}", field)
    if isinstance(value, float) and not isfinite(value):
        raise InvalidInputError("not_finite", f"{field} must be {expected}, not NaN or infinite", field)
    return value


def parse_point(value: Any, field: str) -> GeoPoint:
    """A point of latitude and longitude in degrees; raises InvalidInputError saying what `field` must be."""
    expected = 'a point {"lat": -90 to 90, "lon": -180 to 180}'
    if not isinstance(value, Mapping) or set(value) != {"lat", "lon"}:
        raise _wrong_type(field, expected)
    latitude, longitude = (
        check_number(value[part], field, expected, "attribute_wrong_type") for part in ("lat", "lon")
    )
    if abs(latitude) > 90 or abs(longitude) > 180:  # noqa: PLR2004 - degrees
        raise _wrong_type(field, expected)
    return {"lat": float(latitude), "lon": float(longitude)}


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise InvalidInputError(
            "attribute_name", f"an attribute's name must be 1 to {MAX_NAME_CHARS} printable characters", "attributes"
        )
    if name == "categories":
        raise InvalidInputError(
            "attribute_name", "categories is a field of the item itself, not one of its attributes", "attributes"
        )


def _parse_list(values: Sequence[Any], parse: Callable[[Any, str], AttributeValue], field: str) -> list[AttributeValue]:
    if len(values) > MAX_VALUES:
        raise InvalidInputError("too_many", f"{field} has more than {MAX_VALUES} values", field)
    return [parse(value, field) for value in values]


def _keyword(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(field, "a string or a list of strings")
    # Looked at again, as NFC may make three characters of one: a filter takes what is stored.
    if len(value) > MAX_VALUE_CHARS or len(stored := plain(value)) > MAX_VALUE_CHARS:
        raise InvalidInputError("attribute_too_long", f"{field} has more than {MAX_VALUE_CHARS} characters", field)
    return stored


def _integer(value: Any, field: str) -> int:
    expected = "an integer within 2^53 of zero, or a list of them; longer identifiers are keywords"
    number = check_number(value, field, expected, "attribute_wrong_type")
    if number != int(number) or abs(number) > LARGEST_INTEGER:
        raise _wrong_type(field, expected)
    return int(number)


def _float(value: Any, field: str) -> float:
    expected = "a number or a list of numbers"
    number = check_number(value, field, expected, "attribute_wrong_type")
    if isinstance(number, int) and not _is_storable(number):
        raise _wrong_type(field, expected)
    return float(number)


def _boolean(value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(field, "true or false")
    return value


def _datetime(value: Any, field: str) -> str:
    try:
        return format_time(parse_time(value))
    except ValueError as error:
        raise InvalidInputError("attribute_wrong_type", f"{field} {error}", field) from error


def _undeclared(value: Any, field: str) -> str | int | float | bool:
    if isinstance(value, str):
        return _keyword(value, field)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not _is_storable(value):
            raise _wrong_type(field, "an integer of 64 bits; longer identifiers are strings")
        return value
    if isinstance(value, float):
        return _float(value, field)
    raise _wrong_type(field, "a string, a number, a boolean, or a list of these")


def _is_storable(number: int) -> bool:
    return -_LARGEST_STORED <= number < _LARGEST_STORED


def _wrong_type(field: str, expected: str) -> InvalidInputError:
    return InvalidInputError("attribute_wrong_type", f"{field} must be {expected}", field)


SINGLE = frozenset({AttributeType.BOOLEAN, AttributeType.DATETIME, AttributeType.GEO})
_PARSERS: Mapping[AttributeType | None, Callable[[Any, str], AttributeValue]] = {
    AttributeType.KEYWORD: _keyword,
    AttributeType.INTEGER: _integer,
    AttributeType.FLOAT: _float,
    AttributeType.BOOLEAN: _boolean,
    AttributeType.DATETIME: _datetime,
    AttributeType.GEO: parse_point,
    None: _undeclared,
}
