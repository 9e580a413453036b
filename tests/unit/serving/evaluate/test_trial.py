"""The numbers behind an evaluation: places, draws and ties."""

import numpy as np

from serving.evaluate.metrics import EMPTY
from serving.evaluate.trial import best
from tests.unit.serving.evaluate.examples import small_trial

NOTHING = np.array([], dtype=np.int64)


def test_the_best_come_first_without_what_was_seen():
    assert best(np.array([0.1, 0.9, 0.5, 0.7]), np.array([1]), 2).tolist() == [3, 2]


def test_ties_go_to_the_earlier_place_at_the_end_of_the_list_too():
    assert best(np.array([1.0, 2.0, 1.0, 1.0, 2.0]), NOTHING, 3).tolist() == [1, 4, 0]


def test_what_has_no_score_is_not_ranked_and_leaves_an_empty_place():
    assert best(np.array([np.nan, 0.2, np.nan]), NOTHING, 3).tolist() == [1, EMPTY, EMPTY]


def test_a_trial_holds_everything_by_place():
    trial = small_trial()
    ann = trial.users.index("ann")
    assert {trial.items[place] for place in trial.seen[ann]} == {"i0", "i1", "i2", "i3"}
    assert [trial.items[place] for place in trial.relevant[ann]] == ["i4"]
    assert trial.events.tolist() == [4, 4, 4, 4]
    assert trial.audience[trial.place["i3"]] == 4
    assert trial.audience[trial.place["i9"]] == 0
    assert (trial.share > 0).all()
    assert len(trial.pairs) == 16


def test_equal_seeds_draw_the_same_users_and_order_and_others_do_not():
    assert small_trial(users=2).users == small_trial(users=2).users
    assert small_trial().items == small_trial().items != small_trial(seed=2).items
    assert len(small_trial(users=2).relevant) == 2
