"""Scores by taste and by text together: one linear score, so that each past event still has its exact share."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ingest.index.protocol import NO_TASTE, Hit, Query, SparseVector, Vector
from ingest.items import StoredItem
from ingest.store.ledger import Ledger
from serving.answers import Because
from serving.candidates import Selection, Shown, nearest
from serving.explain import combined
from serving.live import View
from serving.profile import Profile, TasteProfile, shares, taste_shares

POOL = 40  # candidates of each query: the best by both scores together may be the best by neither
_LEAST = 1e-9  # by taste, what has no score above 0 is not recommended


@dataclass(frozen=True, kw_only=True)
class Blend:
    """`score(i) = taste . B_i + text_weight (text . v_i)` with B_i the weights that point at item i and v_i its vector.

    Both profiles have length one. Without `text` the score is the taste's alone.
    """

    taste: TasteProfile
    text: Profile | None
    text_weight: float

    def because(
        self, weights: SparseVector, vector: Vector | None, titles: Mapping[str, StoredItem]
    ) -> tuple[Because, ...]:
        """One share per past event of either profile, descending; together they are the score."""
        found = [(part.entry, s) for part, s in zip(self.taste.parts, taste_shares(self.taste, weights), strict=True)]
        if self.text is not None and vector is not None:
            by_text = zip(self.text.parts, shares(self.text, vector), strict=True)
            found += [(part.entry, self.text_weight * float(share)) for part, share in by_text]
        return combined(found, titles)


def best_by_taste(ledger: Ledger, view: View, taste: TasteProfile, selection: Selection) -> Shown:
    """The best by taste alone; items that nothing in the history points at are not among them."""
    least = _LEAST if selection.min_score is None else max(selection.min_score, _LEAST)
    return nearest(ledger, view, taste.vector, replace(selection, min_score=least))


def best_by_blend(ledger: Ledger, view: View, blend: Blend, selection: Selection) -> Shown | None:
    """The best of both queries' candidates by the whole score; None when nothing was found by taste."""
    if blend.text is None:
        by_taste = best_by_taste(ledger, view, blend.taste, selection)
        return by_taste if by_taste[0] else None
    pool = replace(selection, limit=max(POOL, 2 * selection.limit), min_score=None)
    taste_hits, stored = best_by_taste(ledger, view, blend.taste, pool)
    if not taste_hits:
        return None
    text_hits, more = nearest(ledger, view, blend.text.vector, pool)
    tastes = {hit.item_id: hit.score for hit in taste_hits}
    texts = {hit.item_id: hit.score for hit in text_hits}
    texts |= _scores(view, Query(text=blend.text.vector, limit=len(tastes), among=[*tastes]))
    tastes |= _scores(view, Query(taste=blend.taste.vector, limit=len(texts), among=[*texts]))
    scores = {
        item_id: tastes.get(item_id, 0.0) + blend.text_weight * texts.get(item_id, 0.0) for item_id in tastes | texts
    }
    least = selection.min_score
    hits = [Hit(item_id=i, score=score) for i, score in scores.items() if least is None or score >= least]
    hits.sort(key=lambda hit: (-hit.score, hit.item_id))
    return hits[: selection.limit], {**stored, **more}


def _scores(view: View, query: Query) -> dict[str, float]:
    return {hit.item_id: hit.score for hit in view.collection.query(query)}


def explained(
    ledger: Ledger, view: View, blend: Blend, hits: list[Hit], titles: Mapping[str, StoredItem]
) -> list[tuple[Hit, tuple[Because, ...]]]:
    """Each hit with its reasons, and with their sum as its score, best first.

    Read anew from the ledger, so that they agree even while changed weights are on their way to the index.
    """
    ids = [hit.item_id for hit in hits]
    weights = ledger.taste.weights(ids)
    vectors = view.collection.vectors(ids) if blend.text is not None else {}
    found = []
    for item_id in ids:
        reasons = blend.because(weights.get(item_id, NO_TASTE), vectors.get(item_id), titles)
        found.append((Hit(item_id=item_id, score=sum(reason.share for reason in reasons)), reasons))
    return sorted(found, key=lambda pair: -pair[0].score)
