"""What each part of a score says about what a cut holds out, for any weights to be tried on."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ingest.scoring import BlendWeights, Scores, text_scores
from ingest.settings import Settings
from ingest.taste.cuts import Cut, HeldOut
from ingest.taste.model import TasteModel
from ingest.taste.texts import Texts
from ingest.weights import profile_weights, saturated

HALF_LIVES = (0.25, 1.0, 3.0, 7.0, 14.0, 30.0, 90.0, 365.0)  # days
CUTOFF = 10
_DISCOUNTS = 1.0 / np.log2(np.arange(2, CUTOFF + 2))
_POOL = 60  # the best by each part are ranked by the whole score: the ten best of all are nearly always among them

Weighed = list[tuple[int, float]]  # columns of a history's items, and the weights of the events
Outgoing: TypeAlias = "sparse.csc_array"  # (items, items) float32: column j holds the weights that come from item j
_Text = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """One user's candidates: `(candidates,)` each, `priors` by half-life."""

    taste: Scores
    text: Scores
    priors: Mapping[float, Scores]
    relevant: NDArray[np.bool_]
    sought: int  # how many relevant items there are, candidates or not

    def gains(self, scores: Scores) -> Scores:
        """NDCG@10 by each row of `(n, candidates)` scores: `(n,)`."""
        return gains_of(scores, self.relevant, self.sought)

    def prior(self, half_life_days: float) -> Scores:
        """Recent popularity by that half-life, or by the only one where events have no times."""
        return self.priors[half_life_days] if len(self.priors) > 1 else next(iter(self.priors.values()))


def gains_of(scores: Scores, relevant: NDArray[np.bool_], sought: int) -> Scores:
    """NDCG@10 (Järvelin and Kekäläinen 2002) by each row of `(n, candidates)` scores: `(n,)`."""
    k = min(CUTOFF, scores.shape[1])
    if not k:
        return np.zeros(len(scores))
    first = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, first, axis=1), axis=1, kind="stable")
    hits = relevant[np.take_along_axis(first, order, axis=1)]
    return np.asarray(hits @ _DISCOUNTS[:k] / _DISCOUNTS[: min(CUTOFF, sought)].sum())


class Judge:
    """Asks the drawn users of a cut; what does not depend on the trained weights is computed once.

    `texts` are in the order of the cut's items. Memory: 4 bytes for each user and item, where items have texts.
    """

    def __init__(self, cut: Cut, texts: Texts, settings: Settings) -> None:
        self._columns = cut.columns
        searched = cut.present is not None and settings.prior_half_life_days is None
        lives = HALF_LIVES if searched else (BlendWeights().under(settings).half_life_days,)
        self._priors = {life: cut.priors(life) for life in lives}
        self._popular = np.unique(np.concatenate([top(values, [], 2 * _POOL) for values in self._priors.values()]))
        asked = [(held, weighed_items(held, cut.columns, settings)) for held in cut.users]
        self._asked = [(held, weighed, _text(texts, weighed)) for held, weighed in asked]

    @property
    def items(self) -> int:
        """How many items are ranked."""
        return len(self._columns)

    def parts(self, model: TasteModel | None) -> list[Parts]:
        """What taste, text and popularity say for each user; without a model all that taste says is 0."""
        outgoing = None if model is None else model.incoming.tocsc()
        return [self._parts(held, weighed, text, outgoing) for held, weighed, text in self._asked]

    def _parts(self, held: HeldOut, weighed: Weighed, text: _Text | None, outgoing: "Outgoing | None") -> Parts:
        n = len(self._columns)
        seen = seen_columns(held, self._columns)
        taste = np.zeros(n)
        if outgoing is not None:  # of which only the columns of the history are read
            query = taste_query(weighed, n)
            asked = np.flatnonzero(query)
            taste = outgoing[:, asked] @ query[asked]
        texts = np.zeros(n, np.float32) if text is None else text
        popular = np.setdiff1d(self._popular, seen)
        told = [] if text is None else [top(text, seen)]
        pool = np.unique(np.concatenate([top(taste, seen), *told, popular]))
        return Parts(
            taste=taste[pool],
            text=texts[pool].astype(np.float64),
            priors={life: values[pool] for life, values in self._priors.items()},
            relevant=np.isin(pool, [self._columns[item_id] for item_id in held.liked]),
            sought=len(held.liked),
        )


def seen_columns(held: HeldOut, columns: Mapping[str, int]) -> list[int]:
    """What is not to be ranked."""
    return [columns[item_id] for item_id in held.seen if item_id in columns]


def weighed_items(held: HeldOut, columns: Mapping[str, int], settings: Settings) -> Weighed:
    """What each event on a known item that is left of a history counts in the profile."""
    newest_first = [event for event in reversed(held.rest) if event.item_id in columns]
    weights = zip(newest_first, profile_weights(newest_first, settings), strict=True)
    return [(columns[event.item_id], weight) for event, weight in weights]


def _text(texts: Texts, weighed: Weighed) -> _Text | None:
    known = [(column, weight) for column, weight in weighed if weight and texts.vectors[column].any()]
    if not known:
        return None
    history = texts.vectors[[column for column, _ in known]]
    return texts.rarity * text_scores(texts.vectors, history, np.array([weight for _, weight in known]))


def taste_query(weighed: Weighed, n: int) -> Scores:
    """The same as a query of taste, `(n,)` of length one."""
    totals: defaultdict[int, float] = defaultdict(float)
    for column, weight in weighed:
        totals[column] += saturated(weight)
    query = np.zeros(n)
    for column, total in totals.items():
        query[column] = min(max(total, -1.0), 1.0)
    return np.asarray(query / max(float(np.linalg.norm(query)), 1e-12))


def top(scores: NDArray[np.floating], seen: Sequence[int], most: int = _POOL) -> NDArray[np.intp]:
    """Where the largest scores are, in any order, without what has been seen."""
    allowed = scores.astype(np.float64)
    allowed[seen] = -np.inf
    k = min(most, len(allowed))
    first = np.argpartition(-allowed, k - 1)[:k]
    return first[allowed[first] > -np.inf]
