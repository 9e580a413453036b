"""How quickly histories fade: learned on what a cut holds out, by the taste alone."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.scoring import Scores
from ingest.settings import Settings
from ingest.taste.choosing import LEAST_SAMPLE, SURE, least_of_the_best, surely_best
from ingest.taste.cuts import HeldOut
from ingest.taste.judge import CUTOFF, gains_of, seen_columns, taste_query, top, weighed_items
from ingest.taste.keeping import Incoming

FADINGS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def gains_by_fading(
    users: Sequence[HeldOut], columns: Mapping[str, int], incoming: Incoming, settings: Settings
) -> NDArray[np.float64]:
    """NDCG@10 of each user by the taste with each of `FADINGS`: `(users, fadings)`."""
    each = [settings.model_copy(update={"history_fading": fading}) for fading in FADINGS]
    outgoing = incoming.tocsc()  # of which a question needs the columns of its history alone
    found = np.zeros((len(users), len(each)))
    for row, held in enumerate(users):
        queries = np.stack([taste_query(weighed_items(held, columns, one), len(columns)) for one in each], axis=1)
        asked = np.flatnonzero(queries.any(axis=1))
        found[row] = _gains((outgoing[:, asked] @ queries[asked]).T, held, columns)
    return found


def best_fading(gains: Sequence[NDArray[np.float64]]) -> float:
    """What is best for several cuts, each counting alike, if that is more than chance; else, or with too few, none.

    The least that is as good as the best, as far as one can tell: what was met long ago is not soon forgotten.
    """
    told = [one for one in gains if len(one) >= LEAST_SAMPLE]
    return FADINGS[least_of_the_best(told, surely_best(told, SURE))] if told else FADINGS[0]


def _gains(scores: Scores, held: HeldOut, columns: Mapping[str, int]) -> Scores:
    seen = seen_columns(held, columns)
    pool = np.unique(np.concatenate([top(row, seen, CUTOFF) for row in scores]))
    relevant = np.isin(pool, [columns[item_id] for item_id in held.liked])
    return gains_of(scores[:, pool], relevant, len(held.liked))
