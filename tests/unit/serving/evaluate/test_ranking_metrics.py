"""The measures by values computed by hand, and by properties that hold for any lists."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.evaluate.metrics import EMPTY, bootstrap, coverage, diversity, ndcg, novelty, recall, reciprocal_rank

any_hits = st.integers(1, 12).flatmap(lambda k: arrays.arrays(np.bool_, (5, k)))


def hits(*places, k=10):
    """One list with hits at those places, from 1."""
    return np.array([[place in places for place in range(1, k + 1)]])


def test_ndcg_of_hits_at_two_and_five_of_three_relevant_items_is_as_on_paper():
    found = 1 / math.log2(3) + 1 / math.log2(6)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(hits(2, 5), np.array([3])) == pytest.approx([found / ideal])


def test_the_ideal_list_is_no_longer_than_the_cutoff():
    assert ndcg(hits(1, 2, k=2), np.array([50])) == pytest.approx([1.0])


def test_recall_is_the_share_of_all_that_is_relevant():
    assert recall(hits(1, 7), np.array([8])) == pytest.approx([0.25])


def test_the_reciprocal_rank_is_that_of_the_first_hit():
    assert reciprocal_rank(hits(4, 5)) == pytest.approx([0.25])
    assert reciprocal_rank(hits()) == pytest.approx([0.0])


def test_lists_without_places_measure_zero():
    nothing = np.zeros((2, 0), dtype=bool)
    assert ndcg(nothing, np.array([1, 2])).tolist() == [0, 0]
    assert reciprocal_rank(nothing).tolist() == [0, 0]


@given(any_hits, st.integers(0, 5))
def test_every_measure_lies_between_zero_and_one_and_is_one_for_a_perfect_list(lists, more):
    relevant = lists.sum(axis=1) + more
    for values in (ndcg(lists, relevant), recall(lists, relevant), reciprocal_rank(lists)):
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()
    perfect = np.ones_like(lists)
    assert ndcg(perfect, perfect.sum(axis=1)) == pytest.approx(np.ones(5))


@given(any_hits)
def test_a_hit_further_up_is_never_worse(lists):
    better = np.sort(lists, axis=1)[:, ::-1]
    relevant = np.maximum(lists.sum(axis=1), 1)
    assert (ndcg(better, relevant) >= ndcg(lists, relevant) - 1e-12).all()
    assert (reciprocal_rank(better) >= reciprocal_rank(lists)).all()


def test_coverage_counts_items_once_and_no_empty_place():
    assert coverage(np.array([[0, 1, EMPTY], [1, 3, EMPTY]]), items=10) == pytest.approx(0.3)


def test_novelty_is_the_mean_surprise_in_bits():
    share = np.array([0.5, 0.125])
    values = novelty(np.array([[0, 1, EMPTY], [EMPTY, EMPTY, EMPTY]]), share)
    assert values[0] == pytest.approx((1 + 3) / 2)
    assert math.isnan(values[1])


def test_diversity_is_one_less_the_mean_cosine_of_all_pairs():
    x, y = np.array([1.0, 0.0], dtype=np.float32), np.array([0.0, 1.0], dtype=np.float32)
    assert diversity([x, x]) == pytest.approx(0.0)
    assert diversity([x, y]) == pytest.approx(1.0)
    assert diversity([x, x, y]) == pytest.approx(1 - (1 + 0 + 0) / 3)
    assert math.isnan(diversity([x]))


def test_intervals_hold_the_mean_and_come_out_alike_for_equal_seeds():
    values = np.random.default_rng(3).random((200, 2))
    low, high = bootstrap(values, seed=5)
    assert ((low < values.mean(axis=0)) & (values.mean(axis=0) < high)).all()
    assert np.array_equal(bootstrap(values, seed=5), (low, high))
    # The normal interval, which the bootstrap nears for so many users.
    half = 1.96 * values.std(axis=0) / math.sqrt(200)
    assert high - low == pytest.approx(2 * half, rel=0.15)


def test_users_without_a_value_take_no_part_in_an_interval():
    values = np.array([[0.25], [np.nan], [0.25], [np.nan]])
    low, high = bootstrap(values, seed=1, resamples=50)
    assert (low[0], high[0]) == (0.25, 0.25)
