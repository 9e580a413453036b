"""From lists to measures, for everybody and for the slices."""

import math

import numpy as np
import pytest

from serving.evaluate.judge import LONGEST, Lists, asked_for_cold, judge, slice_descriptions, slice_members
from serving.evaluate.metrics import EMPTY
from tests.unit.serving.evaluate.examples import small_trial


def lists_of(trial, first):
    """Every user gets the items `first` says, and nothing more."""
    lists = np.full((len(trial.users), LONGEST), EMPTY, dtype=np.int64)
    for user in range(len(trial.users)):
        lists[user, : len(first(user))] = first(user)
    return lists


def judged(trial, first, cold=None):
    vectors = {place: np.eye(10, dtype=np.float32)[place] for place in range(10)}
    return judge("mean", Lists(whole=lists_of(trial, first), cold=cold), trial, vectors, is_akin=True)


def test_lists_that_begin_with_what_is_sought_are_perfect():
    trial = small_trial()
    found = judged(trial, lambda user: trial.relevant[user])
    assert {found.measures[name].mean for name in ("ndcg@10", "recall@20", "mrr@10")} == {1.0}
    assert found.coverage["coverage@10"] == pytest.approx(0.4)


def test_empty_lists_find_nothing_and_have_no_novelty():
    found = judged(small_trial(), lambda _: [])
    assert found.measures["ndcg@10"].mean == 0
    assert math.isnan(found.measures["novelty@10"].mean)
    assert math.isnan(found.measures["diversity@10"].high)


def test_orthogonal_items_are_as_diverse_as_can_be():
    assert judged(small_trial(), lambda _: [0, 1, 2]).measures["diversity@10"].mean == pytest.approx(1.0)


def test_only_items_without_an_event_count_among_the_cold():
    trial = small_trial()
    users, relevant = slice_members(trial)["cold items"]
    assert all((trial.audience[relevant[user]] == 0).all() for user in users)
    # dan's held-out item is i7, which nobody has met in training.
    assert [trial.users[user] for user in users] == ["dan"]


def test_cold_items_alone_are_judged_by_lists_of_their_own():
    trial = small_trial()
    assert [trial.users[user] for user in asked_for_cold(trial)] == ["dan"]
    cold = lists_of(trial, lambda user: trial.relevant[user])
    found = judged(trial, lambda _: [], cold).slices["cold items alone"]
    assert (found.users, found.measures["ndcg@10"].mean) == (1, 1.0)
    assert judged(trial, lambda _: []).slices["cold items alone"].users == 0


def test_every_user_has_either_a_short_or_a_long_history():
    trial = small_trial()
    members = slice_members(trial)
    assert len(members["short histories"][0]) + len(members["long histories"][0]) == len(trial.users)
    assert len(members["cold users"][0]) == 4
    assert slice_descriptions(trial).keys() == members.keys()


def test_a_slice_without_users_is_measured_as_unknown():
    found = judged(small_trial(), lambda _: [0])
    assert found.slices["long histories"].users == 0
    assert math.isnan(found.slices["long histories"].measures["ndcg@10"].mean)
