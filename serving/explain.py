"""Why an item was recommended: its score split over the past events, strongest first."""

from collections.abc import Mapping, Sequence

from msgspec import structs

from ingest.index.protocol import Vector
from ingest.items import StoredItem
from ingest.store.records import HistoryEntry
from serving.answers import Because, Others, RecommendedItem
from serving.profile import Profile, shares


def because(profile: Profile, item_vector: Vector, titles: Mapping[str, StoredItem]) -> tuple[Because, ...]:
    """One share per past event, descending; together they are the item's score (within 1e-5).

    `titles` holds the past items whose titles are wanted; the others stay without.
    """
    found = zip(profile.parts, shares(profile, item_vector), strict=True)
    return combined([(part.entry, float(share)) for part, share in found], titles)


def combined(found: Sequence[tuple[HistoryEntry, float]], titles: Mapping[str, StoredItem]) -> tuple[Because, ...]:
    """One reason per past event, with all its shares together, strongest first."""
    entries = {entry.event.event_id: entry for entry, _ in found}
    totals = dict.fromkeys(entries, 0.0)
    for entry, share in found:
        totals[entry.event.event_id] += share
    reasons = [
        Because(
            item_id=entry.event.item_id,
            event_type=entry.event.type,
            share=totals[event_id],
            title=_title(titles.get(entry.event.item_id)),
        )
        for event_id, entry in entries.items()
    ]
    return tuple(sorted(reasons, key=lambda reason: -reason.share))


def shortened(item: RecommendedItem, most: int | None) -> RecommendedItem:
    """The item with the largest of its reasons, for it or against it, and what the others add up to; None: with all."""
    reasons = item.because or ()
    if most is None or len(reasons) <= most:
        return item
    by_size = sorted(reasons, key=lambda reason: -abs(reason.share))
    listed = sorted(by_size[:most], key=lambda reason: -reason.share)
    others = Others(events=len(by_size) - most, share=sum(reason.share for reason in by_size[most:]))
    return structs.replace(item, because=tuple(listed), others=others)


def _title(stored: StoredItem | None) -> str | None:
    return None if stored is None else stored.item.title
