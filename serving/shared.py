"""What an item and a history have in common in words: the attribute values that both have."""

from collections.abc import Iterable, Mapping

from ingest.items import AttributeType, Item
from serving.lists import Values

_MOST_VALUES = 20


def values_of(item: Item, attributes: Mapping[str, AttributeType]) -> Values:
    """The values of an item's categories and declared keyword attributes, as text."""
    found = {"categories": frozenset(item.categories)}
    for name, kind in attributes.items():
        value = item.attributes.get(name)
        if kind != "keyword" or value is None or name == "categories":
            continue
        found[name] = frozenset(map(str, value)) if isinstance(value, (list, tuple)) else frozenset([str(value)])
    return found


def met_values(past: Iterable[Values]) -> dict[str, set[str]]:
    """By attribute, the values of all past items together."""
    met: dict[str, set[str]] = {}
    for values in past:
        for name, some in values.items():
            met.setdefault(name, set()).update(some)
    return met


def shared_values(item: Values, met: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """By attribute, the item's values that some past item has too, in order; attributes without any are left out."""
    both = {name: sorted(some & met.get(name, set()))[:_MOST_VALUES] for name, some in item.items()}
    return {name: some for name, some in both.items() if some}
