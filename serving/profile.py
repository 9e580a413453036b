"""A history as one query vector, and that vector's score split into one share per past event. Pure arithmetic."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.index.protocol import Vector
from ingest.settings import Settings
from ingest.store.records import HistoryEntry

SECONDS_PER_DAY = 86_400.0
_LEAST_NORM = 1e-9  # below this the likes and dislikes cancel, and the direction would be rounding noise

Weighed = tuple[HistoryEntry, float]


class Part(NamedTuple):
    """One past event of a profile: its weight and its item's unit vector `(d,) float32`."""

    entry: HistoryEntry
    weight: float
    vector: Vector


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The query of a history: `vector` is `(d,) float32`, unit length; `length` is what the sum was divided by."""

    vector: Vector
    parts: tuple[Part, ...]
    length: float

    @cached_property
    def contributions(self) -> NDArray[np.float64]:
        """`(n, d)`: each part's vector times its weight, over the length; the rows add up to `vector`."""
        return _matrix(self.parts) * (_weights(self.parts) / self.length)[:, np.newaxis]


def weigh(history: Sequence[HistoryEntry], settings: Settings) -> list[Weighed]:
    """Give each event `type weight x normalised value x time decay`; negative pushes away.

    Ratings are normalised per user: `z = (value - mean) / std` over the history's ratings (0 when all are equal), and
    `value = clip((1 + z) / 2, -0.5, 1)`. Values of other event types are ignored. The decay is
    `0.5 ** (age / half_life_days)`, with the age counted from the newest event of the history: a common factor would
    not move the profile, and this way an answer does not depend on the clock. An event without a time does not decay.
    """
    ratings = _normalised_ratings(history, settings.rating_types)
    times = [None if entry.event.timestamp is None else entry.event.timestamp.timestamp() for entry in history]
    newest = max((time for time in times if time is not None), default=0.0)
    half_life = settings.half_life_days * SECONDS_PER_DAY
    weights = settings.event_weights
    return [
        (
            entry,
            weights.get(entry.event.type, 0.0)
            * rating
            * (1.0 if time is None else 0.5 ** ((newest - time) / half_life)),
        )
        for entry, rating, time in zip(history, ratings, times, strict=True)
    ]


def build_profile(weighed: Sequence[Weighed], vectors: Mapping[str, Vector]) -> Profile | None:
    """Return `u = normalise(sum_e w_e c_e)`, or None when the history shows no positive taste.

    `c_e` is the item's vector as the index holds it, already centred on the catalogue mean and of unit length. The
    length of `v_e - m` is not in the index, so each past item counts equally but for its weight. Events whose item has
    no vector take no part; several events on one item each count and share its vector.
    """
    parts = tuple(
        Part(entry, weight, vectors[entry.event.item_id])
        for entry, weight in weighed
        if weight and entry.event.item_id in vectors
    )
    if not any(part.weight > 0 for part in parts):
        return None
    total = _weights(parts) @ _matrix(parts)
    length = float(np.linalg.norm(total))
    if length < _LEAST_NORM:
        return None
    return Profile(vector=(total / length).astype(np.float32), parts=parts, length=length)


def shares(profile: Profile, item_vector: Vector) -> NDArray[np.float64]:
    """Split `profile.vector @ item_vector` into one share per part, in the parts' order; they add up to the score."""
    return np.asarray(profile.contributions @ item_vector.astype(np.float64), dtype=np.float64)


def unit(vector: Vector) -> Vector | None:
    """The same direction at length one, or None for a vector that has no direction."""
    length = float(np.linalg.norm(vector))
    return None if length < _LEAST_NORM else (vector / length).astype(np.float32)


def blend(vector: Vector, other: Vector, share: float) -> Vector:
    """`normalise((1 - share) vector + share other)`; `vector` itself when the two cancel out."""
    mixed = unit((1 - share) * vector + share * other)
    return vector if mixed is None else mixed


def _normalised_ratings(history: Sequence[HistoryEntry], rating_types: frozenset[str]) -> list[float]:
    values = [entry.event.value if entry.event.type in rating_types else None for entry in history]
    known = [value for value in values if value is not None]
    mean = math.fsum(value / len(known) for value in known)
    # hypot neither overflows nor underflows where a sum of squares would.
    spread = math.hypot(*(value - mean for value in known)) / math.sqrt(len(known) or 1)
    if spread == 0 or not math.isfinite(spread):
        return [1.0 if value is None else 0.5 for value in values]
    return [1.0 if value is None else min(max((1 + (value - mean) / spread) / 2, -0.5), 1.0) for value in values]


def _weights(parts: Sequence[Part]) -> NDArray[np.float64]:
    return np.fromiter((part.weight for part in parts), dtype=np.float64, count=len(parts))


def _matrix(parts: Sequence[Part]) -> NDArray[np.float64]:
    # Sums are made in double precision: where likes nearly cancel dislikes, float32 would leave mostly rounding.
    return np.concatenate([part.vector for part in parts]).astype(np.float64).reshape(len(parts), -1)
