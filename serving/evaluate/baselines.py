"""What every strategy has to beat: a name and how to fit it. The models of LensKit and bm25s are an extra."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec

import numpy as np

from ingest.settings import Settings
from serving.evaluate.lenskit_models import LENSKIT_MODELS
from serving.evaluate.metrics import Floats
from serving.evaluate.text_match import fit_bm25
from serving.evaluate.trial import Trial

Scorer = Callable[[int], Floats]  # from an asked user's place to a score for every item; NaN: it cannot tell
Fit = Callable[[], Scorer]

RECENT = "popularity-recent"
BM25 = "bm25"


def available(trial: Trial, texts: Sequence[str], settings: Settings) -> Mapping[str, Fit]:
    """The baselines that can be fitted here, unfitted; `texts` are what is embedded, by item.

    Recent popularity needs times; models whose library is not installed are left out, see `missing_libraries`.
    """
    found: dict[str, Fit] = {}
    if any(event.timestamp is not None for event in trial.positives):
        found[RECENT] = lambda: fit_recent(trial, settings.popularity_days)
    if find_spec("lenskit") is not None:
        found |= {name: _bind(fit, trial) for name, fit in LENSKIT_MODELS.items()}
    if find_spec("bm25s") is not None:
        found[BM25] = lambda: fit_bm25(trial, texts)
    return found


def missing_libraries() -> list[str]:
    """Which libraries of the extra `evaluate` are not installed."""
    return [name for name in ("lenskit", "bm25s") if find_spec(name) is None]


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
    return lambda _: counts


def _bind(fit: Callable[[Trial], Scorer], trial: Trial) -> Fit:
    return lambda: fit(trial)
