"""The trained item-item weights, and which way of training fits the events and the catalogue."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cbrt

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ingest.encoder.protocol import Vectors
from ingest.settings import Settings
from ingest.taste.ease import ease
from ingest.taste.in_common import InCommon
from ingest.taste.interactions import Interactions, damped
from ingest.taste.keeping import Incoming, Keep
from ingest.taste.neighbours import cosine_neighbours
from ingest.taste.texts import Texts

_RIDGE_USERS = 300  # of so many users and fewer, `taste_ridge` is the ridge
KEEPS = (Keep(50), Keep(100), Keep(100, "most_used"), Keep(100, "shared"))  # the first, or one that is surely better


@dataclass(frozen=True, kw_only=True)
class TasteModel:
    """For each item the weights that point at it: row i of `incoming` belongs to `item_ids[i]`."""

    item_ids: tuple[str, ...]
    incoming: Incoming

    def rows(self) -> Iterator[tuple[str, NDArray[np.int32], Vectors]]:
        """Each item with the indices of the items whose weights point at it, and those weights."""
        for item_id, (start, end) in zip(self.item_ids, pairwise(self.incoming.indptr), strict=True):
            yield item_id, self.incoming.indices[start:end], self.incoming.data[start:end]


@dataclass(frozen=True, kw_only=True)
class TooFewEvents:
    """There is nothing to learn from yet: `users` have events on two or more items, `needed` would do."""

    users: int
    needed: int


def too_few_events(interactions: Interactions, settings: Settings) -> TooFewEvents | None:
    """What keeps anything from being learned of these interactions; None: nothing does."""
    if interactions.users >= settings.taste_least_users:
        return None
    return TooFewEvents(users=interactions.users, needed=settings.taste_least_users)


def keeps(items: int, settings: Settings) -> tuple[Keep, ...]:
    """Which weights may be kept: what the settings say of number or rule, else what a training may choose from.

    Above `taste_dense_items` items there is no choice, and nothing is shared: what is compared for that would take
    8 KB an item.
    """
    k, rule = settings.taste_neighbours, settings.taste_kept
    large = items > settings.taste_dense_items
    if k is None and rule is None:
        return KEEPS[:1] if large else KEEPS
    if large and rule == "shared":
        rule = "most_used"
    return (Keep(k or KEEPS[0].k, rule or KEEPS[0].rule),)


def ridge_for(users: int, settings: Settings) -> float:
    """The ridge of EASE in mean item popularities: smaller the more users there are, see docs/decisions/0033.

    What items have in common grows with the users, and what chance makes of it with their square root.
    """
    return settings.taste_ridge * min(1.0, cbrt(_RIDGE_USERS / max(1, users)))


def train(
    interactions: Interactions,
    texts: Texts,
    settings: Settings,
    choices: Sequence[Keep],
    *,
    catalogue: int | None = None,
) -> dict[Keep, TasteModel] | TooFewEvents:
    """The weights that each choice keeps: of EASE with text up to `taste_dense_items` items, of cosines above.

    `texts` are in the order of the interactions' items. Where these are a part of the items, `catalogue` says of
    how many.
    """
    if (too_few := too_few_events(interactions, settings)) is not None:
        return too_few
    matrix = damped(interactions.matrix, settings.taste_user_damping)
    common = InCommon(matrix=matrix, places=interactions.places, fading=settings.taste_fading or 0.0)
    if (catalogue or len(interactions.item_ids)) > settings.taste_dense_items:
        incoming = cosine_neighbours(common, keeps=choices)
    else:
        incoming = ease(
            common,
            texts.vectors,
            ridge=ridge_for(interactions.users, settings),
            ridge_growth=settings.taste_ridge_growth,
            text_share=settings.taste_text_share,
            keeps=choices,
        )
    models = (TasteModel(item_ids=interactions.item_ids, incoming=weights) for weights in incoming)
    return dict(zip(choices, models, strict=True))


def no_model() -> TasteModel:
    """What is known when nothing is: no items and no weights."""
    return TasteModel(item_ids=(), incoming=sparse.csr_array((0, 0), dtype=np.float32))
