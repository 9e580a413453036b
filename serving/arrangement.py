"""A page made of what a strategy finds: pinned, lifted, different, capped, with some of the least shown, relaxed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from msgspec import structs

from ingest.index.filter_parser import parse_filter
from ingest.index.protocol import Vector
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from serving.answers import RecommendedItem
from serving.candidates import Selection, nearest
from serving.impressions import Impressions
from serving.lists import Control, Values, arranged, lifted, scattered
from serving.live import View
from serving.profile import blend
from serving.relaxing import Step, both, steps
from serving.request import BoostedItems, RecommendRequest
from serving.shared import values_of

PINNED, EXPLORE = "pinned", "explore"
_POOL = 50  # candidates at least, and per place, from which a list is arranged
_POOLS = 5
_GROWN_POOL = 1_000  # where caps leave places empty, four times as many are asked for, and not more than so many
_EXPLORED = 10  # candidates for each place that is given to items shown least

Found = tuple[str, tuple[RecommendedItem, ...]]  # the strategy that was possible, and its items, best first


class Strategy(Protocol):
    """How the items of one answer are found and scored."""

    def asked(self, selection: Selection) -> Found:
        """The best of a selection with all that the request wants to know of them, and the strategy that it was."""
        ...

    def find(self, selection: Selection) -> Found:
        """The same without reasons and fields."""
        ...

    def scores(self, strategy: str, item_ids: Sequence[str]) -> Mapping[str, float]:
        """What that strategy would give each of these items."""
        ...

    def detailed(self, strategy: str, items: Sequence[RecommendedItem]) -> tuple[RecommendedItem, ...]:
        """The items with the reasons and fields that the request wants; those that were deleted are left out."""
        ...

    @property
    def lean(self) -> Vector | None:
        """Where the user's likes lie, `(d,) float32`; None: nobody knows."""
        ...

    @property
    def disliked(self) -> frozenset[str]:
        """What the user disliked; never offered only to be shown."""
        ...


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page; `more` says whether another may follow."""

    strategy: str
    items: tuple[RecommendedItem, ...]
    more: bool
    relaxed: tuple[str, ...] = ()


class Arranger:
    """Arranges pages. Thread-safe."""

    def __init__(self, ledger: Ledger, impressions: Impressions, settings: Settings) -> None:
        self._ledger = ledger
        self._impressions = impressions
        self._settings = settings

    def page(
        self, view: View, request: RecommendRequest, selection: Selection, strategy: Strategy, *, first: bool
    ) -> Page:
        """The page that the request asks for from what `strategy` finds; pinned items come on the first one only."""
        planned = list(steps(request, selection, view.generation.attributes, self._settings.filter_limits))
        if not (request.diversity or request.max_per or request.boosts or request.explore or request.relax) and not (
            first and request.pinned
        ):
            name, items = strategy.asked(planned[0].selection)
            return Page(strategy=name, items=items, more=len(items) == request.limit)
        making = _Arranging(self._ledger, self._impressions, self._settings, view, request, strategy, planned)
        return making.page(first=first)


class _Arranging:
    """One page in the making."""

    def __init__(
        self,
        ledger: Ledger,
        impressions: Impressions,
        settings: Settings,
        view: View,
        request: RecommendRequest,
        strategy: Strategy,
        planned: Sequence[Step],
    ) -> None:
        self._ledger = ledger
        self._impressions = impressions
        self._declared = settings.attributes  # caps read the ledger, which has them before a generation has
        self._view = view
        self._request = request
        self._strategy = strategy
        self._strict, self._relaxed = planned[0], planned[1:]
        excluded = len(self._strict.selection.exclude_ids)
        self._rng = np.random.default_rng([request.seed or 0, excluded])  # each page explores something else
        self._values: dict[str, Values] = {}
        self._vectors: dict[str, Vector] = {}

    def page(self, *, first: bool) -> Page:
        limit = self._request.limit
        pinned_ids = self._pinned_ids() if first else []
        pinned = [RecommendedItem(item_id=one, score=0.0, source=PINNED) for one in pinned_ids]
        room = limit - len(pinned)
        strategy, pool = self._pool(self._strict, max(room, 1), pinned)
        pinned = self._scored(strategy, pinned_ids, PINNED)
        places = self._places(room)
        best = self._arranged(pool, self._strict, room - len(places), pinned)
        explored = self._explored(strategy, [*pinned, *best], len(places))
        taken = {item.item_id for item in (*best, *explored)}
        spare = [item for item in pool if item.item_id not in taken]
        missing = room - len(best) - len(explored)
        more = self._arranged(spare, self._strict, missing, [*pinned, *best, *explored])
        page = [*pinned, *scattered(explored, best + more, places[: len(explored)])]
        page, relaxed, held_back = self._filled_up(page, strategy, held_back=len(more) < min(missing, len(spare)))
        return Page(
            strategy=strategy,
            items=self._strategy.detailed(strategy, page),
            more=len(page) == limit or (held_back and bool(page)),
            relaxed=relaxed,
        )

    def _pinned_ids(self) -> list[str]:
        selection = self._strict.selection
        wanted = [one for one in dict.fromkeys(self._request.pinned) if one not in selection.exclude_ids]
        passing = self._passing(wanted, self._strict)
        there = self._ledger.items.get_many(passing)  # the index may not know yet what was deleted
        return [item_id for item_id in wanted if item_id in there][: self._request.limit]

    def _passing(self, item_ids: Sequence[str], step: Step) -> list[str]:
        passing = self._view.collection.matching_ids(item_ids, step.selection.filter)
        return [item_id for item_id in item_ids if item_id in passing]

    def _pool(self, step: Step, room: int, beside: Sequence[RecommendedItem], strategy: str | None = None) -> Found:
        """The best of a step for so many places, from a pool that grows while caps leave places empty.

        What stands `beside` them on the page is not among them, and counts for the caps.
        """
        controlled = bool(self._request.diversity or step.max_per)
        size = max(_POOL, _POOLS * room) if controlled else room
        name, pool = self._pool_of(step, size, beside, strategy)
        if step.max_per and len(pool) == size < _GROWN_POOL:
            control = Control(most=step.max_per, values=self._values_of([*pool, *beside]))
            if len(arranged(pool, control, room, beside=beside)) < room:
                name, pool = self._pool_of(step, min(4 * size, _GROWN_POOL), beside, strategy)
        return name, pool

    def _pool_of(self, step: Step, size: int, beside: Sequence[RecommendedItem], strategy: str | None) -> Found:
        excluded = step.selection.exclude_ids.union(item.item_id for item in beside)
        return self._lifted(replace(step.selection, limit=size, exclude_ids=excluded), strategy)

    def _lifted(self, selection: Selection, strategy: str | None) -> Found:
        """What is found, lifted; the items that are lifted are found as well, however low they would stand."""
        boosts, least = self._request.boosts, selection.min_score
        if boosts:  # the least score is asked of what an item has in the end
            selection = replace(selection, min_score=None)
        name, found = self._strategy.find(selection)
        alike = strategy is None or name == strategy
        if strategy is not None and not alike:  # scores of one answer are of one kind
            name, found = strategy, self._rescored(strategy, found)
        if boosts:
            found = self._boosted(name, found, selection)
        elif alike:
            return name, found
        fit = [item for item in found if least is None or item.score >= least]
        return name, tuple(fit[: selection.limit])

    def _boosted(
        self, strategy: str, found: tuple[RecommendedItem, ...], selection: Selection
    ) -> tuple[RecommendedItem, ...]:
        unit_of_gain = max((abs(item.score) for item in found), default=0.0) or 1.0
        gains: dict[str, float] = {}
        for boost in self._request.boosts:
            for item_id in self._boosted_by(boost, selection, found):
                gains[item_id] = gains.get(item_id, 0.0) + boost.by * unit_of_gain
        known = {item.item_id for item in found}
        more = self._scored(strategy, sorted(gains.keys() - known), strategy)
        return tuple(lifted((*found, *more), gains))

    def _scored(self, strategy: str, item_ids: Sequence[str], source: str) -> list[RecommendedItem]:
        if not item_ids:
            return []
        scores = self._strategy.scores(strategy, item_ids)
        return [RecommendedItem(item_id=one, score=scores[one], source=source) for one in item_ids]

    def _rescored(self, strategy: str, found: Sequence[RecommendedItem]) -> tuple[RecommendedItem, ...]:
        scores = self._strategy.scores(strategy, [item.item_id for item in found])
        return tuple(lifted([structs.replace(item, score=scores[item.item_id]) for item in found], {}))

    def _boosted_by(self, boost: BoostedItems, selection: Selection, found: Sequence[RecommendedItem]) -> set[str]:
        """Items of the selection that this boost lifts: all that are named, and the best that pass its filter."""
        named = [item_id for item_id in boost.item_ids if item_id not in selection.exclude_ids]
        passing = self._view.collection.matching_ids(named, selection.filter)
        ids = set(self._ledger.items.get_many(passing))  # the index may not know yet what was deleted
        condition = parse_filter(boost.filter, self._view.generation.attributes)
        if condition is not None:
            _, best = self._strategy.find(replace(selection, filter=both(selection.filter, condition)))
            ids |= {item.item_id for item in best}
            ids |= self._view.collection.matching_ids([item.item_id for item in found], condition)
        return ids

    def _arranged(
        self, items: Sequence[RecommendedItem], step: Step, room: int, beside: Sequence[RecommendedItem]
    ) -> list[RecommendedItem]:
        diversity = self._request.diversity
        if room <= 0 or not items:
            return []
        control = Control(
            diversity=diversity,
            vectors=self._vectors_of([*items, *beside]) if diversity else {},
            most=step.max_per,
            values=self._values_of([*items, *beside]) if step.max_per else {},
        )
        return arranged(items, control, room, beside=beside)

    def _vectors_of(self, items: Sequence[RecommendedItem]) -> Mapping[str, Vector]:
        unknown = [item.item_id for item in items if item.item_id not in self._vectors]
        if unknown:
            self._vectors |= self._view.collection.vectors(unknown)
        return self._vectors

    def _values_of(self, items: Sequence[RecommendedItem]) -> Mapping[str, Values]:
        unknown = [item.item_id for item in items if item.item_id not in self._values]
        if unknown:
            stored = self._ledger.items.get_many(unknown)
            self._values |= {item_id: values_of(one.item, self._declared) for item_id, one in stored.items()}
        return self._values

    def _places(self, room: int) -> list[int]:
        """The places that are given to items shown least; a part of a place is given by chance."""
        share = self._request.explore * max(room, 0)
        count = int(share + self._rng.random()) if share else 0
        return sorted(self._rng.choice(room, size=count, replace=False).tolist()) if count else []

    def _explored(self, strategy: str, page: Sequence[RecommendedItem], count: int) -> list[RecommendedItem]:
        """Those of a random neighbourhood that were shown least, near what the user likes where that is known."""
        if not count:
            return []
        selection = self._strict.selection
        drawn = self._rng.standard_normal(self._view.generation.dimensions).astype(np.float32)
        direction = (drawn / np.linalg.norm(drawn)).astype(np.float32)
        if self._strategy.lean is not None:
            direction = blend(direction, self._strategy.lean, 0.5)
        taken = selection.exclude_ids.union(self._strategy.disliked, (item.item_id for item in page))
        wanted = replace(selection, limit=_EXPLORED * count, exclude_ids=taken, min_score=None, with_items=False)
        hits, _ = nearest(self._ledger, self._view, direction, wanted)
        shown = self._impressions.counts()
        ids = sorted((hit.item_id for hit in hits), key=lambda item_id: shown.get(item_id, 0))
        scored = self._scored(strategy, ids, EXPLORE)
        fit = [item for item in scored if selection.min_score is None or item.score >= selection.min_score]
        return self._arranged(fit, self._strict, count, page)

    def _filled_up(
        self, page: list[RecommendedItem], strategy: str, *, held_back: bool
    ) -> tuple[list[RecommendedItem], tuple[str, ...], bool]:
        """The page with what passes once more and more is dropped, each item labelled with what that was.

        The last value says whether caps hold something back in the end.
        """
        relaxed: tuple[str, ...] = ()
        for step in self._relaxed:
            room = self._request.limit - len(page)
            if room <= 0:
                break
            _, pool = self._pool(step, room, page, strategy)
            found = self._arranged(pool, step, room, page)
            held_back = len(found) < min(room, len(pool))
            if found:
                relaxed = step.dropped
                page += [structs.replace(item, relaxed=step.dropped) for item in found]
        return page, relaxed, held_back
