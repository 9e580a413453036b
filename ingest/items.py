"""What an item is, and how one is read from outside data. Knows nothing of files, HTTP or databases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ingest.attributes import AttributeType, AttributeValue, GeoPoint, parse_attributes
from ingest.errors import InvalidInputError
from ingest.ids import MAX_ID_CHARS, check_id
from ingest.text import clean, clean_line

__all__ = [
    "MAX_ID_CHARS",
    "AttributeType",
    "AttributeValue",
    "GeoPoint",
    "Item",
    "StoredItem",
    "check_id",
    "item_from_json",
    "item_to_json",
    "parse_item",
]

MAX_TITLE_CHARS = 2_000
MAX_CATEGORIES = 100
MAX_CATEGORY_CHARS = 256
_LARGEST_VERSION = 2**62  # the ledger holds twice as much, so that every version sent can still grow
_FIELDS = frozenset({"item_id", "title", "text", "categories", "attributes", "version"})


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing of the catalogue, cleaned and checked."""

    item_id: str
    title: str = ""
    text: str = ""
    categories: tuple[str, ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    version: int | None = None  # the caller's own version, when it sends one: only a higher one replaces


@dataclass(frozen=True, kw_only=True)
class StoredItem:
    """An item as the ledger holds it."""

    item: Item
    version: int
    updated_at: datetime
    deleted_at: datetime | None = None


def parse_item(data: Any, attributes: Mapping[str, AttributeType], *, max_text_chars: int) -> Item:
    """An item from parsed JSON, checked against the declared `attributes` and cleaned; null counts as absent.

    Raises InvalidInputError with a stable code and the field; `max_text_chars` bounds the text as it came.
    """
    if not isinstance(data, Mapping):
        raise InvalidInputError("wrong_type", "an item must be an object of fields")
    _check_fields(data)
    item = Item(
        item_id=check_id(data.get("item_id"), "item_id"),
        title=clean_line(_string(data.get("title"), "title", MAX_TITLE_CHARS)),
        text=clean(_string(data.get("text"), "text", max_text_chars)),
        categories=_categories(data.get("categories")),
        attributes=parse_attributes(data.get("attributes"), attributes),
        version=_version(data.get("version")),
    )
    if not (item.title or item.text or item.categories):
        raise InvalidInputError("item_empty", "the item has no title, no text and no categories: nothing to find it by")
    return item


def item_to_json(item: Item) -> dict[str, Any]:
    """The item in the shape `parse_item` reads, without an absent version."""
    data = {
        "item_id": item.item_id,
        "title": item.title,
        "text": item.text,
        "categories": list(item.categories),
        "attributes": dict(item.attributes),
    }
    return data if item.version is None else {**data, "version": item.version}


def item_from_json(data: Mapping[str, Any]) -> Item:
    """The item that `item_to_json` wrote; trusted, so nothing is checked again."""
    return Item(
        item_id=data["item_id"],
        title=data["title"],
        text=data["text"],
        categories=tuple(data["categories"]),
        attributes=data["attributes"],
        version=data.get("version"),
    )


def _check_fields(data: Mapping[Any, Any]) -> None:
    unknown = data.keys() - _FIELDS
    if unknown:
        raise InvalidInputError(
            "unknown_field",
            f"the item has a field that is none of {', '.join(sorted(_FIELDS))}; other values belong in attributes",
            min((name for name in unknown if isinstance(name, str) and name.isidentifier()), default=None),
        )


def _string(value: Any, field: str, limit: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidInputError("wrong_type", f"{field} must be a string", field)
    if len(value) > limit:
        raise InvalidInputError(f"{field}_too_long", f"{field} has more than {limit} characters", field)
    return value


def _categories(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(category, str) for category in values):
        raise InvalidInputError("wrong_type", "categories must be a list of strings", "categories")
    if len(values) > MAX_CATEGORIES:
        raise InvalidInputError("too_many", f"categories has more than {MAX_CATEGORIES} entries", "categories")
    if any(len(category) > MAX_CATEGORY_CHARS for category in values):
        raise InvalidInputError(
            "category_too_long", f"a category has more than {MAX_CATEGORY_CHARS} characters", "categories"
        )
    return tuple(dict.fromkeys(filter(None, map(clean_line, values))))


def _version(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_VERSION:
        raise InvalidInputError("version", "version must be an integer from 0 to 2^62", "version")
    return value
