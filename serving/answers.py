"""What the query layer answers with, whichever question was asked, and how a page of hits becomes an answer."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ingest.errors import InvalidInputError
from ingest.events import Event
from ingest.items import Item
from ingest.settings import Settings
from ingest.store.records import LoggedRecommendation
from serving.candidates import Shown

FIELDS = ("title", "text", "categories", "attributes")


class Because(Struct, frozen=True, kw_only=True):
    """One past event's share of a score; negative when it pushed the item away. A struct, as an answer makes many."""

    item_id: str
    event_type: str
    share: float
    title: str | None = None


@dataclass(frozen=True, kw_only=True)
class Others:
    """The past events that are not among an item's reasons, and what their shares add up to."""

    events: int
    share: float


class Shares(NamedTuple):
    """What each past event adds to an item's score: what its reasons are made from."""

    events: Sequence[Event]
    values: NDArray[np.float64]  # (events,)


class RecommendedItem(Struct, frozen=True, kw_only=True):
    """One item of an answer. `source` says what found it; its score is the one that the answer's strategy gives it."""

    item_id: str
    score: float
    source: str
    fields: Mapping[str, Any] | None = None
    shares: Shares | None = None  # until the answer is put together, where reasons are asked for
    because: tuple[Because, ...] | None = None
    others: Others | None = None  # where only so many reasons are asked for: the rest
    shared: Mapping[str, Sequence[str]] | None = None  # where reasons are given: values that item and history share
    prior: float | None = None  # where reasons are given: what popularity adds to these
    boost: float | None = None  # what a scenario adds; with shares, others and prior, the score
    relaxed: tuple[str, ...] = ()  # what was dropped before this item was found


@dataclass(frozen=True, kw_only=True)
class ProfileInfo:
    """How much of the history an answer could use."""

    events: int = 0  # events of the history that were read
    used: int = 0  # those whose items stand in the generation
    unknown: int = 0  # entries of an inline history whose items are unknown


@dataclass(frozen=True, kw_only=True)
class Recommendations:
    """One answer: items best first, the generation they came from and the strategy that was used in the end."""

    recommendation_id: str
    items: tuple[RecommendedItem, ...]
    generation: str
    strategy: str
    profile: ProfileInfo = field(default_factory=ProfileInfo)
    has_next: bool = False  # whether a next page can be asked for
    relaxed: tuple[str, ...] = ()  # what was dropped to fill the page


def new_recommendation_id() -> str:
    """A fresh id, unguessable, as it lets its holder read the next page."""
    return uuid.uuid4().hex


def check_limit(limit: int, settings: Settings) -> None:
    """Raise InvalidInputError when the page is empty or larger than allowed."""
    if not 1 <= limit <= settings.max_limit:
        raise InvalidInputError("invalid_limit", f"limit must be from 1 to {settings.max_limit}", "limit")


def check_fields(fields: Sequence[str]) -> None:
    """Raise InvalidInputError when a field is asked for that items do not have."""
    if any(name not in FIELDS for name in fields):
        raise InvalidInputError("unknown_field", f"fields may name {', '.join(FIELDS)}", "fields")


def check_share(value: float, field_name: str) -> None:
    """Raise InvalidInputError unless `value` lies in 0..1."""
    if not 0 <= value <= 1:
        raise InvalidInputError("invalid_share", f"{field_name} must be from 0 to 1", field_name)


def labelled(shown: Shown, source: str, fields: Sequence[str]) -> tuple[RecommendedItem, ...]:
    """The hits as an answer's items, with the asked-for fields of each."""
    hits, stored = shown
    return tuple(
        RecommendedItem(
            item_id=hit.item_id,
            score=hit.score,
            source=source,
            fields=field_values(stored[hit.item_id].item, fields) if fields else None,
        )
        for hit in hits
    )


def field_values(item: Item, fields: Sequence[str]) -> dict[str, Any]:
    """The asked-for fields of an item, as JSON takes them."""
    return {name: _field(item, name) for name in fields}


def logged(answer: Recommendations, user_id: str | None, page: bytes | None = None) -> LoggedRecommendation:
    """The log entry of an answer, with what its next page is made from."""
    return LoggedRecommendation(
        recommendation_id=answer.recommendation_id,
        user_id=user_id,
        generation=answer.generation,
        strategy=answer.strategy,
        item_ids=tuple(item.item_id for item in answer.items),
        created_at=datetime.now(UTC),
        page=page,
    )


def _field(item: Item, name: str) -> Any:
    value = getattr(item, name)
    return list(value) if name == "categories" else value
