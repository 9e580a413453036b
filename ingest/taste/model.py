"""The trained item-item weights, and which way of training fits the events and the catalogue."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.encoder.protocol import Vectors
from ingest.settings import Settings
from ingest.taste.ease import ease
from ingest.taste.interactions import Interactions
from ingest.taste.neighbours import cosine_neighbours
from ingest.taste.strongest import Strongest
from ingest.taste.texts import Texts


@dataclass(frozen=True, kw_only=True)
class TasteModel:
    """For each item the strongest weights that point at it: row i of `incoming` belongs to `item_ids[i]`."""

    item_ids: tuple[str, ...]
    incoming: Strongest

    def rows(self) -> Iterator[tuple[str, NDArray[np.int32], Vectors]]:
        """Each item with the indices of the items whose weights point at it, and those weights."""
        yield from zip(self.item_ids, *self.incoming, strict=True)


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


def train(interactions: Interactions, texts: Texts, settings: Settings) -> TasteModel | TooFewEvents:
    """Weights for every item: EASE with text up to `taste_dense_items` items, cosine neighbours above.

    `texts` are in the order of the interactions' items.
    """
    if (too_few := too_few_events(interactions, settings)) is not None:
        return too_few
    k = min(settings.taste_neighbours, max(1, len(interactions.item_ids) - 1))
    if len(interactions.item_ids) > settings.taste_dense_items:
        incoming = cosine_neighbours(interactions.matrix, k=k)
    else:
        incoming = ease(
            interactions.matrix,
            texts.vectors,
            ridge=settings.taste_ridge,
            ridge_growth=settings.taste_ridge_growth,
            text_share=settings.taste_text_share,
            k=k,
        )
    return TasteModel(item_ids=interactions.item_ids, incoming=incoming)


def no_model() -> TasteModel:
    """What is known when nothing is: no items and no weights."""
    return TasteModel(item_ids=(), incoming=Strongest(np.zeros((0, 1), np.int32), np.zeros((0, 1), np.float32)))
