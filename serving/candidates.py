"""The nearest items to a vector that may be shown: they pass the filter, are not excluded, and are not deleted."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice

from ingest.index.filters import Filter
from ingest.index.protocol import Hit, Query, Vector
from ingest.items import StoredItem
from ingest.store.ledger import Ledger
from serving.live import View

SPARE = 4  # more than the page, as an item that was just deleted may stand in the index for some milliseconds
MOST_EXCLUDED = 10_000  # ids that one query of the index may exclude; what is beyond is fetched and dropped

Shown = tuple[list[Hit], Mapping[str, StoredItem]]  # hits, best first, and their items where those were asked for


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which items may be in the answer, and how many of them."""

    limit: int
    filter: Filter | None = None
    exclude_ids: frozenset[str] = frozenset()
    min_score: float | None = None
    with_items: bool = False  # whether the answer shows fields of its items


def nearest(ledger: Ledger, view: View, vector: Vector, selection: Selection, *, with_vectors: bool = False) -> Shown:
    """At most `selection.limit` hits, best first, none of which the ledger has deleted."""
    excluded = tuple(islice(selection.exclude_ids, MOST_EXCLUDED))
    wanted = selection.limit + SPARE
    while True:
        query = Query(
            text=vector,
            limit=wanted,
            filter=selection.filter,
            exclude_ids=excluded,
            min_score=selection.min_score,
            with_vectors=with_vectors,
        )
        found = view.collection.query(query)
        hits = [hit for hit in found if hit.item_id not in selection.exclude_ids]
        present, stored = still_there(ledger, [hit.item_id for hit in hits], with_items=selection.with_items)
        shown = [hit for hit in hits if hit.item_id in present]
        if len(shown) >= selection.limit or len(found) < wanted:
            return shown[: selection.limit], stored
        wanted *= 2


def still_there(
    ledger: Ledger, item_ids: Sequence[str], *, with_items: bool
) -> tuple[AbstractSet[str], Mapping[str, StoredItem]]:
    """Those of the ids that the ledger has not deleted, and their items if they are asked for: reading them costs."""
    if not with_items:
        return ledger.items.present(item_ids), {}
    stored = ledger.items.get_many(item_ids)
    return stored.keys(), stored
