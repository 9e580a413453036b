"""The nearest items to a vector that may be shown: they pass the filter, are not excluded, and are not deleted."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ingest.index.filters import Filter
from ingest.index.protocol import Hit, Query, Vector
from ingest.items import StoredItem
from ingest.store.ledger import Ledger
from serving.live import View

SPARE = 4  # more than the page, as an item that was just deleted may stand in the index for some milliseconds

Shown = tuple[list[Hit], Mapping[str, StoredItem]]  # hits, best first, and the items they name


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which items may be in the answer, and how many of them."""

    limit: int
    filter: Filter | None = None
    exclude_ids: Collection[str] = ()
    min_score: float | None = None


def nearest(
    ledger: Ledger,
    view: View,
    vector: Vector,
    selection: Selection,
    *,
    exact: bool = False,
    with_vectors: bool = False,
) -> Shown:
    """At most `selection.limit` hits, best first, and their items as the ledger has them now."""
    wanted = selection.limit + SPARE
    while True:
        query = Query(
            text=vector,
            limit=wanted,
            filter=selection.filter,
            exclude_ids=tuple(selection.exclude_ids),
            min_score=selection.min_score,
            exact=exact,
            with_vectors=with_vectors,
        )
        hits = view.collection.query(query)
        stored = ledger.items.get_many([hit.item_id for hit in hits])
        shown = [hit for hit in hits if hit.item_id in stored]
        if len(shown) >= selection.limit or len(hits) < wanted:
            return shown[: selection.limit], stored
        wanted *= 2
