"""The score and the reasons that a strategy has for given items, whatever brought them into the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec import structs

from ingest.index.protocol import Vector
from ingest.items import StoredItem
from ingest.store.ledger import Ledger
from serving.answers import RecommendedItem, field_values
from serving.blended import Blend, split, taste_scores
from serving.explain import by_event
from serving.live import View
from serving.profile import Profile, shares


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What scores are made from: a blend, or else the mean of a history, or else popularity."""

    blend: Blend | None = None
    mean: Profile | None = None
    popularity: Mapping[str, float] = field(default_factory=dict)


def scores_of(view: View, basis: Basis, item_ids: Sequence[str]) -> dict[str, float]:
    """A score for each of the items; 0 for what the basis says nothing of."""
    scores = dict.fromkeys(item_ids, 0.0)
    if basis.blend is not None:
        _add_blend(view, basis.blend, item_ids, scores)
    elif basis.mean is not None:
        vectors = view.collection.vectors(item_ids)
        scores |= {item_id: float(basis.mean.vector @ vector) for item_id, vector in vectors.items()}
    else:
        scores |= {item_id: basis.popularity.get(item_id, 0.0) for item_id in item_ids}
    return scores


def _add_blend(view: View, blend: Blend, item_ids: Sequence[str], scores: dict[str, float]) -> None:
    if blend.taste is not None:
        for item_id, score in taste_scores(view, blend.taste, item_ids).items():
            scores[item_id] += score
    if blend.text is not None and blend.text_weight:
        for item_id, score in blend.texts(view.collection.vectors(item_ids)).items():
            scores[item_id] += score
    for item_id in item_ids:
        scores[item_id] += blend.prior(item_id)


def with_shares(ledger: Ledger, view: View, basis: Basis, items: Sequence[RecommendedItem]) -> list[RecommendedItem]:
    """The items with a share for each past event; with the prior and the boost they add up to the score."""
    ids = [item.item_id for item in items]
    if basis.blend is not None:
        found = {hit.item_id: (hit.score, shares) for hit, shares in split(ledger, view, basis.blend, ids)}
        return [
            structs.replace(
                item,
                score=found[item.item_id][0] + (item.boost or 0.0),
                shares=found[item.item_id][1],
                prior=basis.blend.prior(item.item_id) or None,
            )
            for item in items
        ]
    if basis.mean is not None:
        return shared_by_mean(basis.mean, items, view.collection.vectors(ids))
    return [structs.replace(item, because=(), prior=(item.score - (item.boost or 0.0)) or None) for item in items]


def shared_by_mean(
    mean: Profile, items: Sequence[RecommendedItem], vectors: Mapping[str, Vector]
) -> list[RecommendedItem]:
    """The items with their shares where their vectors are known; the others have no reasons."""
    known = [item.item_id for item in items if item.item_id in vectors]
    rows = shares(mean, [vectors[item_id] for item_id in known]) if known else np.zeros((0, len(mean.parts)))
    found = dict(zip(known, by_event(len(known), (mean.parts, rows)), strict=True))
    return [structs.replace(item, because=(), shares=found.get(item.item_id)) for item in items]


def with_fields(
    items: Sequence[RecommendedItem], stored: Mapping[str, StoredItem], fields: Sequence[str]
) -> list[RecommendedItem]:
    """The items that the ledger has, with the fields that are asked for."""
    there = [item for item in items if item.item_id in stored]
    return [structs.replace(item, fields=field_values(stored[item.item_id].item, fields)) for item in there]
