"""The gate's evaluation: how well a generation finds what the most recent users liked last."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ingest.index.protocol import Collection, Query, SparseVector, Vector
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import Generation, HistoryEntry
from serving.evaluate.metrics import ndcg
from serving.profile import Weighed, build_profile, build_taste_profile, weigh

CUTOFF = 10


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The nDCG@10 of each user: by the mean of the history's texts, and by taste of those who have one."""

    by_text: Mapping[str, float]
    by_taste: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What is held out of a user's history, and what is left, newest first."""

    held_out: str
    rest: list[HistoryEntry]
    weighed: list[Weighed]
    seen: tuple[str, ...]


def recent_ndcg(
    ledger: Ledger, collection: Collection, generation: Generation, settings: Settings, users: int = 200
) -> Evaluation:
    """Hold out the latest liked item of the most recent users, and rank the whole catalogue by the rest (exactly).

    One item is relevant, so nDCG@10 is `1 / log2(rank + 1)` when it is among the first ten, else 0 (Järvelin and
    Kekäläinen 2002). Items the user has seen are not ranked. Which users count depends on the ledger alone, so two
    generations are measured on the same ones; equal ledgers give equal numbers. Item-item weights have learned from
    what is held out: `by_taste` says whether a generation has them, not how good they are.
    """
    by_text: dict[str, float] = {}
    by_taste: dict[str, float] = {}
    for user_id in ledger.events.recent_users(users):
        if (asked := _asked(ledger, generation, settings, user_id)) is None:
            continue
        ids = [entry.event.item_id for entry in asked.rest]
        profile = build_profile(asked.weighed, collection.vectors(list(dict.fromkeys(ids))))
        by_text[user_id] = _gain(collection, asked, None if profile is None else profile.vector)
        taste = build_taste_profile(asked.weighed, ledger.taste.positions(ids))
        if taste is not None:
            by_taste[user_id] = _gain(collection, asked, taste.vector)
    return Evaluation(by_text=by_text, by_taste=by_taste)


def _asked(ledger: Ledger, generation: Generation, settings: Settings, user_id: str) -> _Asked | None:
    history = ledger.events.history(user_id, generation.name, settings.history_limit)
    held_out = next((entry.event.item_id for entry, weight in weigh(history, settings) if weight > 0), None)
    if held_out is None:
        return None
    rest = [entry for entry in history if entry.event.item_id != held_out]
    weighed = weigh(rest, settings)
    if not any(weight > 0 for _, weight in weighed):
        return None
    seen = tuple(item_id for item_id in ledger.events.seen(user_id) if item_id != held_out)
    return _Asked(held_out=held_out, rest=rest, weighed=weighed, seen=seen)


def _gain(collection: Collection, asked: _Asked, query: Vector | SparseVector | None) -> float:
    if query is None:
        return 0.0
    text, taste = (None, query) if isinstance(query, SparseVector) else (query, None)
    hits = collection.query(Query(text=text, taste=taste, limit=CUTOFF, exclude_ids=asked.seen, exact=True))
    # The index leaves ties in any order; by id, the measurement is the same every time.
    ranking = [hit.item_id for hit in sorted(hits, key=lambda hit: (-hit.score, hit.item_id))]
    found = np.array([[item_id == asked.held_out for item_id in ranking]], dtype=np.bool_)
    return float(ndcg(found, np.array([1]))[0])
