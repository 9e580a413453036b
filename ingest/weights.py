"""What a past event is worth: the rule that item-item weights are trained by and, faded, profiles are built by."""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from statistics import median

import numpy as np

from ingest.events import Event
from ingest.settings import Settings

SECONDS_PER_DAY = 86_400.0


def event_weights(events: Sequence[Event], settings: Settings, *, present: datetime | None = None) -> list[float]:
    """Give each event of one user `type weight x normalised value x time decay`; negative pushes away.

    Ratings are normalised per user: `z = (value - mean) / std` over the user's ratings given here, and
    `value = clip((1 + z) / 2, -0.5, 1)`. Where all are alike it is 0.5, and -0.5 of one that most would call a dislike
    (`disliked_ratings`). Values of other event types and dwell times are normalised per
    catalogue, where the settings know the usual one: `1 - e + e 2x / (x + usual)`, which is 1 for the usual, at most
    `1 + e`, and at least `1 - e`, with e the effect set for it. The decay is
    `0.5 ** (age / half_life_days)`, with the age counted from `present`, or else from the newest of these events: a
    common factor would not move a profile, and this way an answer does not depend on the clock. An event without a
    time, or after the present, does not decay.
    """
    ratings = _normalised_ratings(events, settings)
    times = [None if event.timestamp is None else event.timestamp.timestamp() for event in events]
    latest = max((time for time in times if time is not None), default=0.0) if present is None else present.timestamp()
    half_life = settings.half_life_days * SECONDS_PER_DAY
    weights = settings.event_weights
    amounts = [_amount(event, settings) for event in events]
    ages = [0.0 if time is None else max(latest - time, 0.0) for time in times]
    return [
        weights.get(event.type, 0.0) * rating * amount * 0.5 ** (age / half_life)
        for event, rating, amount, age in zip(events, ratings, amounts, ages, strict=True)
    ]


def profile_weights(newest_first: Sequence[Event], settings: Settings) -> list[float]:
    """What each event of a history, given newest first, counts in its user's profile: `event_weights`, faded.

    What somebody does next is told by what they did last more than by what they did before. An event after which n
    other items were met, however long ago that was, counts `1 / (1 + history_fading n)` (and by taste, where a clear
    like is doubled and cut off, less from `n = 1 / history_fading` on). Events of one time are met together, and
    without times as they are given.
    """
    weights = event_weights(newest_first, settings)
    if not settings.history_fading:
        return weights
    return faded(weights, met_since(newest_first), settings.history_fading)


def faded(weights: Sequence[float], met: Sequence[int], fading: float) -> list[float]:
    """Weights of events after each of which so many other items were met."""
    return [weight / (1.0 + fading * n) for weight, n in zip(weights, met, strict=True)]


def met_since(newest_first: Sequence[Event]) -> list[int]:
    """How many other items were met after each event."""
    met: set[str] = set()
    counts = []
    for _, group in groupby(enumerate(newest_first), key=lambda pair: pair[1].timestamp or pair[0]):
        together = [event.item_id for _, event in group]
        counts += [len(met) - (item_id in met) for item_id in together]
        met.update(together)
    return counts


@dataclass(frozen=True, kw_only=True)
class Votes:
    """Which events are votes for their items: of these types, and no ratings that most would call a dislike.

    `disliked` is a value by type, up to which it is one.
    """

    types: frozenset[str]
    disliked: Mapping[str, float] = field(default_factory=dict)

    def __contains__(self, event: Event) -> bool:
        return event.type in self.types and not _is_disliked(event, self.disliked)


def votes(settings: Settings) -> Votes:
    """What counts as a vote by these settings."""
    types = frozenset(name for name, weight in settings.event_weights.items() if weight > 0)
    return Votes(types=types, disliked=settings.disliked_ratings)


