"""One score for taste, text and recent popularity together: each past event still has its exact share of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ingest.chunks import chunks
from ingest.index.protocol import NO_TASTE, Hit, Query, SparseVector, Vector
from ingest.items import StoredItem
from ingest.scoring import text_parts
from ingest.store.ledger import Ledger
from serving.answers import Shares
from serving.candidates import Selection, Shown, nearest, nearest_to_each
from serving.explain import by_event
from serving.live import View
from serving.popular import Recent
from serving.profile import Part, Profile, TastePart, TasteProfile, taste_shares
from serving.vectors import VectorCache

POOL = 40  # candidates of each query: the best by the whole score may be the best by no part of it
LEAST_EACH = 10  # where several anchors share the pool
_LEAST = 1e-9  # by taste, what has no score above 0 is not recommended


@dataclass(frozen=True, kw_only=True)
class Blend:
    """`score(i) = taste . B_i + text_weight rarity(i) text(i) + prior_weight prior(i)`.

    B_i are the weights that point at item i, `text` is the soft top-k of `ingest.scoring`, `rarity` says how far the
    item's text stands apart from others, `prior` what is popular lately. Parts that are None or have no weight are left
    out.
    """

    taste: TasteProfile | None = None
    text: Profile | None = None
    text_weight: float = 0.0
    rarities: Mapping[str, float] = field(default_factory=dict)  # 1 for items that are not in it
    recent: Recent = field(default_factory=Recent)
    prior_weight: float = 0.0
    anchors: int = 1  # how many of the text's vectors are asked for candidates: 1 is the mean alone

    @property
    def by_text(self) -> bool:
        """Whether text has a part in the score."""
        return self.text is not None and self.text_weight > 0

    def prior(self, item_id: str) -> float:
        """What recent popularity adds to the score of an item."""
        return self.prior_weight * self.recent.values.get(item_id, 0.0) if self.prior_weight else 0.0

    def shares(
        self, item_ids: Sequence[str], weights: Mapping[str, SparseVector], vectors: Mapping[str, Vector]
    ) -> list[Shares]:
        """One share of each item's score per past event of either profile; with the prior they are the score."""
        found: list[tuple[Sequence[Part | TastePart], NDArray[np.float64]]] = []
        if self.taste is not None:
            pointing = [weights.get(item_id, NO_TASTE) for item_id in item_ids]
            found.append((self.taste.parts, taste_shares(self.taste, pointing)))
        if self.text is not None and self.text_weight:
            rows = np.zeros((len(item_ids), len(self.text.parts)))
            there = [place for place, item_id in enumerate(item_ids) if item_id in vectors]
            if there:
                rows[there] = self._text_parts({item_ids[place]: vectors[item_ids[place]] for place in there})
            found.append((self.text.parts, rows))
        return by_event(len(item_ids), *found)

    def texts(self, vectors: Mapping[str, Vector]) -> dict[str, float]:
        """The text score of each of those items, weighed."""
        return dict(zip(vectors, self._text_parts(vectors).sum(axis=1).tolist(), strict=True))

    def _text_parts(self, vectors: Mapping[str, Vector]) -> NDArray[np.float64]:
        if self.text is None or not vectors or not self.text_weight:
            return np.zeros((len(vectors), 0))
        matrix = np.stack(list(vectors.values()))
        weights = self.text_weight * np.array([self.rarities.get(item_id, 1.0) for item_id in vectors])
        return weights[:, np.newaxis] * text_parts(matrix, self.text.matrix, self.text.weights)


def best_by_taste(ledger: Ledger, view: View, taste: TasteProfile, selection: Selection) -> Shown:
    """The best by taste alone; items that nothing in the history points at are not among them."""
    least = _LEAST if selection.min_score is None else max(selection.min_score, _LEAST)
    return nearest(ledger, view, taste.vector, replace(selection, min_score=least))


