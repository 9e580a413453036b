"""How much text and recent popularity count beside taste, and beside text: learned on what users liked last.

A cut holds something out, weights are trained on the rest, and a grid of blends ranks the whole catalogue for a sample
of users. The present weights stay unless others are better by more than chance.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import product

import numpy as np

from ingest.events import Event
from ingest.scoring import BlendWeights, Scores
from ingest.settings import Settings
from ingest.taste.cuts import Cut
from ingest.taste.interactions import collect
from ingest.taste.judge import Judge, Parts
from ingest.taste.model import TasteModel, train
from ingest.taste.texts import Texts

TEXT_WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
PRIOR_WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
LEAST_SAMPLE = 50
SURE = 2.0  # standard errors: the best of many pairs is better than the present one by luck, too

Score = Callable[[Parts, BlendWeights], Scores]


def learn(
    item_ids: Sequence[str],
    texts: Texts,
    histories: Callable[[], Iterable[Sequence[Event]]],
    settings: Settings,
    *,
    present: datetime | None,
    since: datetime | None,
) -> BlendWeights | None:
    """Hold out each user's latest events, then everybody's `since` a time where all have one, and learn from both.

    The first says what somebody wants next, the second what everybody wants now. None with too few users to tell.
    """
    cuts = [Cut(item_ids, present, settings)]
    if since is not None:
        cuts.append(Cut(item_ids, present, settings, since=since))
    samples, with_taste = [], False
    for cut in cuts:
        trained = train(collect(item_ids, cut.training(histories()), cut.present, settings), texts, settings)
        model = trained if isinstance(trained, TasteModel) else None
        with_taste |= model is not None
        samples.append(Judge(cut, texts, settings).parts(model))
    return learn_blend(samples, settings, with_taste=with_taste)


def learn_blend(samples: Sequence[Sequence[Parts]], settings: Settings, *, with_taste: bool) -> BlendWeights | None:
    """The weights that rank best what several cuts hold out, each cut counting alike; None with too few users to tell.

    How quickly popularity fades the last cut alone says: in time, where there is one. What each user did last may be
    long ago, and popularity is counted as of now. What the settings fix is not searched.
    """
    samples = [sample for sample in samples if len(sample) >= LEAST_SAMPLE]
    if not samples:
        return None
    chosen = BlendWeights().under(settings)
    if len(lives := sorted(samples[-1][0].priors)) > 1:
        chosen = replace(chosen, half_life_days=_half_life(samples[-1], lives, chosen, settings, with_taste=with_taste))
    if with_taste:
        texts = TEXT_WEIGHTS if settings.blend_text is None else (chosen.text,)
        priors = PRIOR_WEIGHTS if settings.blend_prior is None else (chosen.prior,)
        grid = [replace(chosen, text=a, prior=b) for a, b in product(texts, priors)]
        chosen = better(samples, chosen, grid, blended)
    priors = PRIOR_WEIGHTS if settings.interests_prior is None else (chosen.interests_prior,)
    return better(samples, chosen, [replace(chosen, interests_prior=b) for b in priors], by_interests)


def _half_life(
    sample: Sequence[Parts], lives: Sequence[float], present: BlendWeights, settings: Settings, *, with_taste: bool
) -> float:
    """The half-life that ranks best with the weight of popularity that suits it."""
    if with_taste:
        priors = PRIOR_WEIGHTS if settings.blend_prior is None else (present.prior,)
        grid = [replace(present, prior=b, half_life_days=life) for b, life in product(priors, lives)]
        return better([sample], present, grid, blended).half_life_days
    priors = PRIOR_WEIGHTS if settings.interests_prior is None else (present.interests_prior,)
    grid = [replace(present, interests_prior=b, half_life_days=life) for b, life in product(priors, lives)]
    return better([sample], present, grid, by_interests).half_life_days


def blended(parts: Parts, weights: BlendWeights) -> Scores:
    """The score of `blend`."""
    return parts.taste + weights.text * parts.text + weights.prior * parts.prior(weights.half_life_days)


def by_interests(parts: Parts, weights: BlendWeights) -> Scores:
    """The score of `interests`."""
    return parts.text + weights.interests_prior * parts.prior(weights.half_life_days)


def better(
    samples: Sequence[Sequence[Parts]], present: BlendWeights, grid: Sequence[BlendWeights], score: Score
) -> BlendWeights:
    """The best of what is better than the present weights by more than chance, else those.

    Best is the harmonic mean over the cuts: what answers one question well and the other badly is not chosen for it.
    """
    tried = [present, *(weights for weights in grid if weights != present)]
    means, ahead, errors = [], np.zeros(len(tried)), np.zeros(len(tried))
    for sample in samples:
        gains = np.array([parts.gains(np.stack([score(parts, weights) for weights in tried])) for parts in sample])
        # In units of the best mean, so that the cut that is harder to guess counts as much as the other.
        gains /= max(float(gains.mean(axis=0).max()), 1e-12)
        means.append(gains.mean(axis=0))
        more = gains - gains[:, :1]
        ahead += more.mean(axis=0) / len(samples)
        errors += more.var(axis=0, ddof=1) / len(more) / len(samples) ** 2
    sure = ahead > SURE * np.sqrt(errors)
    sure[0] = True
    return tried[int(np.argmin(np.where(sure, np.sum(1.0 / np.maximum(means, 1e-12), axis=0), np.inf)))]