def _is_disliked(event: Event, disliked: Mapping[str, float]) -> bool:
    most = disliked.get(event.type)
    return most is not None and event.value is not None and event.value <= most


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What is usual in a catalogue, by event type: the medians of values that are no ratings, and of dwell times.

    Of ratings the mean less the spread: what is not above that is disliked.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    dwell_ms: Mapping[str, float] = field(default_factory=dict)
    disliked: Mapping[str, float] = field(default_factory=dict)

    def under(self, settings: Settings) -> Settings:
        """The settings with what is usual filled in where they do not say it."""
        found = {
            "usual_values": {**self.values, **settings.usual_values},
            "usual_dwell_ms": {**self.dwell_ms, **settings.usual_dwell_ms},
            "disliked_ratings": {**self.disliked, **settings.disliked_ratings},
        }
        return settings.model_copy(update=found)


def usual(histories: Iterable[Iterable[Event]], settings: Settings) -> Usual:
    """Measure what is usual; of amounts only those above 0 count. Memory: 8 bytes for each."""
    values: dict[str, array[float]] = {}
    dwell_ms: dict[str, array[float]] = {}
    ratings: dict[str, array[float]] = {}
    for history in histories:
        for event in history:
            if event.value is not None and event.type in settings.rating_types:
                ratings.setdefault(event.type, array("d")).append(event.value)
            elif event.value is not None and event.value > 0:
                values.setdefault(event.type, array("d")).append(event.value)
            if event.dwell_ms:
                dwell_ms.setdefault(event.type, array("d")).append(event.dwell_ms)
    return Usual(
        values={name: median(amounts) for name, amounts in values.items()},
        dwell_ms={name: median(amounts) for name, amounts in dwell_ms.items()},
        disliked={name: below for name, given in ratings.items() if (below := _spread_below(given)) is not None},
    )


def _spread_below(ratings: Sequence[float]) -> float | None:
    """The mean less the standard deviation; None of ratings that are all alike."""
    values = np.asarray(ratings)
    below = float(values.mean() - values.std())
    return below if below < values.max() else None


def _amount(event: Event, settings: Settings) -> float:
    """How much more than usual an event was: 1 where nothing is known."""
    factor = 1.0
    if event.value is not None and event.type in settings.usual_values and event.type not in settings.rating_types:
        factor *= _beside(event.value, settings.usual_values[event.type], settings.value_effect)
    if event.dwell_ms is not None and event.type in settings.usual_dwell_ms:
        factor *= _beside(event.dwell_ms, settings.usual_dwell_ms[event.type], settings.dwell_effect)
    return factor


def _beside(amount: float, ordinary: float, effect: float) -> float:
    amount, ordinary = max(amount, 0.0), max(ordinary, 0.0)
    larger = max(amount, ordinary)
    if not larger:
        return 1.0
    # By the larger: the sum of two large amounts would overflow, the half of a small one vanish.
    share = amount / larger
    return 1 - effect + effect * 2 * share / (share + ordinary / larger)


def _normalised_ratings(events: Sequence[Event], settings: Settings) -> list[float]:
    values = [event.value if event.type in settings.rating_types else None for event in events]
    known = [value for value in values if value is not None]
    mean = math.fsum(value / len(known) for value in known)
    # hypot neither overflows nor underflows where a sum of squares would.
    spread = math.hypot(*(value - mean for value in known)) / math.sqrt(len(known) or 1)
    if spread == 0 or not math.isfinite(spread):
        return [
            1.0 if value is None else -0.5 if _is_disliked(event, settings.disliked_ratings) else 0.5
            for event, value in zip(events, values, strict=True)
        ]
    return [1.0 if value is None else min(max((1 + (value - mean) / spread) / 2, -0.5), 1.0) for value in values]


def saturated(weight: float) -> float:
    """The weight that item-item scores take: a liking doubled and at most 1, a dislike a quarter.

    That somebody liked an item at all says most about which items go together; how much says little. Who disliked it
    still chose it, so a dislike pushes away only gently. Both were measured, on ratings.
    """
    return min(2.0 * weight, 1.0) if weight > 0 else weight / 4
