"""The trained item-item weights, and which way of training fits the events and the catalogue."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cbrt

import numpy as np
from numpy.typing import NDArray

from ingest.encoder.protocol import Vectors
from ingest.settings import Settings
from ingest.taste.ease import ease
from ingest.taste.interactions import Interactions
from ingest.taste.neighbours import cosine_neighbours
from ingest.taste.strongest import Strongest, kept
from ingest.taste.texts import Texts

_RIDGE_USERS = 300  # of so many users and fewer, `taste_ridge` is the ridge
NEIGHBOURS = (50, 100, 200)  # weights kept for each item: so many, or more where a training finds them surely better


@dataclass(frozen=True, kw_only=True)
class TasteModel:
    """For each item the strongest weights that point at it: row i of `incoming` belongs to `item_ids[i]`."""

    item_ids: tuple[str, ...]
    incoming: Strongest

    def rows(self) -> Iterator[tuple[str, NDArray[np.int32], Vectors]]:
        """Each item with the indices of the items whose weights point at it, and those weights."""
        yield from zip(self.item_ids, *self.incoming, strict=True)

    def with_strongest(self, k: int) -> "TasteModel":
        """The same with the k strongest weights of each item."""
        return TasteModel(item_ids=self.item_ids, incoming=kept(self.incoming, k))


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


def neighbours(items: int, settings: Settings) -> tuple[int, ...]:
    """How many weights an item may keep: what the settings say, else what a training may choose from.

    Above `taste_dense_items` items there is no choice: 200 weights would take 1.6 GB for a million items.
    """
    if settings.taste_neighbours is not None:
        return (settings.taste_neighbours,)
    return NEIGHBOURS if items <= settings.taste_dense_items else NEIGHBOURS[:1]


def ridge_for(users: int, settings: Settings) -> float:
    """The ridge of EASE in mean item popularities: smaller the more users there are, see docs/decisions/0033.

    What items have in common grows with the users, and what chance makes of it with their square root.
    """
    return settings.taste_ridge * min(1.0, cbrt(_RIDGE_USERS / max(1, users)))


def train(interactions: Interactions, texts: Texts, settings: Settings, *, k: int) -> TasteModel | TooFewEvents:
    """The k strongest weights for every item: EASE with text up to `taste_dense_items` items, cosine neighbours above.

    `texts` are in the order of the interactions' items.
    """
    if (too_few := too_few_events(interactions, settings)) is not None:
        return too_few
    k = min(k, max(1, len(interactions.item_ids) - 1))
    if len(interactions.item_ids) > settings.taste_dense_items:
        incoming = cosine_neighbours(interactions.matrix, k=k)
    else:
        incoming = ease(
            interactions.matrix,
            texts.vectors,
            ridge=ridge_for(interactions.users, settings),
            ridge_growth=settings.taste_ridge_growth,
            text_share=settings.taste_text_share,
            k=k,
        )
    return TasteModel(item_ids=interactions.item_ids, incoming=incoming)


def no_model() -> TasteModel:
    """What is known when nothing is: no items and no weights."""
    return TasteModel(item_ids=(), incoming=Strongest(np.zeros((0, 1), np.int32), np.zeros((0, 1), np.float32)))
