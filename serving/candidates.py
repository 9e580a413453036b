"""The best items by a text, taste or word vector that may be shown: they pass the filter, not excluded, not deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from ingest.index.checks import MAX_EXCLUDED, MAX_LIMIT
from ingest.index.filters import Filter
from ingest.index.protocol import Hit, Query, SparseVector, Vector
from ingest.items import StoredItem
from ingest.store.ledger import Ledger
from serving.live import View

SPARE = 4  # candidates beyond the page, where some may have to be dropped
_GROWTH = 4  # each round asks for all anew, so there had better be few

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
) -> Shown:
    """At most `selection.limit` hits, best first, none of which the ledger has deleted.

    A sparse vector is one of taste, or one of words where `by_words` says so.
    """
    sparse = vector if isinstance(vector, SparseVector) else None
    query = Query(
        text=None if isinstance(vector, SparseVector) else vector,
        taste=None if by_words else sparse,
        words=sparse if by_words else None,
        limit=selection.limit,
        filter=selection.filter,
        min_score=selection.min_score,
        with_vectors=with_vectors,
    )
    [hits], stored = _found(ledger, view, [query], selection)
    return hits, stored


def nearest_to_each(
    ledger: Ledger, view: View, vectors: Sequence[Vector], selection: Selection
) -> tuple[list[list[Hit]], Mapping[str, StoredItem]]:
    """The same for each of several text vectors, with one question to the ledger for all of them."""
    one = Query(limit=selection.limit, filter=selection.filter, min_score=selection.min_score)
    return _found(ledger, view, [replace(one, text=vector) for vector in vectors], selection)


def _found(
    ledger: Ledger, view: View, queries: Sequence[Query], selection: Selection
) -> tuple[list[list[Hit]], Mapping[str, StoredItem]]:
    excluded = tuple(islice(selection.exclude_ids, MAX_EXCLUDED))  # what is beyond is fetched and dropped
    wanted = selection.limit
    while True:
        found = [view.collection.query(replace(query, limit=wanted, exclude_ids=excluded)) for query in queries]
        ids = {hit.item_id for hits in found for hit in hits} - selection.exclude_ids
        stored = ledger.items.get_many(ids) if selection.with_items else {}
        # Asked after the index, and of the items: a deletion that is struck off in between is known all the same.
        there = stored.keys() if selection.with_items else ids - ledger.items.deleted(ids)
        shown = [[hit for hit in hits if hit.item_id in there][: selection.limit] for hits in found]
        ended = all(len(all_) < wanted or len(some) == selection.limit for some, all_ in zip(shown, found, strict=True))
        if ended or wanted == MAX_LIMIT:
            return shown, stored
        wanted = min(_GROWTH * wanted + SPARE, MAX_LIMIT)


def still_there(ledger: Ledger, hits: Sequence[Hit]) -> Shown:
    """Those of the hits that the ledger has not deleted, with their items."""
    stored = ledger.items.get_many([hit.item_id for hit in hits])
    return [hit for hit in hits if hit.item_id in stored], stored
