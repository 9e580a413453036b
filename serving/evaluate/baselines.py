"""What every strategy has to beat: a name and how to fit it. The models of LensKit and bm25s are an extra."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from importlib.util import find_spec

import numpy as np

from ingest.encoder.protocol import Vectors
from ingest.settings import Settings
from serving.evaluate.lenskit_models import LENSKIT_MODELS
from serving.evaluate.metrics import Floats
from serving.evaluate.text_match import fit_bm25
from serving.evaluate.trial import Scorer, Trial

Fit = Callable[[], Scorer]

RECENT = "popularity-recent"
BM25 = "bm25"
PLAIN_MEAN = "plain-mean"
EASE = "ease"
_EASE_BYTES = 16  # for each two items, measured while LensKit's is fitted


def available(
    trial: Trial, texts: Sequence[str], vectors: Callable[[], Vectors], settings: Settings
) -> Mapping[str, Fit]:
    """The baselines that can be fitted here, unfitted; by item, `texts` are what is embedded, and `vectors` as what.

    Recent popularity needs times; models whose library is not installed are left out, see `missing_libraries`, and so
    is EASE of too many items, see `too_large_for_ease`.
    """
    found: dict[str, Fit] = {PLAIN_MEAN: lambda: fit_plain_mean(trial, vectors())}
    if any(event.timestamp is not None for event in trial.positives):
        found[RECENT] = lambda: fit_recent(trial, settings.popularity_days)
    if find_spec("lenskit") is not None:
        found |= {name: partial(fit, trial) for name, fit in LENSKIT_MODELS.items()}
    if find_spec("bm25s") is not None:
        found[BM25] = lambda: fit_bm25(trial, texts)
    if too_large_for_ease(len(trial.items), settings):
        found.pop(EASE, None)
    return found


def possible() -> list[str]:
    """The names that `available` may give with the libraries that are installed."""
    names = [PLAIN_MEAN, RECENT]
    if find_spec("lenskit") is not None:
        names += LENSKIT_MODELS
    return [*names, BM25] if find_spec("bm25s") is not None else names


def missing_libraries() -> list[str]:
    """Which libraries of the extra `evaluate` are not installed."""
    return [name for name in ("lenskit", "bm25s") if find_spec(name) is None]


def too_large_for_ease(items: int, settings: Settings) -> str:
    """Why there is no EASE of so many items; "" where there is, and where its library is missing anyway."""
    if items <= settings.taste_dense_items or find_spec("lenskit") is None:
        return ""
    return (
        f"ease would take {_EASE_BYTES * items**2 / 1e9:,.1f} GB of memory for {items:,} items, which are more than "
        f"AKIN_TASTE_DENSE_ITEMS ({settings.taste_dense_items:,})"
    )


def fit_recent(trial: Trial, days: float) -> Scorer:
    """Popularity by the positive events of the `days` days before the newest."""
    times = [event.timestamp for event in trial.positives if event.timestamp is not None]
    since = max(times) - timedelta(days=days)
    place = trial.place
    recent = {
        (event.user_id, place[event.item_id])
        for event in trial.positives
        if event.timestamp is not None and event.timestamp >= since
    }
    counts = np.bincount(np.array([item for _, item in recent]), minlength=len(trial.items)).astype(np.float64)
    return Scorer(lambda _: counts)


def fit_plain_mean(trial: Trial, vectors: Vectors) -> Scorer:
    """The cosine with the mean of the liked items' vectors, as the encoder gives them: the simplest thing."""

    def scores(user: int) -> Floats:
        liked = trial.liked[user]
        mean = vectors[liked].mean(axis=0) if len(liked) else np.zeros(vectors.shape[1])
        return np.asarray(vectors @ mean, dtype=np.float64)

    return Scorer(scores)
