"""Which items of a history stand for its interests."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.interests import MOST, medoids


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_interests_are_different_liked_items_and_at_most_five(h, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(h, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    weights = rng.normal(size=h)
    found = medoids(vectors, weights)
    assert len(found) == len(set(found)) <= MOST
    assert all(weights[row] > 0 for row in found)
    assert bool(found) is bool((weights > 0).any())
    assert found == medoids(vectors, weights)


def test_two_tastes_are_two_interests_the_stronger_first():
    vectors = np.repeat(np.eye(2, dtype=np.float32), [2, 4], axis=0)
    found = medoids(vectors, np.ones(6))
    assert [int(np.argmax(vectors[row])) for row in found] == [1, 0]


def test_equal_items_are_one_interest():
    assert len(medoids(np.repeat(np.eye(1, 3, dtype=np.float32), 9, axis=0), np.ones(9))) == 1
