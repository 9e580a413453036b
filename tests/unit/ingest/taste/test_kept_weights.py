"""Which item-item weights are kept: by each rule the same as by sorting all of them, however they are cut into blocks."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from ingest.settings import KeepRule
from ingest.taste.interactions import Popularity
from ingest.taste.keeping import Keep, kept

RULES = get_args(KeepRule)


def weights_of(seed, n):
    """`(n, n)` weights of which no two are of one size, and how popular the items are."""
    rng = np.random.default_rng(seed)
    weights = (rng.permutation(n * n) + 1.0) * rng.choice([-1, 1], n * n) / (n * n)
    weights = weights.reshape(n, n).astype(np.float32)
    np.fill_diagonal(weights, 0)
    return weights, Popularity(rng.exponential(size=n), 1.0)


def in_blocks(weights, size):
    return [weights[start : start + size] for start in range(0, len(weights), size)]


def backwards(rows):
    """The same as sparse rows, each stored from its last column to its first, as a product of matrices may be."""
    found = sparse.csr_array(rows[:, ::-1])
    return sparse.csr_array((found.data, rows.shape[1] - 1 - found.indices, found.indptr), shape=rows.shape)


def largest(sizes, most):
    """Where the largest of all these sizes are."""
    chosen = np.zeros(sizes.size, np.bool_)
    chosen[np.argsort(-sizes, axis=None)[:most]] = True
    return chosen.reshape(sizes.shape)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 50), st.integers(1, 40))
def test_each_item_keeps_its_strongest_or_its_strongest_by_use(seed, n, k, block):
    weights, popular = weights_of(seed, n)
    use = np.sqrt(1 + popular.relative).astype(np.float32)
    for rule, sizes in (("strongest", np.abs(weights)), ("most_used", np.abs(weights) * use)):
        (found,) = kept(in_blocks(weights, block), [Keep(k, rule)], popular)
        chosen = np.array([largest(row, k) for row in sizes])
        np.testing.assert_array_equal(found.toarray(), np.where(chosen, weights, 0))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 50), st.integers(1, 40))
def test_shared_are_the_largest_of_all_beside_ten_of_each_item(seed, n, k, block):
    weights, popular = weights_of(seed, n)
    use = np.sqrt(1 + popular.relative).astype(np.float32)
    sizes = np.abs(weights) * use * use[:, np.newaxis]
    (found,) = kept(in_blocks(weights, block), [Keep(k, "shared")], popular)
    own = np.array([largest(row, min(10, k)) for row in sizes]) & (sizes > 0)
    most = np.array([largest(row, Keep(k, "shared").most) for row in sizes])
    chosen = largest(np.where(own, np.inf, np.where(most, sizes, 0)), n * k)
    np.testing.assert_array_equal(found.toarray(), np.where(chosen, weights, 0))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 30), st.integers(1, 40), st.floats(0, 1))
def test_of_sparse_rows_the_same_is_kept(seed, n, k, block, density):
    weights, popular = weights_of(seed, n)
    weights *= np.random.default_rng(seed).random((n, n)) < density
    keeps = [Keep(k, rule) for rule in RULES] + [Keep(k + 5)]
    unsorted = [backwards(rows) for rows in in_blocks(weights, block)]
    for found, expected in zip(
        kept(unsorted, keeps, popular), kept(in_blocks(weights, block), keeps, popular), strict=True
    ):
        np.testing.assert_array_equal(found.toarray(), expected.toarray())
        assert found.has_sorted_indices


def test_of_equals_no_more_are_shared_than_there_is_room_for():
    level = np.ones((60, 60), np.float32)
    np.fill_diagonal(level, 0)
    (found,) = kept(in_blocks(level, 7), [Keep(12, "shared")], Popularity(np.ones(60), 1.0))
    assert found.nnz == 60 * 12
    assert np.diff(found.indptr).min() >= 10


def test_what_items_without_weights_leave_is_shared_by_the_others():
    weights, popular = weights_of(4, 100)
    weights[20:] = 0
    (found,) = kept([weights], [Keep(15, "shared")], popular)
    assert found.nnz == 100 * 15


def test_an_item_keeps_a_thousand_at_most_unless_all_keep_more():
    assert [Keep(k, "shared").most for k in (3, 50, 100, 200, 1_000)] == [30, 500, 1_000, 1_000, 1_000]
    assert Keep(7).most == Keep(7, "most_used").most == 7


@pytest.mark.parametrize("rule", RULES)
def test_places_take_four_bytes(rule):
    weights, popular = weights_of(1, 20)
    (found,) = kept([weights], [Keep(4, rule)], popular)
    assert found.indices.dtype == np.int32
    assert found.data.dtype == np.float32
    assert found.has_sorted_indices


@pytest.mark.parametrize("rule", RULES)
def test_several_are_kept_at_once_as_they_are_alone(rule):
    weights, popular = weights_of(7, 30)
    together = kept(in_blocks(weights, 8), [Keep(5, one) for one in RULES], popular)[RULES.index(rule)]
    (alone,) = kept([weights], [Keep(5, rule)], popular)
    np.testing.assert_array_equal(together.toarray(), alone.toarray())


def test_popular_items_keep_more_of_what_is_shared_and_none_keeps_hundreds():
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(200, 200)).astype(np.float32)
    np.fill_diagonal(weights, 0)
    relative = np.zeros(200)
    relative[:4] = 1e6
    (found,) = kept([weights], [Keep(15, "shared")], Popularity(relative, 1.0))
    each = np.diff(found.indptr)
    assert found.nnz == 200 * 15
    assert each[:4].tolist() == [150] * 4
    assert each[4:].min() >= 10


def test_what_is_nothing_is_not_kept():
    nothing = np.zeros((6, 6), np.float32)
    for found in kept([nothing], [Keep(3, rule) for rule in RULES], Popularity(np.zeros(6), 1.0)):
        assert found.shape == (6, 6)
        assert not found.nnz
