"""Why an item was recommended: its score split over the past events, strongest first.

Shares are summed as arrays, and reasons are made here alone, of those shares that an answer names.
"""

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from ingest.items import StoredItem
from ingest.store.ledger import Ledger
from serving.answers import Because, Others, RecommendedItem, Shares
from serving.live import View
from serving.profile import Part, TastePart
from serving.shared import met_values, shared_values, values_of


def by_event(count: int, *found: tuple[Sequence[Part | TastePart], NDArray[np.float64]]) -> list[Shares]:
    """The shares of `count` items, one for each past event with all that its parts of several profiles have.

    `found` are the parts of each profile, and the items' shares of them `(count, parts)`.
    """
    events = {part.entry.event.event_id: part.entry.event for parts, _ in found for part in parts}
    places = {event_id: place for place, event_id in enumerate(events)}
    totals = np.zeros((len(events), count))
    for parts, shares in found:
        np.add.at(totals, [places[part.entry.event.event_id] for part in parts], shares.T)
    of_all = tuple(events.values())
    return [Shares(events=of_all, values=values) for values in totals.T]


def explained(
    ledger: Ledger, view: View, items: Sequence[RecommendedItem], *, most: int | None, with_titles: bool
) -> list[RecommendedItem]:
    """The items with the `most` largest reasons of each (None: all) and what the others add up to.

    With them come the attribute values that an item shares with what speaks for any of them.
    """
    split = [item.shares for item in items if item.shares is not None]
    past = {event.item_id for shares in split for event in compress(shares.events, (shares.values > 0).tolist())}
    named = {event.item_id for events in {id(one.events): one.events for one in split}.values() for event in events}
    asked = past.union(named if with_titles else (), (item.item_id for item in items) if past else ())
    stored = ledger.items.get_many(asked) if asked else {}
    values = {item_id: values_of(one.item, view.generation.attributes) for item_id, one in stored.items()}
    met = met_values(values[item_id] for item_id in past if item_id in values)
    titles = stored if with_titles else {}
    return [
        item
        if item.shares is None
        else structs.replace(
            _told(item, item.shares, most, titles),
            shared=shared_values(values.get(item.item_id, {}), met) if past and item.shares.events else None,
        )
        for item in items
    ]


def _told(item: RecommendedItem, shares: Shares, most: int | None, titles: Mapping[str, StoredItem]) -> RecommendedItem:
    """The item with its reasons, for it or against it."""
    values = shares.values
    listed, rest = np.argsort(-values, kind="stable"), values[:0]
    if most is not None and most < len(listed):
        by_size = listed[np.argsort(-np.abs(values[listed]), kind="stable")]
        listed, rest = by_size[:most], values[by_size[most:]]
        listed = listed[np.argsort(-values[listed], kind="stable")]
    because = tuple(
        Because(
            item_id=shares.events[place].item_id,
            event_type=shares.events[place].type,
            share=share,
            title=_title(titles.get(shares.events[place].item_id)),
        )
        for place, share in zip(listed.tolist(), values[listed].tolist(), strict=True)
    )
    others = Others(events=len(rest), share=float(rest.sum())) if len(rest) else None
    return structs.replace(item, because=because, others=others, shares=None)


def _title(stored: StoredItem | None) -> str | None:
    return None if stored is None else stored.item.title
