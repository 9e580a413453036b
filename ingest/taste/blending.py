"""How much text and recent popularity count beside taste, and beside text: learned on what users liked last.

A cut holds something out, weights are trained on the rest, and a grid of blends ranks the whole catalogue for a sample
of users; so do other choices of the weights that are kept. The present blend, and the fewest weights, stay unless
others are better by more than chance.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import product
from typing import NamedTuple

import numpy as np

from ingest.events import Event
from ingest.scoring import BlendWeights, Scores, all_fixed
from ingest.settings import Settings
from ingest.taste.choosing import FAIRLY_SURE, LEAST_SAMPLE, SURE, surely_best
from ingest.taste.cuts import Cut
from ingest.taste.fading import with_fadings
from ingest.taste.interactions import Interactions, collect
from ingest.taste.judge import Judge, Parts
from ingest.taste.keeping import Keep
from ingest.taste.model import TasteModel, keeps, train
from ingest.taste.texts import Texts

TEXT_WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
PRIOR_WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)

Score = Callable[[Parts, BlendWeights], Scores]
Sample = Mapping[Keep, Sequence[Parts]]  # what a cut's users are told, by which weights of an item are kept


class Choice(NamedTuple):
    """What a training found best: the weights of a blend, which item-item weights are kept, and `taste_fading`."""

    weights: BlendWeights
    keep: Keep
    taste_fading: float = 0.0


def learn(
    item_ids: Sequence[str],
    texts: Texts,
    histories: Callable[[], Iterable[Sequence[Event]]],
    settings: Settings,
    *,
    present: datetime | None,
    since: datetime | None,
) -> Choice | None:
    """Hold out each user's latest events, then everybody's `since` a time where all have one, and learn from both.

    The first says what somebody wants next, the second what everybody wants now. Where no event has a time, the order
    of a history may mean nothing, and the second is drawn by chance. None with too few users to tell.
    """
    cuts = [Cut(item_ids, present, settings)]
    if since is not None:
        cuts.append(Cut(item_ids, present, settings, since=since))
    elif present is None:
        cuts.append(Cut(item_ids, present, settings, by_chance=True))
    left = [(cut, left_by(cut, histories(), settings)) for cut in cuts]
    settings = with_fadings(left, texts, settings)
    choices = keeps(len(item_ids), settings)
    if all_fixed(settings) and len(choices) == 1:
        return Choice(BlendWeights().under(settings), choices[0], settings.taste_fading or 0.0)
    # What is drawn by chance lies in the middle of a history, and not behind what was met last.
    whole = settings.model_copy(update={"history_fading": 0.0})
    trained = [(cut, trained_on(interactions, texts, settings)) for cut, interactions in left]
    samples = [
        told(Judge(cut, texts, whole if cut.by_chance else settings), models, settings) for cut, models in trained
    ]
    return learn_blend(samples, settings, with_taste=any(models is not None for _, models in trained))


def left_by(cut: Cut, histories: Iterable[Sequence[Event]], settings: Settings) -> Interactions:
    """What a cut leaves to train on."""
    return collect(cut.item_ids, cut.training(histories), cut.present, settings)


def trained_on(interactions: Interactions, texts: Texts, settings: Settings) -> dict[Keep, TasteModel] | None:
    """What is learned of what a cut leaves, with whichever weights may be kept; None of too few events."""
    models = train(interactions, texts, settings, keeps(len(interactions.item_ids), settings))
    return models if isinstance(models, dict) else None


def told(judge: Judge, models: Mapping[Keep, TasteModel] | None, settings: Settings) -> dict[Keep, list[Parts]]:
    """What a cut's users are told with whichever weights may be kept."""
    if models is None:
        return {keeps(judge.items, settings)[0]: judge.parts(None)}
    return {keep: judge.parts(model) for keep, model in models.items()}


def learn_blend(samples: Sequence[Sample], settings: Settings, *, with_taste: bool) -> Choice | None:
    """What ranks best what several cuts hold out, each cut counting alike; None with too few users to tell.

    The weights of the blend are found with the first of what may be kept, and again where another is better with
    those. What the settings fix is not searched.
    """
    samples = [sample for sample in samples if len(next(iter(sample.values()))) >= LEAST_SAMPLE]
    if not samples:
        return None
    choices = [keep for keep in samples[0] if all(keep in sample for sample in samples)]
    weights = _weights([sample[choices[0]] for sample in samples], settings, with_taste=with_taste)
    gains = [np.transpose([_gains(sample[k], weights) for k in choices]) for sample in samples]
    # No choice is safer than another, but another one rewrites all weights.
    best = surely_best(gains, FAIRLY_SURE)
    if best > 0:
        weights = _weights([sample[choices[best]] for sample in samples], settings, with_taste=with_taste)
    return Choice(weights, choices[best], settings.taste_fading or 0.0)


def _gains(sample: Sequence[Parts], weights: BlendWeights) -> list[float]:
    return [float(parts.gains(blended(parts, weights)[np.newaxis])[0]) for parts in sample]


def _weights(samples: Sequence[Sequence[Parts]], settings: Settings, *, with_taste: bool) -> BlendWeights:
    """The weights of a blend that rank best what the cuts hold out.

    How quickly popularity fades the last cut alone says: in time, where there is one. What each user did last may be
    long ago, and popularity is counted as of now. Where trainings read no texts, nothing tells what they are worth,
    and the present weights stay.
    """
    chosen = BlendWeights().under(settings)
    told_of_text = any(parts.text.any() for sample in samples for parts in sample)
    if len(lives := sorted(samples[-1][0].priors)) > 1:
        chosen = replace(chosen, half_life_days=_half_life(samples[-1], lives, chosen, settings, with_taste=with_taste))
    if with_taste:
        texts = TEXT_WEIGHTS if settings.blend_text is None and told_of_text else (chosen.text,)
        priors = PRIOR_WEIGHTS if settings.blend_prior is None else (chosen.prior,)
        grid = [replace(chosen, text=a, prior=b) for a, b in product(texts, priors)]
        chosen = better(samples, chosen, grid, blended)
    priors = PRIOR_WEIGHTS if settings.interests_prior is None and told_of_text else (chosen.interests_prior,)
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
    """The best of what is better than the present weights by more than chance, else those; see `surely_best`."""
    tried = [present, *(weights for weights in grid if weights != present)]
    gains = [
        np.array([parts.gains(np.stack([score(parts, weights) for weights in tried])) for parts in sample])
        for sample in samples
    ]
    return tried[surely_best(gains, SURE)]
