"""What an item is, and how one is read from outside data. Knows nothing of files, HTTP or databases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class AttributeType(StrEnum):
    """The types an attribute may be declared with."""

    KEYWORD = "keyword"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    GEO = "geo"


type_of_scalar = str | int | float | bool
GeoPoint = Mapping[str, float]
AttributeValue = str | int | float | bool | list[str] | list[int] | list[float] | GeoPoint


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
