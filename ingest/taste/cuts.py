"""Holding some of what users liked out of a training, to see afterwards what finds it.

Histories stream through a cut, so that it holds a drawn sample of users and numbers for each event, never all events.
"""

import heapq
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ingest.events import Event
from ingest.scoring import Scores, popularity, popularity_steps, present_among
from ingest.settings import Settings
from ingest.weights import SECONDS_PER_DAY, event_weights, votes

SAMPLE = 1_000
SHARE = 0.2  # of the positive events is held out
_LEAST_LIKED = 5


@dataclass(frozen=True, kw_only=True, order=True)
class HeldOut:
    """One drawn user: what a training may know of the history, and the liked items it may not.

    `rest` is what makes the profile, the latest events, and `seen` the items of all that a training may know.
    """

    draw: int
    user_id: str
    rest: tuple[Event, ...]
    seen: frozenset[str]
    liked: frozenset[str]


class Cut:
    """Holds out the last fifth of each history's liked items.

    With `by_chance` it is a drawn fifth, and with `since` whatever happened from then on.
    `present` is what time it is (`EventStore.present`), None where events have no times.
    """

    def __init__(
        self,
        item_ids: Sequence[str],
        present: datetime | None,
        settings: Settings,
        *,
        since: datetime | None = None,
        by_chance: bool = False,
        sample: int = SAMPLE,
    ) -> None:
        self.item_ids = tuple(item_ids)
        self.present = present if since is None else since
        self._since = since
        self.by_chance = by_chance
        self.columns = {item_id: column for column, item_id in enumerate(item_ids)}
        self._settings = settings
        self._votes = votes(settings)
        self._most = sample
        self._sample: list[tuple[int, str, HeldOut]] = []
        self._met, self._times, self._ends = array("i"), array("d"), array("q")

    def training(self, histories: Iterable[Sequence[Event]]) -> Iterator[list[Event]]:
        """The histories without what is held out."""
        for history in histories:
            rest, liked = self._split(history)
            self._count(rest)
            if liked:
                self._draw(rest, liked)
            yield rest

    @property
    def items(self) -> int:
        """How many items there are."""
        return len(self.columns)

    @property
    def users(self) -> list[HeldOut]:
        """The drawn users of whose history a known item is left, in a fixed order."""
        drawn = (held for *_, held in sorted(self._sample, reverse=True))
        return [held for held in drawn if any(event.item_id in self.columns for event in held.rest)]

    def untimed(self, most: int) -> Iterator[NDArray[np.int32]]:
        """Of `most` histories the columns of what they speak for without a time, in order, without what is held out."""
        met, untimed = np.asarray(self._met, np.int32), np.isneginf(np.asarray(self._times))
        for n in range(0, len(self._ends), max(1, -(-len(self._ends) // most))):
            own = slice(self._ends[n - 1] if n else 0, self._ends[n])
            yield met[own][untimed[own]]

    def priors(self, half_life_days: float) -> Scores:
        """Recent popularity of each item over what is not held out, `(items,)` in 0..1: as `EventStore.recent`."""
        step, steps = popularity_steps(half_life_days)
        ages = np.floor(_ages(np.asarray(self._times)) / (step * SECONDS_PER_DAY))
        lately = ages <= steps
        ends = np.asarray(self._ends)
        user = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))[lately]
        # Who meets an item ten times within a step is one who met it.
        met = (user * len(self.item_ids) + np.asarray(self._met)[lately]) * (steps + 1) + ages[lately].astype(np.int64)
        once, age = np.divmod(np.unique(met), steps + 1)
        counted = np.exp2(-age * step / half_life_days)
        counts = np.bincount(once % max(1, len(self.item_ids)), counted, len(self.item_ids))
        return popularity(counts.astype(np.float64))

    def _split(self, history: Sequence[Event]) -> tuple[list[Event], frozenset[str]]:
        weighed = zip(history, event_weights(history, self._settings), strict=True)
        liked = [event for event, weight in weighed if weight > 0 and event.item_id in self.columns]
        if self._since is not None:
            rest = [event for event in history if event.timestamp is None or event.timestamp < self._since]
            known = {event.item_id for event in rest}
            late = [event for event in liked if event.timestamp is not None and event.timestamp >= self._since]
            held = frozenset(event.item_id for event in late) - known
            return rest, held if len(liked) >= _LEAST_LIKED and len(liked) > len(late) else frozenset()
        if len(liked) < _LEAST_LIKED:
            return list(history), frozenset()
        if self.by_chance:
            liked.sort(key=_lot)
        held = frozenset(event.item_id for event in liked[-max(1, int(len(liked) * SHARE)) :])
        return [event for event in history if event.item_id not in held], held

    def _draw(self, rest: list[Event], liked: frozenset[str]) -> None:
        if not rest:
            return
        user_id = rest[0].user_id
        draw = -crc32(user_id.encode("utf-8", "surrogatepass"))  # the smallest hashes stay: the largest leave the heap
        if len(self._sample) == self._most and draw < self._sample[0][0]:
            return
        latest, seen = tuple(rest[-self._settings.history_limit :]), frozenset(event.item_id for event in rest)
        held = HeldOut(draw=draw, user_id=user_id, rest=latest, seen=seen, liked=liked)
        heapq.heappush(self._sample, (draw, user_id, held))
        if len(self._sample) > self._most:
            heapq.heappop(self._sample)

    def _count(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.item_id in self.columns and event in self._votes:
                self._met.append(self.columns[event.item_id])
                self._times.append(-np.inf if event.timestamp is None else event.timestamp.timestamp())
        self._ends.append(len(self._met))


def _lot(event: Event) -> bytes:
    """As good as drawn, and the same at every training. A checksum would not do: of alike ids it is nearly alike."""
    return blake2b(f"{event.user_id}\0{event.item_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _ages(times: Scores) -> Scores:
    """Seconds before the present, as popularity counts them; where that has no time, all events are of one age."""
    present = present_among(np.sort(times)[::-1])
    if not np.isfinite(present):
        return np.zeros_like(times)
    return np.maximum(present - times, 0.0)
