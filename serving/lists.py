"""What a page looks like as a whole: how different its items are, and how many may share a value. Pure arithmetic."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec import structs

from ingest.index.protocol import Vector
from serving.answers import RecommendedItem

Values = Mapping[str, frozenset[str]]  # attribute -> an item's values of it, as text


@dataclass(frozen=True, kw_only=True)
class Control:
    """How a page is to be arranged, and what that needs to know of its items."""

    diversity: float = 0.0
    vectors: Mapping[str, Vector] = field(default_factory=dict)  # items without one are like nothing
    most: Mapping[str, int] = field(default_factory=dict)  # attribute -> most items that share a value
    values: Mapping[str, Values] = field(default_factory=dict)


def arranged(
    items: Sequence[RecommendedItem], control: Control, limit: int, *, beside: Sequence[RecommendedItem] = ()
) -> list[RecommendedItem]:
    """At most `limit` of the items, by maximal marginal relevance (Carbonell and Goldstein 1998) under caps.

    Each place goes to the item with the largest `(1 - diversity) score - diversity max cos(item, those before)`, with
    scores divided by the largest of the pool; 0 leaves the order as it is. Left out is what would bring a value to more
    items than its attribute's cap; an item with several values counts for each, one without any is never left out.
    Those `beside` them on the page count as standing before.
    """
    if not items or not (control.diversity or control.most):
        return list(items[: max(limit, 0)])
    worth = _Worth(items, control, beside)
    used = Counter(key for one in beside for key in _keys(control.values.get(one.item_id, {}), control.most))
    chosen: list[RecommendedItem] = []
    for _ in items:
        if len(chosen) >= limit:
            break
        place = worth.best()
        keys = _keys(control.values.get(items[place].item_id, {}), control.most)
        if any(used[key] >= control.most[key[0]] for key in keys):
            continue
        used.update(keys)
        worth.stands_before(place)
        chosen.append(items[place])
    return chosen


class _Worth:
    """What each item not taken yet is worth at the next place."""

    def __init__(self, items: Sequence[RecommendedItem], control: Control, beside: Sequence[RecommendedItem]) -> None:
        self._diversity = control.diversity
        self._left = np.ones(len(items), dtype=bool)
        if not self._diversity:
            self._relevance = -np.arange(len(items), dtype=np.float64)
            return
        scores = np.array([item.score for item in items])
        self._relevance = (1 - self._diversity) * scores / (np.abs(scores).max() or 1.0)
        size = len(next(iter(control.vectors.values()))) if control.vectors else 1
        nowhere = np.zeros(size, np.float32)
        self._matrix = np.stack([control.vectors.get(item.item_id, nowhere) for item in items])
        before = [control.vectors.get(one.item_id, nowhere) for one in beside]
        self._likeness = (self._matrix @ np.stack(before).T).max(axis=1) if before else None

    def best(self) -> int:
        """The place of the most worth, which is taken by that."""
        likeness = 0.0 if not self._diversity or self._likeness is None else self._likeness
        place = int(np.argmax(np.where(self._left, self._relevance - self._diversity * likeness, -np.inf)))
        self._left[place] = False
        return place

    def stands_before(self, place: int) -> None:
        """Count this item among those that the next ones must differ from."""
        if self._diversity:
            likeness = self._matrix @ self._matrix[place]
            self._likeness = likeness if self._likeness is None else np.maximum(self._likeness, likeness)


def lifted(items: Sequence[RecommendedItem], gains: Mapping[str, float]) -> list[RecommendedItem]:
    """The items with what is added to their scores, best first."""
    found = [_lifted(item, gains.get(item.item_id, 0.0)) for item in items]
    return sorted(found, key=lambda item: -item.score)


def scattered(
    items: Sequence[RecommendedItem], among: Sequence[RecommendedItem], places: Sequence[int]
) -> list[RecommendedItem]:
    """`among` with the items put in so that each stands at its place, or at the end where there is no such place."""
    page = list(among)
    for place, item in sorted(zip(places, items, strict=True), key=lambda pair: pair[0]):
        page.insert(place, item)
    return page


def _lifted(item: RecommendedItem, gain: float) -> RecommendedItem:
    return structs.replace(item, score=item.score + gain, boost=gain) if gain else item


def _keys(values: Values, most: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, value) for name in most for value in values.get(name, ())]
