"""Why an item was recommended: its score split over the past events, strongest first."""

from collections.abc import Mapping

from ingest.index.protocol import Vector
from ingest.items import StoredItem
from serving.answers import Because
from serving.profile import Profile, shares


def because(profile: Profile, item_vector: Vector, titles: Mapping[str, StoredItem]) -> tuple[Because, ...]:
    """One share per past event, descending; together they are the item's score (within 1e-5).

    `titles` holds the past items whose titles are wanted; the others stay without.
    """
    reasons = [
        Because(
            item_id=part.entry.event.item_id,
            event_type=part.entry.event.type,
            share=float(share),
            title=_title(titles.get(part.entry.event.item_id)),
        )
        for part, share in zip(profile.parts, shares(profile, item_vector), strict=True)
    ]
    return tuple(sorted(reasons, key=lambda reason: -reason.share))


def _title(stored: StoredItem | None) -> str | None:
    return None if stored is None else stored.item.title
