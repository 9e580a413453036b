"""How quickly histories fade, and how quickly what their items have in common: learned by the taste alone."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.settings import Settings
from ingest.taste.choosing import LEAST_SAMPLE, SURE, best_of, least_of_the_best, surely_best
from ingest.taste.cuts import Cut, HeldOut
from ingest.taste.interactions import Interactions
from ingest.taste.judge import CUTOFF, gains_of, seen_columns, taste_query, top
from ingest.taste.keeping import Incoming
from ingest.taste.model import keeps, train
from ingest.taste.order import HISTORIES, is_of_the_file
from ingest.taste.texts import Texts
from ingest.weights import event_weights, faded, met_since

FADINGS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
TASTE_FADINGS = (0.0, 0.03, 0.1, 0.3, 1.0)
# So much tells as much as all: what takes minutes of 20,000 items takes seconds.
COMMONEST = 4_000  # items
MOST_USERS = 50_000


def with_fadings(left: Sequence[tuple[Cut, Interactions]], texts: Texts, settings: Settings) -> Settings:
    """The settings with both fadings: as they say, or as is best together for what the cuts hold out.

    They are learned on the commonest items, with the first of what may be kept. What is drawn by chance says nothing of
    them, and neither does what is last in an order that is not of time.
    """
    tastes = _values(settings.taste_fading, TASTE_FADINGS)
    histories = _values(settings.history_fading, FADINGS)
    taste, history = 0, 0
    if len(tastes) * len(histories) > 1:
        asked = [(cut, interactions) for cut, interactions in left if _is_of_time(cut)]
        gains = [_gains(cut, interactions, texts, settings, tastes) for cut, interactions in asked]
        taste, history = best_pair(gains, len(histories))
    return settings.model_copy(update={"taste_fading": tastes[taste], "history_fading": histories[history]})


def best_pair(cuts: Sequence[NDArray[np.float64]], histories: int) -> tuple[int, int]:
    """Which fadings of taste and of histories are best for several cuts, each counting alike: their numbers.

    The gains are `(users, pairs)`, the first of taste with each of so many of histories, then the next. Another of
    histories than the first must surely beat it; then another of taste must surely beat the best there is without, so
    that what one gains does not speak for the other. Of what is as good as the best, as far as one can tell, the least
    is taken: what was met long ago is not soon forgotten.
    """
    told = [one for one in cuts if len(one) >= LEAST_SAMPLE]
    if not told:
        return 0, 0
    plain = [one[:, :histories] for one in told]
    found = least_of_the_best(plain, surely_best(plain, SURE))
    best = best_of(plain)
    faded = [np.column_stack([one[:, best], one[:, histories:]]) for one in told]
    if (sure := surely_best(faded, SURE)) == 0:
        return 0, found
    least = least_of_the_best([one[:, 1:] for one in faded], sure - 1)
    return 1 + least // histories, least % histories


def _values(said: float | None, all_of_them: Sequence[float]) -> Sequence[float]:
    return all_of_them if said is None else (said,)


def _is_of_time(cut: Cut) -> bool:
    """Whether what is held out happened last, as far as one can tell."""
    return not cut.by_chance and not is_of_the_file(cut.untimed(HISTORIES), cut.items)


def _gains(
    cut: Cut, interactions: Interactions, texts: Texts, settings: Settings, tastes: Sequence[float]
) -> NDArray[np.float64]:
    """NDCG@10 of each user by the taste with each pair of fadings: `(users, pairs)`; no users of too few events."""
    common = commonest(interactions, COMMONEST)
    part, part_texts = _Part(cut, interactions.of(common, MOST_USERS), settings), texts.of(common)
    first = keeps(cut.items, settings)[0]
    found = []
    for fading in tastes:
        so_faded = settings.model_copy(update={"taste_fading": fading})
        models = train(part.interactions, part_texts, so_faded, [first], catalogue=cut.items)
        if not isinstance(models, dict):
            return np.empty((0, 0))
        found.append(part.gains(models[first].incoming))
    return np.hstack(found)


def commonest(interactions: Interactions, most: int) -> NDArray[np.intp]:
    """The columns of the items that most histories hold, ascending."""
    held = np.bincount(interactions.matrix.indices, minlength=interactions.matrix.shape[1])
    return np.sort(np.argsort(-held, kind="stable")[:most])


class _Part:
    """Some of the items, and what the histories of a cut's users ask about them."""

    def __init__(self, cut: Cut, interactions: Interactions, settings: Settings) -> None:
        self.interactions = interactions
        self._columns = {item_id: column for column, item_id in enumerate(interactions.item_ids)}
        self._fadings = _values(settings.history_fading, FADINGS)
        users = [held for held in cut.users if not self._columns.keys().isdisjoint(held.liked)]
        self._asked = [(held, *self._queries(held, cut.columns, settings)) for held in users]

    def gains(self, incoming: Incoming) -> NDArray[np.float64]:
        """NDCG@10 of each user by these weights with each fading of histories: `(users, fadings)`."""
        outgoing = incoming.tocsc()  # of which a question needs the columns of its history alone
        found = np.zeros((len(self._asked), len(self._fadings)))
        for row, (held, asked, queries) in enumerate(self._asked):
            scores = (outgoing[:, asked] @ queries).T
            seen = seen_columns(held, self._columns)
            pool = np.unique(np.concatenate([top(one, seen, CUTOFF) for one in scores]))
            sought = [self._columns[item_id] for item_id in held.liked if item_id in self._columns]
            found[row] = gains_of(scores[:, pool], np.isin(pool, sought), len(sought))
        return found

    def _queries(
        self, held: HeldOut, known: Mapping[str, int], settings: Settings
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Which columns a history asks, and how much by each fading: `(n,)` and `(n, fadings)`."""
        newest_first = [event for event in reversed(held.rest) if event.item_id in known]
        weights, met = event_weights(newest_first, settings), met_since(newest_first)
        queries = np.zeros((len(self._columns), len(self._fadings)))
        for n, fading in enumerate(self._fadings):
            weighed = zip(newest_first, faded(weights, met, fading), strict=True)
            columns = [(self._columns[e.item_id], weight) for e, weight in weighed if e.item_id in self._columns]
            queries[:, n] = taste_query(columns, len(self._columns))
        asked = np.flatnonzero(queries.any(axis=1))
        return asked, queries[asked]
