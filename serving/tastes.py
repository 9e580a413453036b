"""From a user, or a history sent along, to what is known of a taste in one generation."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from sys import getsizeof
from threading import Lock

from ingest.events import Event
from ingest.metrics import PROFILES
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import HistoryEntry
from serving.answers import ProfileInfo
from serving.erased import Erased
from serving.inline_history import newest_first
from serving.learned import Learned
from serving.live import View
from serving.profile import Part, Profile, TastePart, TasteProfile, Weighed, build_profile, build_taste_profile, weigh
from serving.vectors import PositionCache, VectorCache

MOST_BYTES = 256_000_000  # of kept tastes together, by `_bytes_of`
_OF_EVENT, _OF_PART, _OF_TASTE = 350, 130, 5_000  # bytes beside ids and vectors: measured

_Key = tuple[str, str, bool]
_Mark = tuple[int, tuple[int | None, ...], Settings]


@dataclass(frozen=True, kw_only=True)
class Taste:
    """What a history says: its profiles (None: nothing liked that they know), what was disliked, what has been seen."""

    profile: Profile | None = None
    sparse: TasteProfile | None = None
    disliked: frozenset[str] = frozenset()
    seen: tuple[str, ...] = ()
    info: ProfileInfo = field(default_factory=ProfileInfo)


class _Kept:
    """The tastes that were read last, as many as take `MOST_BYTES` together."""

    def __init__(self) -> None:
        self._tastes: OrderedDict[_Key, tuple[_Mark, Taste, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._tastes)

    def get(self, key: _Key, mark: _Mark) -> Taste | None:
        """What was kept, if it was read under this mark."""
        kept = self._tastes.get(key)
        return kept[1] if kept is not None and kept[0] == mark else None

    def put(self, key: _Key, mark: _Mark, taste: Taste) -> None:
        self._drop(key)
        size = _bytes_of(taste)
        self._tastes[key] = mark, taste, size
        self._bytes += size
        while self._bytes > MOST_BYTES:
            self._drop(next(iter(self._tastes)))

    def forget(self, user_id: str) -> None:
        for key in [key for key in self._tastes if key[1] == user_id]:
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        if (kept := self._tastes.pop(key, None)) is not None:
            self._bytes -= kept[2]


def _bytes_of(taste: Taste) -> int:
    """What a taste takes, about: its vectors, the events behind it and what has been seen."""
    text, sparse = taste.profile, taste.sparse
    parts: list[Part | TastePart] = [*(text.parts if text else ()), *(sparse.parts if sparse else ())]
    events = {id(part.entry): part.entry.event for part in parts}.values()
    ids = sum(getsizeof(event.event_id) + getsizeof(event.user_id) + getsizeof(event.item_id) for event in events)
    seen = sum(map(getsizeof, taste.seen)) + getsizeof(taste.seen)
    vectors = text.matrix.nbytes + text.vector.nbytes if text else 0
    return _OF_TASTE + vectors + seen + ids + _OF_EVENT * len(events) + _OF_PART * len(parts)


class Tastes:
    """Reads histories and their items' vectors, and keeps both for the next request.

    A kept taste is used only while the user's events, the placements and the generation are what it was read from, so
    an event counts in the very next answer.
    """

    def __init__(self, ledger: Ledger, settings: Settings, vectors: VectorCache | None = None) -> None:
        self._ledger = ledger
        self._settings = settings
        self.learned = Learned(ledger, settings)  # one for whoever weighs a history, so that all weigh alike
        self._vectors = VectorCache() if vectors is None else vectors
        self._kept = _Kept()
        self._erased = Erased()
        self._lock = Lock()
        self._positions = PositionCache(ledger)

    def of_user(
        self, view: View, user_id: str, *, with_seen: bool, with_profile: bool = True, with_sparse: bool = False
    ) -> Taste:
        """The taste of a user; an unknown user has none, which is no error."""
        if not (with_seen and with_profile and self._settings.embedded):
            # Elsewhere other processes place items, and nothing tells this one that a kept taste has grown old.
            PROFILES.labels("not_kept").inc()
            return self._read(view, user_id, with_seen, with_profile, with_sparse)
        key = (view.generation.name, user_id, with_sparse)
        begun_at = self._erased.now()
        # Read before the history: what changes in between makes the kept taste look older than it is, never newer.
        mark = (self._ledger.placements.recorded, self._ledger.events.mark(user_id), self.learned.settings())
        with self._lock:
            kept = self._kept.get(key, mark)
        if kept is not None:
            PROFILES.labels("hit").inc()
            return kept
        PROFILES.labels("miss").inc()
        taste = self._read(view, user_id, with_seen, with_profile, with_sparse)
        with self._lock:
            if not self._erased.since(begun_at, user_id):
                self._kept.put(key, mark, taste)
        return taste

    def forget(self, user_id: str) -> None:
        """Drop what is kept of a user who is being erased."""
        with self._lock:
            self._erased.add(user_id)
            self._kept.forget(user_id)

    def _read(self, view: View, user_id: str, with_seen: bool, with_profile: bool, with_sparse: bool) -> Taste:
        events = self._ledger.events
        history = events.history(user_id, view.generation.name, self._settings.history_limit)
        seen = self._seen(user_id, history) if with_seen else ()
        weighed = weigh(history, self.learned.settings())
        profile = build_profile(weighed, self._vectors.of_history(view, history)) if with_profile else None
        sparse = self._sparse(weighed) if with_sparse else None
        info = ProfileInfo(events=len(history), used=_used(profile, sparse))
        return Taste(profile=profile, sparse=sparse, disliked=_disliked(weighed), seen=seen, info=info)

    def _seen(self, user_id: str, history: Sequence[HistoryEntry]) -> tuple[str, ...]:
        if len(history) < self._settings.history_limit:
            # The history is whole: what else was seen is deleted or unknown, and in no answer.
            return tuple(entry.event.item_id for entry in history)
        return tuple(self._ledger.events.seen(user_id))

    def _sparse(self, weighed: Sequence[Weighed]) -> TasteProfile | None:
        return build_taste_profile(weighed, self._positions.of(entry.event.item_id for entry, _ in weighed))

    def of_events(self, view: View, events: Sequence[Event], *, with_sparse: bool = False) -> Taste:
        """The taste of events that are not in the ledger; those on unknown items are counted and ignored."""
        item_ids = tuple(dict.fromkeys(event.item_id for event in events))
        vectors = view.collection.vectors(item_ids)
        history = [HistoryEntry(event=event, version=None) for event in newest_first(events)]
        # As in a stored history, what is unknown neither counts nor is counted.
        weighed = weigh([entry for entry in history if entry.event.item_id in vectors], self.learned.settings())
        profile = build_profile(weighed, vectors)
        sparse = self._sparse(weighed) if with_sparse else None
        unknown = sum(event.item_id not in vectors for event in events)
        info = ProfileInfo(events=len(history), used=_used(profile, sparse), unknown=unknown)
        return Taste(profile=profile, sparse=sparse, disliked=_disliked(weighed), seen=item_ids, info=info)


def _used(profile: Profile | None, sparse: TasteProfile | None) -> int:
    by_text = {part.entry.event.event_id for part in profile.parts} if profile else set()
    return len(by_text.union(part.entry.event.event_id for part in sparse.parts) if sparse else by_text)


def _disliked(weighed: Sequence[Weighed]) -> frozenset[str]:
    return frozenset(entry.event.item_id for entry, weight in weighed if weight < 0)
