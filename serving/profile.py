"""A history as a query by text and by taste, and the scores split into one share per past event. Pure arithmetic."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.index.protocol import SparseVector, Vector
from ingest.settings import Settings
from ingest.store.records import HistoryEntry
from ingest.weights import profile_weights, saturated
from serving.interests import anchors

_LEAST_NORM = 1e-9  # below this the likes and dislikes cancel, and the direction would be rounding noise

Weighed = tuple[HistoryEntry, float]


class Part(NamedTuple):
    """One past event of a profile, and its weight."""

    entry: HistoryEntry
    weight: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The query of a history: `vector` is `(d,) float32`, unit length; `length` is what the sum was divided by.

    `matrix` has the unit vector of each part's item, `(n, d) float32`.
    """

    vector: Vector
    matrix: NDArray[np.float32]
    parts: tuple[Part, ...]
    length: float

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """`(n,)`: the weights of the parts."""
        return _weights(self.parts)

    @cached_property
    def anchors(self) -> list[Vector]:
        """What to ask an index for candidates by: the mean, then one past item for each interest."""
        return anchors(self.vector, self.matrix, self.weights)


class TastePart(NamedTuple):
    """One past event of a taste profile: its part of the query's weight, and its item's position."""

    entry: HistoryEntry
    weight: float
    position: int


@dataclass(frozen=True, kw_only=True)
class TasteProfile:
    """The query of a history by taste: weights at the positions of its items, of length one; the parts add up to it."""

    vector: SparseVector
    parts: tuple[TastePart, ...]


def weigh(history: Sequence[HistoryEntry], settings: Settings) -> list[Weighed]:
    """Give each event of one user's history, newest first, its weight by `profile_weights`; negative pushes away."""
    return list(zip(history, profile_weights([entry.event for entry in history], settings), strict=True))


def build_profile(weighed: Sequence[Weighed], vectors: Mapping[str, Vector]) -> Profile | None:
    """Return `u = normalise(sum_e w_e c_e)`, or None when the history shows no positive taste.

    `c_e` is the item's vector as the index holds it, already centred on the catalogue mean and of unit length. The
    length of `v_e - m` is not in the index, so each past item counts equally but for its weight. Events whose item has
    no vector take no part; several events on one item each count and share its vector.
    """
    parts = tuple(Part(entry, weight) for entry, weight in weighed if weight and entry.event.item_id in vectors)
    if not any(part.weight > 0 for part in parts):
        return None
    matrix = np.concatenate([vectors[part.entry.event.item_id] for part in parts]).reshape(len(parts), -1)
    # Sums are made in double precision: where likes nearly cancel dislikes, float32 would leave mostly rounding.
    total = _weights(parts) @ matrix.astype(np.float64)
    length = float(np.linalg.norm(total))
    if length < _LEAST_NORM:
        return None
    return Profile(vector=(total / length).astype(np.float32), matrix=matrix, parts=parts, length=length)


def build_taste_profile(weighed: Sequence[Weighed], positions: Mapping[str, int]) -> TasteProfile | None:
    """Return `w / |w|` with `w` the saturated event weights by item, or None when none of them is positive.

    `w` is made as the matrix that weights are trained from, but of faded weights: several events on one item count at
    most as one clear like. The length grows with the square root of the history, and so does the taste score; dividing
    by it keeps the scores of short and long histories alike, and beside a cosine.
    """
    known = [(entry, saturated(weight)) for entry, weight in weighed if weight and entry.event.item_id in positions]
    totals: defaultdict[int, float] = defaultdict(float)
    for entry, weight in known:
        totals[positions[entry.event.item_id]] += weight
    kept = {position: min(max(total, -1.0), 1.0) for position, total in totals.items() if abs(total) > _LEAST_NORM}
    length = math.hypot(*kept.values())
    if not any(total > 0 for total in kept.values()):
        return None
    parts = []
    for entry, weight in known:
        position = positions[entry.event.item_id]
        if position in kept:
            parts.append(TastePart(entry, weight * kept[position] / totals[position] / length, position))
    vector = SparseVector(positions=tuple(kept), weights=tuple(total / length for total in kept.values()))
    return TasteProfile(vector=vector, parts=tuple(parts))


def taste_shares(profile: TasteProfile, items: Sequence[SparseVector]) -> NDArray[np.float64]:
    """Split the dot products with the weights that point at items into one share per part: `(items, parts)`."""
    positions = [part.position for part in profile.parts]
    pointing = [dict(zip(weights.positions, weights.weights, strict=True)) for weights in items]
    found = np.array([[weights.get(position, 0.0) for position in positions] for weights in pointing])
    return found.reshape(len(items), len(positions)) * _weights(profile.parts)


def shares(profile: Profile, items: Sequence[Vector]) -> NDArray[np.float64]:
    """Split `profile.vector @ item` of each into one share per part: `(items, parts)`; a row adds up to the score."""
    found = np.asarray(items, dtype=np.float64) @ profile.matrix.astype(np.float64).T
    return np.asarray(found * (profile.weights / profile.length))


def unit(vector: Vector) -> Vector | None:
    """The same direction at length one, or None for a vector that has no direction."""
    length = float(np.linalg.norm(vector))
    return None if length < _LEAST_NORM else (vector / length).astype(np.float32)


def blend(vector: Vector, other: Vector, share: float) -> Vector:
    """`normalise((1 - share) vector + share other)`; `vector` itself when the two cancel out."""
    mixed = unit((1 - share) * vector + share * other)
    return vector if mixed is None else mixed


def _weights(parts: Sequence[Part | TastePart]) -> NDArray[np.float64]:
    return np.fromiter((part.weight for part in parts), dtype=np.float64, count=len(parts))
