"""The best items by a text, taste or word vector that may be shown: they pass the filter, not excluded, not deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from ingest.index.checks import MAX_EXCLUDED
from ingest.index.filters import Filter
from ingest.index.protocol import Hit, Query, SparseVector, Vector
from ingest.items import StoredItem
from ingest.store.ledger import Ledger
from serving.live import View

SPARE = 4  # candidates beyond the page, where some may have to be dropped

Shown = tuple[list[Hit], Mapping[str, StoredItem]]  # hits, best first, and their items where those were asked for


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which items may be in the answer, and how many of them."""

    limit: int
    filter: Filter | None = None
    exclude_ids: frozenset[str] = frozenset()
    min_score: float | None = None
    with_items: bool = False  # whether the answer shows fields of its items


def nearest(
    ledger: Ledger,
    view: View,
    vector: Vector | SparseVector,
    selection: Selection,
    *,
    with_vectors: bool = False,
    by_words: bool = False,
    removals: frozenset[str] | None = None,
) -> Shown:
    """At most `selection.limit` hits, best first, none of which the ledger has deleted.

    A sparse vector is one of taste, or one of words where `by_words` says so. Whoever asks several times for one
    answer hands over `removals`, what the ledger said is on its way out.
    """
    unwanted = selection.exclude_ids | (ledger.pending.removals() if removals is None else removals)
    excluded = tuple(islice(unwanted, MAX_EXCLUDED))  # what is beyond is fetched and dropped
    wanted = selection.limit
    while True:
        query = Query(
            text=None if isinstance(vector, SparseVector) else vector,
            taste=vector if isinstance(vector, SparseVector) and not by_words else None,
            words=vector if isinstance(vector, SparseVector) and by_words else None,
            limit=wanted,
            filter=selection.filter,
            exclude_ids=excluded,
            min_score=selection.min_score,
            with_vectors=with_vectors,
        )
        found = view.collection.query(query)
        hits = [hit for hit in found if hit.item_id not in unwanted] if len(unwanted) > len(excluded) else found
        shown, stored = still_there(ledger, hits) if selection.with_items else (hits, {})
        if len(shown) >= selection.limit or len(found) < wanted:
            return shown[: selection.limit], stored
        wanted = 2 * wanted + SPARE


def still_there(ledger: Ledger, hits: Sequence[Hit]) -> Shown:
    """Those of the hits that the ledger has not deleted, with their items."""
    stored = ledger.items.get_many([hit.item_id for hit in hits])
    return [hit for hit in hits if hit.item_id in stored], stored
