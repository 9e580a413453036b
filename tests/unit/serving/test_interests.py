"""Which items of a history stand for it."""

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.scoring import nearness
from serving.interests import MOST, exemplars


def history(h, seed, *, d=6):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(h, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), rng.normal(size=h)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_exemplars_are_different_liked_items_and_not_too_many(h, seed):
    vectors, weights = history(h, seed)
    found = exemplars(vectors, weights)
    assert len(found) == len(set(found)) <= MOST
    assert all(weights[row] > 0 for row in found)
    assert bool(found) is bool((weights > 0).any())
    assert found == exemplars(vectors, weights)


@given(st.integers(2, 9), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_the_first_of_them_cover_at_least_63_per_cent_of_what_as_many_items_can(h, k, seed):
    vectors, weights = history(h, seed, d=3)
    weights = np.abs(weights)
    near = nearness(vectors, vectors)

    def covered(rows):
        return float(weights @ near[:, list(rows)].max(axis=1))

    found = exemplars(vectors, weights)[:k]
    best = max(covered(rows) for rows in combinations(range(h), min(k, h)))
    assert covered(found) >= (1 - 1 / np.e) * best - 1e-6


def test_every_item_of_a_short_history_stands_for_itself():
    assert sorted(exemplars(np.eye(7, dtype=np.float32), np.ones(7))) == list(range(7))


def test_two_tastes_are_two_exemplars_the_stronger_first():
    vectors = np.repeat(np.eye(2, dtype=np.float32), [2, 4], axis=0)
    found = exemplars(vectors, np.ones(6))
    assert [int(np.argmax(vectors[row])) for row in found] == [1, 0]


def test_equal_items_need_one_exemplar():
    assert len(exemplars(np.repeat(np.eye(1, 3, dtype=np.float32), 9, axis=0), np.ones(9))) == 1
