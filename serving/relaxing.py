"""What is asked again, and with what left out, where too few items pass and the request allows it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from ingest.index.filter_parser import parse_filter
from ingest.index.filters import And, Filter, Not, Or
from ingest.items import AttributeType
from ingest.query_settings import FilterLimits
from serving.candidates import Selection
from serving.request import RELAXED_CAPS, RELAXED_SCORE, RecommendRequest


@dataclass(frozen=True, kw_only=True)
class Step:
    """A selection and caps, without what was `dropped` for them."""

    selection: Selection
    max_per: Mapping[str, int]
    dropped: tuple[str, ...] = ()


def steps(
    request: RecommendRequest,
    selection: Selection,
    attributes: Mapping[str, AttributeType],
    limits: FilterLimits,
) -> Iterator[Step]:
    """What the request asks for, then the same with more and more dropped; nothing is asked twice.

    An attribute that is dropped takes with it the parts of the request's outermost `and` that speak of nothing else
    than dropped attributes. What the request requires is never dropped, nor what it excludes.
    """
    required, own = (parse_filter(tree, attributes, limits) for tree in (request.required, request.filter))
    yield Step(selection=replace(selection, filter=both(required, own)), max_per=request.max_per)
    parts = conjuncts(own)
    dropped: list[str] = []
    last = (len(parts), bool(request.max_per), selection.min_score)
    for name in dict.fromkeys(request.relax):
        dropped.append(name)
        kept = tuple(part for part in parts if not _speaks_only_of(part, dropped))
        max_per = {} if RELAXED_CAPS in dropped else request.max_per
        least = None if RELAXED_SCORE in dropped else selection.min_score
        now = (len(kept), bool(max_per), least)
        if now != last:
            filter_ = both(required, And(parts=kept) if kept else None)
            yield Step(
                selection=replace(selection, filter=filter_, min_score=least), max_per=max_per, dropped=tuple(dropped)
            )
        last = now


def _speaks_only_of(part: Filter, dropped: Collection[str]) -> bool:
    names = attributes_of(part)
    return bool(names) and names <= set(dropped)  # an `or` of nothing speaks of nothing, and lets nothing pass


def both(one: Filter | None, other: Filter | None) -> Filter | None:
    """What passes both."""
    parts = tuple(part for part in (one, other) if part is not None)
    return And(parts=parts) if len(parts) > 1 else next(iter(parts), None)


def conjuncts(filter_: Filter | None) -> tuple[Filter, ...]:
    """The parts that must all hold."""
    if isinstance(filter_, And):
        return tuple(inner for part in filter_.parts for inner in conjuncts(part))
    return () if filter_ is None else (filter_,)


def attributes_of(filter_: Filter) -> frozenset[str]:
    """The attributes that a filter speaks of."""
    if isinstance(filter_, And | Or):
        return frozenset().union(*map(attributes_of, filter_.parts))
    return attributes_of(filter_.part) if isinstance(filter_, Not) else frozenset([filter_.attribute])
