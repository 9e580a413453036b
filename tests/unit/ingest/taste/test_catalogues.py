"""What a training learns holds up on catalogues of several kinds, beside EASE at its best ridge and popularity."""

import numpy as np
import pytest

from ingest.scoring import BlendWeights
from ingest.settings import Settings
from ingest.taste.blending import Choice, blended, learn
from ingest.taste.cuts import SHARE, Cut
from ingest.taste.ease import ease
from ingest.taste.in_common import InCommon
from ingest.taste.interactions import collect
from ingest.taste.judge import HALF_LIVES, Judge
from ingest.taste.keeping import Keep
from ingest.taste.model import KEEPS, TasteModel, train
from ingest.taste.texts import Texts
from tests.catalogues import KINDS, drawn, times

SLACK = 0.9  # a few hundred users: a mean of theirs is known to some hundredths


def since_share(histories):
    ordered = times(histories)
    return ordered[int((1 - SHARE) * len(ordered))] if ordered else None


def mean_gain(judge, model, score):
    return float(np.mean([parts.gains(score(parts)[np.newaxis])[0] for parts in judge.parts(model)]))


def measured(name):
    """NDCG@10 of the blend as a training would learn it, of the best EASE of several ridges, and of popularity."""
    item_ids, text, histories = drawn(KINDS[name])
    settings = Settings()
    test = Cut(item_ids, max(times(histories), default=None), settings, since=since_share(histories), sample=1_000)
    known = [history for history in test.training(histories) if history]
    arguments = {"present": test.present, "since": since_share(known)}
    texts = Texts(text)
    found = learn(item_ids, texts, lambda: known, settings, **arguments)
    weights, keep, taste_fading = found or Choice(BlendWeights(), KEEPS[0])
    settings = settings.model_copy(update={"taste_fading": taste_fading})
    interactions = collect(item_ids, known, test.present, settings)
    judge = Judge(test, texts, settings)

    trained = train(interactions, texts, settings, [keep])[keep]
    blend = mean_gain(judge, trained, lambda parts: blended(parts, weights))

    lives = HALF_LIVES if test.present else (weights.half_life_days,)
    popular = max(mean_gain(judge, None, lambda parts, life=life: parts.prior(life)) for life in lives)
    likes = (interactions.matrix > 0).astype(np.float32)
    no_text = np.zeros((len(item_ids), 0), np.float32)
    best = 0.0
    for ridge in (1.0, 2.0, 3.0, 10.0):
        keep = [Keep(len(item_ids))]
        (incoming,) = ease(InCommon(matrix=likes), no_text, ridge=ridge, ridge_growth=0.0, text_share=0.0, keeps=keep)
        model = TasteModel(item_ids=tuple(item_ids), incoming=incoming)
        best = max(best, mean_gain(judge, model, lambda parts: parts.taste))
    return blend, best, popular


@pytest.mark.slow
@pytest.mark.parametrize("name", ["news", "small", "many kinds of events"])
def test_the_blend_holds_up_beside_ease_and_popularity(name):
    blend, best, popular = measured(name)
    assert blend >= SLACK * best
    assert blend >= SLACK * popular


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["shop", "dense", "sparse", "many users", "long histories", "no texts", "views only", "no times"]
)
def test_the_blend_is_not_below_the_best_ease(name):
    blend, best, popular = measured(name)
    assert blend >= best
    assert blend >= popular
