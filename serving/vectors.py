"""The text vectors and positions of past items, kept between requests: a history changes little meanwhile."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from threading import Lock

from ingest.index.protocol import Vector
from ingest.store.ledger import Ledger
from ingest.store.records import HistoryEntry
from serving.live import View

_Key = tuple[str, str, int]


class VectorCache:
    """The least recently used vectors leave first; one key per generation, item and version, so none grows stale."""

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._vectors: OrderedDict[_Key, Vector] = OrderedDict()
        self._lock = Lock()

    def of_history(self, view: View, entries: Sequence[HistoryEntry]) -> dict[str, Vector]:
        """The vectors of those entries' items that stand in the view's generation, by item id."""
        name = view.generation.name
        keys = {e.event.item_id: (name, e.event.item_id, e.version) for e in entries if e.version is not None}
        found = self._known(keys)
        missing = [item_id for item_id in keys if item_id not in found]
        if missing:
            fetched = view.collection.vectors(missing)
            self._keep({keys[item_id]: vector for item_id, vector in fetched.items()})
            found.update(fetched)
        return found

    def of_items(self, view: View, item_ids: Sequence[str], mark: int) -> dict[str, Vector]:
        """The vectors of those items, kept while `mark`, which counts this process's placements, stays the same."""
        keys = {item_id: (view.generation.name, item_id, -1 - mark) for item_id in item_ids}
        found = self._known(keys)
        missing = [item_id for item_id in item_ids if item_id not in found]
        if missing:
            fetched = view.collection.vectors(missing)
            self._keep({keys[item_id]: vector for item_id, vector in fetched.items()})
            found.update(fetched)
        return found

    def __len__(self) -> int:
        return len(self._vectors)

    def _known(self, keys: dict[str, _Key]) -> dict[str, Vector]:
        found = {}
        with self._lock:
            for item_id, key in keys.items():
                vector = self._vectors.get(key)
                if vector is not None:
                    self._vectors.move_to_end(key)
                    found[item_id] = vector
        return found

    def _keep(self, vectors: dict[_Key, Vector]) -> None:
        with self._lock:
            self._vectors.update(vectors)
            while len(self._vectors) > self._capacity:
                self._vectors.popitem(last=False)


class PositionCache:
    """Sparse positions by item id. They never change, so they are only dropped for room."""

    def __init__(self, ledger: Ledger, capacity: int = 200_000) -> None:
        self._ledger = ledger
        self._capacity = capacity
        self._positions: dict[str, int] = {}

    def of(self, item_ids: Iterable[str]) -> dict[str, int]:
        """The positions of those that have one."""
        asked = dict.fromkeys(item_ids)
        known = self._positions  # one name for one dict: another thread may put an empty one in its place
        found = {item_id: known[item_id] for item_id in asked if item_id in known}
        missing = [item_id for item_id in asked if item_id not in found]
        if missing:
            fetched = self._ledger.taste.positions(missing)
            if len(known) + len(fetched) > self._capacity:
                known = self._positions = {}
            known.update(fetched)
            found |= fetched
        return found
