"""What a past event is worth: the one rule that profiles are built by and item-item weights are trained by."""

import math
from collections.abc import Sequence
from datetime import datetime

from ingest.events import Event
from ingest.settings import Settings

SECONDS_PER_DAY = 86_400.0


def event_weights(events: Sequence[Event], settings: Settings, *, newest: datetime | None = None) -> list[float]:
    """Give each event of one user `type weight x normalised value x time decay`; negative pushes away.

    Ratings are normalised per user: `z = (value - mean) / std` over the user's ratings given here (0 when all are
    equal), and `value = clip((1 + z) / 2, -0.5, 1)`. Values of other event types are ignored. The decay is
    `0.5 ** (age / half_life_days)`, with the age counted from `newest`, or else from the newest of these events: a
    common factor would not move a profile, and this way an answer does not depend on the clock. An event without a
    time does not decay.
    """
    ratings = _normalised_ratings(events, settings.rating_types)
    times = [None if event.timestamp is None else event.timestamp.timestamp() for event in events]
    latest = max((time for time in times if time is not None), default=0.0) if newest is None else newest.timestamp()
    half_life = settings.half_life_days * SECONDS_PER_DAY
    weights = settings.event_weights
    return [
        weights.get(event.type, 0.0) * rating * (1.0 if time is None else 0.5 ** ((latest - time) / half_life))
        for event, rating, time in zip(events, ratings, times, strict=True)
    ]


def _normalised_ratings(events: Sequence[Event], rating_types: frozenset[str]) -> list[float]:
    values = [event.value if event.type in rating_types else None for event in events]
    known = [value for value in values if value is not None]
    mean = math.fsum(value / len(known) for value in known)
    # hypot neither overflows nor underflows where a sum of squares would.
    spread = math.hypot(*(value - mean for value in known)) / math.sqrt(len(known) or 1)
    if spread == 0 or not math.isfinite(spread):
        return [1.0 if value is None else 0.5 for value in values]
    return [1.0 if value is None else min(max((1 + (value - mean) / spread) / 2, -0.5), 1.0) for value in values]


def saturated(weight: float) -> float:
    """The weight that item-item scores take: a liking doubled and at most 1, a dislike a quarter.

    That somebody liked an item at all says most about which items go together; how much says little. Who disliked it
    still chose it, so a dislike pushes away only gently. Both were measured, on ratings.
    """
    return min(2.0 * weight, 1.0) if weight > 0 else weight / 4
