"""What to show where no taste is known: what most people liked lately, and then the rest of the catalogue."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from ingest.index.protocol import Hit
from ingest.items import StoredItem
from ingest.scoring import priors
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.weights import Votes, votes
from serving.candidates import SPARE, Selection, Shown, nearest, still_there
from serving.live import View
from serving.recounted import Recounted

POPULAR = "popular"
CATALOGUE = "catalogue"


@dataclass(frozen=True, kw_only=True)
class Recent:
    """What is popular lately: `values` in 0..1 by item, and the same as a ranking, best first."""

    values: Mapping[str, float] = field(default_factory=dict)
    ranking: tuple[Hit, ...] = ()


class Popularity:
    """The most popular items with a score in 0..1, read from the ledger at most every `seconds`. Thread-safe.

    With an executor, nobody but the first waits for a count.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        *,
        seconds: float = 60.0,
        limit: int = 10_000,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._days = settings.popularity_days
        self._settings = settings
        self._limit = limit
        self._half_life_days = 0.0
        self._ranking = Recounted(self._count, seconds=seconds, executor=executor, clock=clock)
        self._recent = Recounted(self._count_recent, seconds=seconds, executor=executor, clock=clock)

    def ranking(self) -> tuple[Hit, ...]:
        """Best first; score is the item's distinct users divided by those of the best."""
        return self._ranking()

    def recent(self, half_life_days: float) -> Recent:
        """What is popular lately, by that half-life; log-scaled, so that the best has 1."""
        if half_life_days != self._half_life_days:  # a training found another one
            self._half_life_days = half_life_days
            self._recent.expire()
        return self._recent()

    def _count_recent(self) -> Recent:
        values = priors(dict(self._ledger.events.recent(self._half_life_days, self._limit, self._votes())))
        ranking = tuple(Hit(item_id=item_id, score=value) for item_id, value in values.items())
        return Recent(values=values, ranking=ranking)

    def _votes(self) -> Votes:
        return votes(self._ledger.learned.usual().under(self._settings))

    def _count(self) -> tuple[Hit, ...]:
        counted = self._ledger.events.popular(self._days, self._limit, self._votes())
        best = max((count for _, count in counted), default=1.0)
        return tuple(Hit(item_id=item_id, score=count / best) for item_id, count in counted)


def listed_hits(ledger: Ledger, view: View, ranking: Sequence[Hit], selection: Selection) -> Shown:
    """The first of a ranking that pass the selection, best first, and the items as the ledger has them now."""
    least = -1.0 if selection.min_score is None else selection.min_score
    # One after another: of thousands only the first are wanted.
    allowed = (hit for hit in ranking if hit.score >= least and hit.item_id not in selection.exclude_ids)
    found: list[Hit] = []
    stored: dict[str, StoredItem] = {}
    for pool in _growing_pools(allowed, selection.limit + SPARE):
        matching = view.collection.matching_ids([hit.item_id for hit in pool], selection.filter)
        there, items = still_there(ledger, [hit for hit in pool if hit.item_id in matching])
        stored |= items
        found.extend(there)
        if len(found) >= selection.limit:
            break
    return found[: selection.limit], stored


def catalogue_hits(ledger: Ledger, view: View, selection: Selection) -> Shown:
    """Any items that pass the selection, all with score 0, in an order that stays the same for one generation."""
    if selection.limit <= 0 or (selection.min_score is not None and selection.min_score > 0):
        return [], {}
    # The direction means nothing; it only makes the order definite.
    dimensions = view.generation.dimensions
    anywhere = np.full(dimensions, 1 / np.sqrt(dimensions), dtype=np.float32)
    hits, stored = nearest(ledger, view, anywhere, replace(selection, min_score=None))
    return [Hit(item_id=hit.item_id, score=0.0) for hit in hits], stored


def _growing_pools(hits: Iterator[Hit], size: int) -> Iterator[Sequence[Hit]]:
    while pool := list(islice(hits, size)):
        yield pool
        size *= 2  # the harder the filter, the fewer rounds
