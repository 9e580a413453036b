"""Each baseline ranks as its method says, on a catalogue small enough to see it."""

import numpy as np
import pytest

from serving.evaluate.baselines import RECENT, available, fit_recent, missing_libraries, too_large_for_ease
from serving.evaluate.lenskit_models import climbed
from serving.evaluate.split import split_events
from serving.evaluate.trial import make_trial
from tests.unit.serving.evaluate.examples import SETTINGS, likes, small_trial

TEXTS = {"i4": "river stone", "i0": "river bird", "i1": "stone", "i2": "river", "i3": "bird stone river"}


def texts_of(trial):
    return [TEXTS.get(item_id, "elsewhere") for item_id in trial.items]


def fits(trial):
    vectors = np.eye(10, dtype=np.float32)
    return available(trial, texts_of(trial), lambda: vectors, SETTINGS)


def test_the_plain_mean_is_the_cosine_with_the_mean_of_what_was_liked():
    trial = small_trial()
    scores = fits(trial)["plain-mean"]().scores(0)
    assert np.flatnonzero(scores).tolist() == sorted(trial.liked[0].tolist())


def test_the_ridge_of_ease_goes_where_it_gains_most():
    hill = [0.1, 0.2, 0.4, 0.3, 0.9]
    assert climbed(hill.__getitem__, 3, 5) == 4
    assert climbed(hill.__getitem__, 1, 5) == 2
    assert climbed([0.3, 0.2, 0.1].__getitem__, 2, 3) == 0


@pytest.mark.filterwarnings("default")
def test_the_ridge_of_ease_is_tuned_without_what_the_trial_holds_out():
    pytest.importorskip("lenskit")
    from serving.evaluate.lenskit_models import fit_ease

    given = [one for user in range(12) for one in likes(f"u{user}", *(f"i{(user + step) % 9}" for step in range(8)))]
    items = [f"i{number}" for number in range(10)]
    trial = make_trial(split_events(given, items, SETTINGS), items, users=None, seed=1)
    assert "validation cut" in fit_ease(trial).note


def test_recent_popularity_forgets_what_is_older_than_its_window():
    trial = small_trial(timed=True)
    scores = fit_recent(trial, days=1.5).scores(0)
    # The last two days of training: i5 and i6 by dan, and i5 by cem.
    assert {trial.items[place]: scores[place] for place in np.flatnonzero(scores)} == {"i5": 2, "i6": 1}


def test_recent_popularity_needs_times():
    trial = small_trial()
    assert RECENT not in fits(trial)
    timed = small_trial(timed=True)
    assert RECENT in fits(timed)


def test_words_shared_with_the_history_raise_a_text():
    pytest.importorskip("bm25s")
    trial = small_trial()
    scores = fits(trial)["bm25"]().scores(trial.users.index("ann"))
    assert scores[trial.place["i4"]] > scores[trial.place["i8"]]


@pytest.mark.filterwarnings("default")  # what torch and pandas warn of is theirs
@pytest.mark.parametrize("name", ["popularity", "item-knn", "ease", "als"])
def test_a_model_scores_every_item_or_says_that_it_cannot(name):
    pytest.importorskip("lenskit")
    trial = small_trial()
    scores = fits(trial)[name]().scores(0)
    assert scores.shape == (10,)
    assert np.isfinite(scores[trial.place["i3"]])


def test_ease_is_left_out_where_its_matrix_would_be_too_large():
    pytest.importorskip("lenskit")
    trial = small_trial()
    vectors = np.eye(10, dtype=np.float32)
    for most, there in ((10, True), (9, False)):
        limited = SETTINGS.model_copy(update={"taste_dense_items": most})
        found = available(trial, texts_of(trial), lambda: vectors, limited)
        assert ("ease" in found) == there
        assert "item-knn" in found
        assert bool(too_large_for_ease(10, limited)) != there
    assert "160.0 GB of memory for 100,000 items" in too_large_for_ease(100_000, SETTINGS)


@pytest.mark.filterwarnings("default")
def test_popularity_counts_who_liked_an_item():
    pytest.importorskip("lenskit")
    trial = small_trial()
    scores = fits(trial)["popularity"]().scores(0)
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
    fitted = fit_ease(trial)
    assert "regularization 200" in fitted.note
    assert fitted.scores(1) == pytest.approx(theirs, abs=1e-6)


def test_libraries_that_are_not_there_are_named():
    assert set(missing_libraries()) <= {"lenskit", "bm25s"}