def best_by_blend(
    ledger: Ledger,
    view: View,
    blend: Blend,
    selection: Selection,
    cache: VectorCache | None = None,
    *,
    begun: bool = False,
) -> Shown | None:
    """The best by the whole score among the candidates of each part; None when taste was asked and found nothing.

    The pages after one that was blended (`begun`) go on with what the other parts find.
    """
    pool = replace(selection, limit=max(POOL // blend.anchors, LEAST_EACH, 2 * selection.limit), min_score=None)
    tastes: dict[str, float] = {}
    stored: dict[str, StoredItem] = {}
    if blend.taste is not None:
        hits, found = best_by_taste(ledger, view, blend.taste, pool)
        if not hits and not begun:
            return None
        tastes = {hit.item_id: hit.score for hit in hits}
        stored |= found
    near, items = _text_candidates(ledger, view, blend, pool)
    stored |= items
    popular = _popular_candidates(ledger, view, blend, pool)
    candidates = list(dict.fromkeys((*tastes, *near, *popular)))
    # Not fetched with the hits: most candidates are another user's, too, and their vectors are at hand.
    vectors = _vectors(ledger, view, candidates, cache) if blend.by_text else {}
    if blend.by_text:  # what has no vector does not stand in this generation
        candidates = [item_id for item_id in candidates if item_id in vectors]
    if blend.taste is not None:
        tastes |= taste_scores(view, blend.taste, [item_id for item_id in candidates if item_id not in tastes])
    texts = blend.texts(vectors)
    least = selection.min_score
    hits = [
        Hit(item_id=item_id, score=tastes.get(item_id, 0.0) + texts.get(item_id, 0.0) + blend.prior(item_id))
        for item_id in candidates
    ]
    hits = sorted(
        (hit for hit in hits if least is None or hit.score >= least), key=lambda hit: (-hit.score, hit.item_id)
    )
    hits = hits[: selection.limit]
    if selection.with_items:
        lacking = [hit.item_id for hit in hits if hit.item_id not in stored]
        stored |= ledger.items.get_many(lacking) if lacking else {}
        hits = [hit for hit in hits if hit.item_id in stored]
    return hits, stored


def _vectors(ledger: Ledger, view: View, item_ids: Sequence[str], cache: VectorCache | None) -> dict[str, Vector]:
    if cache is None:
        return view.collection.vectors(item_ids)
    return cache.of_items(view, item_ids, ledger.placements.recorded)


def _text_candidates(
    ledger: Ledger, view: View, blend: Blend, pool: Selection
) -> tuple[list[str], Mapping[str, StoredItem]]:
    if blend.text is None or not blend.by_text:
        return [], {}
    # All anchors of a long history take milliseconds, so they are not looked for where the mean will do.
    anchors = [blend.text.vector] if blend.anchors == 1 else blend.text.anchors[: blend.anchors]
    found, stored = nearest_to_each(ledger, view, anchors, pool)
    return list(dict.fromkeys(hit.item_id for hits in found for hit in hits)), stored


def _popular_candidates(ledger: Ledger, view: View, blend: Blend, pool: Selection) -> list[str]:
    """The first of what is popular lately that pass; fewer than a pool where the filter is hard."""
    if not blend.prior_weight:
        return []
    ranked = (hit.item_id for hit in blend.recent.ranking if hit.item_id not in pool.exclude_ids)
    allowed = _not_deleted(ledger, ranked, 2 * pool.limit)
    if pool.filter is None and blend.by_text:
        return list(islice(allowed, pool.limit))
    wanted = list(islice(allowed, 2 * pool.limit))
    passing = view.collection.matching_ids(wanted, pool.filter)
    return [item_id for item_id in wanted if item_id in passing][: pool.limit]


def _not_deleted(ledger: Ledger, item_ids: Iterator[str], at_once: int) -> Iterator[str]:
    """Of thousands in a ranking only the first are wanted, so only those are asked about."""
    for some in chunks(item_ids, at_once):
        gone = ledger.items.deleted(some)
        yield from (item_id for item_id in some if item_id not in gone)


def taste_scores(view: View, taste: TasteProfile, item_ids: Sequence[str]) -> dict[str, float]:
    """The taste score of those of the items that have one, however many they are."""
    scores: dict[str, float] = {}
    for among in chunks(item_ids):
        found = view.collection.query(Query(taste=taste.vector, limit=len(among), among=among))
        scores |= {hit.item_id: hit.score for hit in found}
    return scores


def split(ledger: Ledger, view: View, blend: Blend, ids: Sequence[str]) -> list[tuple[Hit, Shares]]:
    """Each item with its shares, and with their sum and the prior as its score, best first.

    Read anew from the ledger, so that they agree even while changed weights are on their way to the index.
    """
    weights = ledger.taste.weights(ids) if blend.taste is not None else {}
    vectors = view.collection.vectors(ids) if blend.text is not None else {}
    found = [
        (Hit(item_id=item_id, score=float(shares.values.sum()) + blend.prior(item_id)), shares)
        for item_id, shares in zip(ids, blend.shares(ids, weights, vectors), strict=True)
    ]
    return sorted(found, key=lambda pair: -pair[0].score)
