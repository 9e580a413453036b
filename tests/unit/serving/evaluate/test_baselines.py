"""Each baseline ranks as its method says, on a catalogue small enough to see it."""

import numpy as np
import pytest

from serving.evaluate.baselines import RECENT, available, fit_recent, missing_libraries
from tests.unit.serving.evaluate.examples import SETTINGS, small_trial

TEXTS = {"i4": "river stone", "i0": "river bird", "i1": "stone", "i2": "river", "i3": "bird stone river"}


def texts_of(trial):
    return [TEXTS.get(item_id, "elsewhere") for item_id in trial.items]


def test_recent_popularity_forgets_what_is_older_than_its_window():
    trial = small_trial(timed=True)
    scores = fit_recent(trial, days=1.5)(0)
    # The last two days of training: i5 and i6 by dan, and i5 by cem.
    assert {trial.items[place]: scores[place] for place in np.flatnonzero(scores)} == {"i5": 2, "i6": 1}


def test_recent_popularity_needs_times():
    trial = small_trial()
    assert RECENT not in available(trial, texts_of(trial), SETTINGS)
    timed = small_trial(timed=True)
    assert RECENT in available(timed, texts_of(timed), SETTINGS)


def test_words_shared_with_the_history_raise_a_text():
    pytest.importorskip("bm25s")
    trial = small_trial()
    scores = available(trial, texts_of(trial), SETTINGS)["bm25"]()(trial.users.index("ann"))
    assert scores[trial.place["i4"]] > scores[trial.place["i8"]]


@pytest.mark.filterwarnings("default")  # what torch and pandas warn of is theirs
@pytest.mark.parametrize("name", ["popularity", "item-knn", "ease", "als"])
def test_a_model_scores_every_item_or_says_that_it_cannot(name):
    pytest.importorskip("lenskit")
    trial = small_trial()
    scores = available(trial, texts_of(trial), SETTINGS)[name]()(0)
    assert scores.shape == (10,)
    assert np.isfinite(scores[trial.place["i3"]])


@pytest.mark.filterwarnings("default")
def test_popularity_counts_who_liked_an_item():
    pytest.importorskip("lenskit")
    trial = small_trial()
    scores = available(trial, texts_of(trial), SETTINGS)["popularity"]()(0)
    assert {item_id: scores[trial.place[item_id]] for item_id in ("i3", "i2", "i9")} == {"i3": 4, "i2": 3, "i9": 0}


@pytest.mark.filterwarnings("default")
def test_ease_scores_as_the_models_own_call_does():
    pytest.importorskip("lenskit")
    from lenskit.data import ItemList, RecQuery
    from lenskit.knn import EASEScorer

    from serving.evaluate.lenskit_models import EASE_REGULARIZATION, _trained, fit_ease

    trial = small_trial()
    model = _trained(EASEScorer(regularization=EASE_REGULARIZATION), trial)
    query = RecQuery(history_items=ItemList(item_ids=trial.liked[1]))
    theirs = model(query, ItemList(item_ids=np.arange(10))).scores()
    assert fit_ease(trial)(1) == pytest.approx(theirs, abs=1e-6)


def test_libraries_that_are_not_there_are_named():
    assert set(missing_libraries()) <= {"lenskit", "bm25s"}
