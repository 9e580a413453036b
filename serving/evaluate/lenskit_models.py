"""Popularity, item-kNN, EASE and ALS as LensKit has them, fitted to the positive training events.

Their settings are common ones and the same for every catalogue: nothing is tuned on what is held out.
"""

# ruff: noqa: PLC0415 - LensKit is an extra, and brings torch: only an evaluation imports it

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from serving.evaluate.metrics import Floats
from serving.evaluate.trial import Trial

NEIGHBOURS = 100
EASE_REGULARIZATION = 200.0
FACTORS = 64


def fit_popularity(trial: Trial) -> Callable[[int], Floats]:
    """How many users liked an item."""
    from lenskit.basic import PopScorer

    model = _trained(PopScorer(score="count"), trial)
    scores = _scores(model(items=_catalogue(trial)))
    return lambda _: scores


def fit_item_knn(trial: Trial) -> Callable[[int], Floats]:
    """Item-item cosine, summed over the nearest of the history (Deshpande and Karypis 2004)."""
    from lenskit.knn import ItemKNNScorer

    return _by_history(ItemKNNScorer(feedback="implicit", max_nbrs=NEIGHBOURS), trial)


def fit_ease(trial: Trial) -> Callable[[int], Floats]:
    """The linear autoencoder in closed form (Steck 2019). Holds `items x items` float32, twice while it is fitted."""
    from lenskit.knn import EASEScorer

    model = _trained(EASEScorer(regularization=EASE_REGULARIZATION), trial)
    weights = model.weights
    # What the model's own call computes, without reading all of its weights for each user.
    return lambda user: weights[trial.liked[user]].sum(axis=0, dtype=np.float64)


def fit_als(trial: Trial) -> Callable[[int], Floats]:
    """Factors of implicit feedback by alternating least squares (Hu, Koren and Volinsky 2008)."""
    from lenskit.als import ImplicitMFScorer

    return _by_history(ImplicitMFScorer(embedding_size=FACTORS), trial)


LENSKIT_MODELS: Mapping[str, Callable[[Trial], Callable[[int], Floats]]] = {
    "popularity": fit_popularity,
    "item-knn": fit_item_knn,
    "ease": fit_ease,
    "als": fit_als,
}


def _by_history(model: Any, trial: Trial) -> Callable[[int], Floats]:
    from lenskit.data import ItemList, RecQuery

    _trained(model, trial)
    catalogue = _catalogue(trial)

    def scores(user: int) -> Floats:
        query = RecQuery(user_id=int(trial.asked_as[user]), history_items=ItemList(item_ids=trial.liked[user]))
        return _scores(model(query, catalogue))

    return scores


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
