"""Popularity, item-kNN, EASE and ALS as LensKit has them, fitted to the positive training events.

The ridge of EASE is tuned for every catalogue on a part of the training events; the other settings are common ones and
the same everywhere. Nothing is tuned on what is held out.
"""

# ruff: noqa: PLC0415 - LensKit is an extra, and brings torch: only an evaluation imports it

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from serving.evaluate.metrics import Floats, Integers, ndcg
from serving.evaluate.trial import Scorer, Trial, best

NEIGHBOURS = 100
EASE_REGULARIZATION = 200.0
RIDGES = (12.5, 25.0, 50.0, 100.0, EASE_REGULARIZATION, 400.0, 800.0, 1600.0)
FACTORS = 64
LEAST_LIKED, VALIDATED, CUTOFF = 5, 500, 10


def fit_popularity(trial: Trial) -> Scorer:
    """How many users liked an item."""
    from lenskit.basic import PopScorer

    model = _trained(PopScorer(score="count"), trial)
    scores = _scores(model(items=_catalogue(trial)))
    return Scorer(lambda _: scores)


def fit_item_knn(trial: Trial) -> Scorer:
    """Item-item cosine, summed over the nearest of the history (Deshpande and Karypis 2004)."""
    from lenskit.knn import ItemKNNScorer

    return _by_history(ItemKNNScorer(feedback="implicit", max_nbrs=NEIGHBOURS), trial)


def fit_ease(trial: Trial) -> Scorer:
    """The linear autoencoder in closed form (Steck 2019), its ridge the best of `RIDGES` on a validation cut.

    Takes 16 bytes x items^2 while it is fitted (0.56 GB at 6,000 items), and keeps a quarter of that.
    """
    known, sought = _validation(trial)
    tried: dict[float, float] = {}

    def gain(place: int) -> float:
        ridge = RIDGES[place]
        if ridge not in tried:
            scores = _ease(_without(trial, sought), ridge, known)
            tried[ridge] = _gain(scores, known, sought)
        return tried[ridge]

    place = RIDGES.index(EASE_REGULARIZATION)
    if sought:
        place = climbed(gain, place, len(RIDGES))
    found = ", ".join(f"{ridge:g}: {value:.4f}" for ridge, value in sorted(tried.items()))
    note = f"regularization {RIDGES[place]:g}" + (f" by nDCG@10 on a validation cut ({found})" if found else "")
    return Scorer(_ease(trial, RIDGES[place], dict(enumerate(trial.liked))), note)


def climbed(gain: Callable[[int], float], place: int, places: int) -> int:
    """Go on to a neighbouring place as long as that gains more; what is on a single hill ends on its top."""
    for step in (1, -1):
        while 0 <= place + step < places and gain(place + step) > gain(place):
            place += step
    return place


def _ease(trial: Trial, ridge: float, histories: Mapping[int, Integers]) -> Callable[[int], Floats]:
    from lenskit.knn import EASEScorer

    weights = _trained(EASEScorer(regularization=ridge), trial).weights
    # What the model's own call computes, without reading all of its weights for each user.
    return lambda user: weights[histories[user]].sum(axis=0, dtype=np.float64)


def _validation(trial: Trial) -> tuple[dict[int, Integers], dict[int, Integers]]:
    """What is left of the liked items of some asked users, and the last fifth of them, which is sought."""
    known: dict[int, Integers] = {}
    sought: dict[int, Integers] = {}
    for user, liked in enumerate(trial.liked):
        if len(liked) >= LEAST_LIKED and len(sought) < VALIDATED:
            last = max(1, len(liked) // 5)
            known[user], sought[user] = liked[:-last], liked[-last:]
    return known, sought


def _without(trial: Trial, sought: Mapping[int, Integers]) -> Trial:
    gone = {(int(trial.asked_as[user]), place) for user, places in sought.items() for place in places.tolist()}
    kept = [pair for pair in map(tuple, trial.pairs.tolist()) if pair not in gone]
    return replace(trial, pairs=np.array(kept, dtype=np.int64).reshape(-1, 2))


def _gain(scores: Callable[[int], Floats], known: Mapping[int, Integers], sought: Mapping[int, Integers]) -> float:
    lists = [best(scores(user), known[user], CUTOFF) for user in sought]
    hits = np.array([np.isin(found, places) for found, places in zip(lists, sought.values(), strict=True)])
    return float(ndcg(hits, np.array([len(places) for places in sought.values()])).mean())


def fit_als(trial: Trial) -> Scorer:
    """Factors of implicit feedback by alternating least squares (Hu, Koren and Volinsky 2008)."""
    from lenskit.als import ImplicitMFScorer

    return _by_history(ImplicitMFScorer(embedding_size=FACTORS), trial)


LENSKIT_MODELS: Mapping[str, Callable[[Trial], Scorer]] = {
    "popularity": fit_popularity,
    "item-knn": fit_item_knn,
    "ease": fit_ease,
    "als": fit_als,
}


def _by_history(model: Any, trial: Trial) -> Scorer:
    from lenskit.data import ItemList, RecQuery

    _trained(model, trial)
    catalogue = _catalogue(trial)

    def scores(user: int) -> Floats:
        query = RecQuery(user_id=int(trial.asked_as[user]), history_items=ItemList(item_ids=trial.liked[user]))
        return _scores(model(query, catalogue))

    return Scorer(scores)


def _trained(model: Any, trial: Trial) -> Any:
    import pyarrow as pa
    from lenskit.data import DatasetBuilder
    from lenskit.training import TrainingOptions

    builder = DatasetBuilder("training")
    # Every item of the catalogue under its place, so that the model's numbers are the trial's.
    builder.add_entities("item", np.arange(len(trial.items)))
    builder.add_entities("user", np.unique(trial.pairs[:, 0]))
    table = pa.table({"user_id": trial.pairs[:, 0], "item_id": trial.pairs[:, 1]})
    builder.add_interactions("like", table, entities=["user", "item"], default=True)
    model.train(builder.build(), TrainingOptions(rng=trial.seed))
    return model


def _catalogue(trial: Trial) -> Any:
    from lenskit.data import ItemList

    return ItemList(item_ids=np.arange(len(trial.items)))


def _scores(answer: Any) -> Floats:
    return np.asarray(answer.scores(), dtype=np.float64)
