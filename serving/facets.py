"""How the items of a search are spread over declared attributes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from ingest.errors import InvalidInputError
from ingest.items import AttributeType, AttributeValue

MOST_FACETS = 20
MOST_VALUES = 100
COUNTED_TYPES = (AttributeType.KEYWORD, AttributeType.BOOLEAN)
RANGED_TYPES = (AttributeType.INTEGER, AttributeType.FLOAT)


class FacetValue(Struct, frozen=True, kw_only=True):
    """A value and how many of the counted items have it."""

    value: str | bool
    count: int


class Facet(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attribute over the counted items: its commonest values, or its range."""

    items: int  # counted items that have the attribute at all
    values: tuple[FacetValue, ...] | None = None
    distinct: int | None = None  # values there are, shown or not
    min: float | None = None
    max: float | None = None


def check_facets(names: Sequence[str], limit: int, declared: Mapping[str, AttributeType]) -> None:
    """Raise InvalidInputError naming what is not declared, or of a type that has no facets."""
    if len(names) > MOST_FACETS:
        raise InvalidInputError("too_many_facets", f"at most {MOST_FACETS} facets can be asked for", "facets")
    if not 1 <= limit <= MOST_VALUES:
        raise InvalidInputError("invalid_facet_limit", f"facet_limit is from 1 to {MOST_VALUES}", "facet_limit")
    fit = sorted(name for name, type_ in declared.items() if type_ in COUNTED_TYPES + RANGED_TYPES)
    for name in names:
        if name not in declared:
            shown = name if re.fullmatch(r"[A-Za-z0-9_]{1,64}", name) else "one of the facets"
            detail = (
                f"{shown} is not a declared attribute; facets may name {', '.join(fit)} (later ones take a reindex)"
            )
            raise InvalidInputError("undeclared_attribute", detail, "facets")
        if name not in fit:
            detail = f"the attribute {name} is a {declared[name]}, which has no facets; they may name {', '.join(fit)}"
            raise InvalidInputError("wrong_type", detail, "facets")


def count_facets(
    items: Sequence[Mapping[str, AttributeValue]],
    names: Sequence[str],
    limit: int,
    declared: Mapping[str, AttributeType],
) -> dict[str, Facet]:
    """Facets by name over items given by their attributes; an item with several values counts once for each."""
    return {
        name: _counted(items, name, limit) if declared[name] in COUNTED_TYPES else _ranged(items, name)
        for name in names
    }


def _counted(items: Sequence[Mapping[str, AttributeValue]], name: str, limit: int) -> Facet:
    present = [values for item in items if (values := set(_values(item, name)))]
    counts = Counter(value for values in present for value in values)
    commonest = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))[:limit]
    shown = tuple(FacetValue(value=value, count=count) for value, count in commonest)
    return Facet(items=len(present), values=shown, distinct=len(counts))


def _ranged(items: Sequence[Mapping[str, AttributeValue]], name: str) -> Facet:
    present = [values for item in items if (values := _values(item, name))]
    numbers = [value for values in present for value in values]
    if not numbers:
        return Facet(items=0)
    return Facet(items=len(present), min=min(numbers), max=max(numbers))


def _values(item: Mapping[str, AttributeValue], name: str) -> list[Any]:
    value = item.get(name)
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
