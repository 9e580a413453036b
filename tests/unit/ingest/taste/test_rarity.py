"""What is like everything counts less, and what stands apart counts more."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.taste.rarity import EXPONENT, NEIGHBOURS, rarities


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def slowly(vectors):
    crowding = []
    for row, vector in enumerate(vectors):
        others = np.sort(np.delete(vectors, row, axis=0) @ vector)[::-1]
        crowding.append(max(others[:NEIGHBOURS].mean(), 0.05))
    return (np.median(crowding) / np.array(crowding)) ** EXPONENT


@given(st.integers(2, 70), st.integers(0, 2**32 - 1))
def test_it_is_what_the_definition_says_also_across_blocks(n, seed):
    vectors = unit(np.random.default_rng(seed).normal(size=(n, 5)) + 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingest.taste.rarity._BLOCK", 17)
        assert rarities(vectors) == pytest.approx(slowly(vectors), rel=1e-3)


def test_an_item_in_a_crowd_counts_less_than_one_that_stands_apart():
    rng = np.random.default_rng(1)
    crowd = np.eye(8)[0] + 0.1 * rng.normal(size=(60, 8))
    apart = rng.normal(size=(60, 8))
    found = rarities(unit(np.vstack([crowd, apart])))
    assert found[:60].max() < found[60:].min()


def test_items_without_a_vector_are_neither_counted_nor_changed():
    vectors = unit(np.random.default_rng(2).normal(size=(40, 6)))
    with_gaps = np.zeros((50, 6), np.float32)
    with_gaps[:40] = vectors
    found = rarities(with_gaps)
    assert found[:40] == pytest.approx(rarities(vectors))
    assert (found[40:] == 1).all()


@pytest.mark.parametrize("vectors", [np.zeros((0, 4)), np.zeros((3, 0)), np.zeros((3, 4)), np.eye(1, 4)])
def test_without_others_to_compare_with_everything_counts_alike(vectors):
    assert (rarities(vectors.astype(np.float32)) == 1).all()
