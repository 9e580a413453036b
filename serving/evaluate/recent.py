"""The gate's evaluation: how well a generation finds what the most recent users liked last."""

import math
from dataclasses import dataclass

import numpy as np

from ingest.index.protocol import Collection, Query
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import Generation, HistoryEntry
from serving.evaluate.metrics import ndcg
from serving.profile import Weighed, build_profile, weigh

CUTOFF = 10


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The mean nDCG@10 over `users` users; 0 over none says nothing."""

    ndcg_at_10: float
    users: int


def recent_ndcg(
    ledger: Ledger, collection: Collection, generation: Generation, settings: Settings, users: int = 200
) -> Evaluation:
    """Hold out the latest liked item of the most recent users, and rank the whole catalogue by the rest (exactly).

    One item is relevant, so nDCG@10 is `1 / log2(rank + 1)` when it is among the first ten, else 0 (Järvelin and
    Kekäläinen 2002). Items the user has seen are not ranked. Which users count depends on the ledger alone, so two
    generations are measured on the same ones; equal ledgers give equal numbers.
    """
    gains = [_gain(ledger, collection, generation, settings, user) for user in ledger.events.recent_users(users)]
    counted = [gain for gain in gains if gain is not None]
    return Evaluation(ndcg_at_10=math.fsum(counted) / len(counted) if counted else 0.0, users=len(counted))


def _gain(
    ledger: Ledger, collection: Collection, generation: Generation, settings: Settings, user_id: str
) -> float | None:
    history = ledger.events.history(user_id, generation.name, settings.history_limit)
    held_out = _latest_liked(weigh(history, settings))
    if held_out is None:
        return None
    rest = [entry for entry in history if entry.event.item_id != held_out]
    weighed = weigh(rest, settings)
    if not any(weight > 0 for _, weight in weighed):
        return None
    seen = [item_id for item_id in ledger.events.seen(user_id) if item_id != held_out]
    return _ndcg(_ranking(collection, rest, weighed, seen), held_out)


def _latest_liked(weighed: list[Weighed]) -> str | None:
    return next((entry.event.item_id for entry, weight in weighed if weight > 0), None)


def _ranking(collection: Collection, history: list[HistoryEntry], weighed: list[Weighed], seen: list[str]) -> list[str]:
    vectors = collection.vectors(list(dict.fromkeys(entry.event.item_id for entry in history)))
    profile = build_profile(weighed, vectors)
    if profile is None:
        return []
    hits = collection.query(Query(text=profile.vector, limit=CUTOFF, exclude_ids=tuple(seen), exact=True))
    # The index leaves ties in any order; by id, the measurement is the same every time.
    return [hit.item_id for hit in sorted(hits, key=lambda hit: (-hit.score, hit.item_id))]


def _ndcg(ranking: list[str], relevant: str) -> float:
    hits = np.array([[item_id == relevant for item_id in ranking]], dtype=np.bool_)
    return float(ndcg(hits, np.array([1]))[0])
