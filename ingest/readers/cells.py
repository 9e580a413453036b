"""From a row's cells to the JSON shape that `parse_item` and `parse_event` read, following a mapping.

Converts only what a file format cannot say: numbers, booleans and lists written as text, times as objects.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from ingest.items import AttributeType
from ingest.mapping import EVENT_FIELDS, EventMapping, ItemMapping

RowData = Mapping[str, Any]

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_EXACT_FLOAT = 2**53  # above it neighbouring integers share a float, so such an id would be a guess


def item_data(mapping: ItemMapping, declared: Mapping[str, AttributeType]) -> Callable[[RowData], dict[str, Any]]:
    """The function that makes an item's JSON shape of a row."""
    ids, titles, texts, categories, versions = map(
        mapping.columns_of, ("item_id", "title", "text", "categories", "version")
    )
    attributes = [
        (name, columns, declared.get(name)) for name, columns in mapping.attribute_columns(declared.keys()).items()
    ]
    separators = mapping.separators
    nested = "attributes" not in {column for columns in mapping.attributes.values() for column in columns}

    def convert(row: RowData) -> dict[str, Any]:
        values = {}
        for name, columns, type_ in attributes:
            column = _first_filled(row, columns)
            if column is not None:
                values[name] = attribute_value(row[column], type_, separators.get(column))
        given = row.get("attributes") if nested else None
        return {
            "item_id": as_id(_first(row, ids)),
            "title": as_text(_first(row, titles)),
            "text": _joined(row, texts),
            "categories": _merged(row, categories, separators),
            # A whole object of attributes, as the API takes it; what is no object is left for parse_item to refuse.
            "attributes": {**given, **values} if isinstance(given, Mapping) else given or values,
            "version": as_number(_first(row, versions)),
        }

    return convert


def event_data(mapping: EventMapping) -> Callable[[RowData], dict[str, Any]]:
    """The function that makes an event's JSON shape of a row."""
    columns = [(name, mapping.columns_of(name), _EVENT_CELLS[name]) for name in EVENT_FIELDS]
    constants = dict(mapping.constants)

    def convert(row: RowData) -> dict[str, Any]:
        data = {}
        for name, names, read in columns:
            value = _first(row, names)
            if value is not None:
                data[name] = read(value)
        return data | constants

    return convert


def as_id(value: Any) -> Any:
    """Whole numbers as decimal text; anything else as it is."""
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOAT:
        return str(int(value))
    return value


def as_text(value: Any) -> Any:
    """Numbers and times as text, lists of texts joined by a comma; anything else as it is."""
    if isinstance(value, str | bool | None):
        return value
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return str(value) if isinstance(value, int | float | Decimal | date) else value


def as_number(value: Any) -> Any:
    """The number that a text spells; anything else as it is, so that parsing can refuse it by name."""
    if isinstance(value, str):
        text = value.strip()
        if _INTEGER.fullmatch(text):
            return int(text)
        return float(text) if _NUMBER.fullmatch(text) else value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def as_time(value: Any) -> Any:
    """Times and dates as RFC 3339, Unix seconds written as text as a number."""
    return value.isoformat() if isinstance(value, date) else as_number(value)  # a datetime is a date, too


def attribute_value(value: Any, type_: AttributeType | None, separator: str | None = None) -> Any:
    """A cell converted to the declared type as far as that is plain; with a separator, to a list."""
    if separator is not None and isinstance(value, str):
        value = _split(value, separator)
    read = _ATTRIBUTE_CELLS[type_]
    return [read(part) for part in value] if isinstance(value, list) else read(value)


def _as_boolean(value: Any) -> Any:
    return _BOOLEANS.get(value.strip().lower(), value) if isinstance(value, str) else value


def _as_keyword(value: Any) -> Any:
    return as_id(value) if isinstance(value, int | float) else as_text(value)


def _as_point(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    latitude, _, longitude = value.partition(",")
    return {"lat": as_number(latitude), "lon": as_number(longitude)}


def _as_scalar(value: Any) -> Any:
    return as_number(value) if isinstance(value, Decimal) else value.isoformat() if isinstance(value, date) else value


def _as_is(value: Any) -> Any:
    return value


def _first_filled(row: RowData, columns: tuple[str, ...]) -> str | None:
    for column in columns:
        if row.get(column) not in (None, ""):
            return column
    return None


def _first(row: RowData, columns: tuple[str, ...]) -> Any:
    for column in columns:
        value = row.get(column)
        if value is not None and value != "":
            return value
    return None


def _joined(row: RowData, columns: tuple[str, ...]) -> Any:
    texts = [as_text(row[column]) for column in columns if row.get(column) not in (None, "")]
    if all(isinstance(text, str) for text in texts):
        return "\n".join(texts)
    return texts  # parse_item says that this is no text


def _merged(row: RowData, columns: tuple[str, ...], separators: Mapping[str, str]) -> Any:
    merged: list[Any] = []
    for column in columns:
        cell = row.get(column)
        if isinstance(cell, str):
            merged += _split(cell, separators[column]) if column in separators else [cell]
        elif isinstance(cell, list):
            merged += cell
        elif cell is not None:
            return cell
    return merged


def _split(cell: str, separator: str) -> list[str]:
    return [part for part in map(str.strip, cell.split(separator)) if part]


_ATTRIBUTE_CELLS: Mapping[AttributeType | None, Callable[[Any], Any]] = {
    AttributeType.KEYWORD: _as_keyword,
    AttributeType.INTEGER: as_number,
    AttributeType.FLOAT: as_number,
    AttributeType.BOOLEAN: _as_boolean,
    AttributeType.DATETIME: as_time,
    AttributeType.GEO: _as_point,
    None: _as_scalar,
}
_EVENT_CELLS: Mapping[str, Callable[[Any], Any]] = {
    "event_id": as_id,
    "user_id": as_id,
    "item_id": as_id,
    "type": _as_is,
    "value": as_number,
    "timestamp": as_time,
    "dwell_ms": as_number,
    "recommendation_id": as_id,
}
