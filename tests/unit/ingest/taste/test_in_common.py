"""What items have in common, against the sum over all pairs as it is written down."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from ingest.taste import in_common
from ingest.taste.in_common import InCommon


def histories(seed, users, items, density=0.4):
    rng = np.random.default_rng(seed)
    matrix = sparse.csr_array(sparse.random_array((users, items), density=density, rng=rng, dtype=np.float32))
    return matrix, rng.integers(0, 50, matrix.nnz).astype(np.int32)


def written_down(matrix, places, fading):
    found = np.zeros((matrix.shape[1],) * 2)
    for user in range(matrix.shape[0]):
        own = slice(matrix.indptr[user], matrix.indptr[user + 1])
        for i, x, p in zip(matrix.indices[own], matrix.data[own], places[own], strict=True):
            for j, y, q in zip(matrix.indices[own], matrix.data[own], places[own], strict=True):
                found[i, j] += float(x) * float(y) / (1 + fading * abs(int(p) - int(q)))
    return found


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 10_000),
    users=st.integers(0, 12),
    items=st.integers(1, 10),
    fading=st.sampled_from([0.0, 0.03, 1.0, 1e60]),
    first=st.integers(0, 9),
    pairs=st.integers(1, 40),
)
def test_every_pair_counts_by_how_far_it_is_apart(seed, users, items, fading, first, pairs):
    matrix, places = histories(seed, users, items)
    first = min(first, items - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_common, "_PAIRS", pairs)
        common = InCommon(matrix=matrix, places=places, fading=fading)
        found, stored = common.rows(slice(first, items)), common.sparse_rows(slice(first, items))
    assert found.dtype == stored.dtype == np.float32
    expected = written_down(matrix, places, fading)[first:]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(stored.toarray(), expected, rtol=1e-4, atol=1e-5)
    assert stored.nnz <= np.count_nonzero(written_down(matrix != 0, places, 0.0)[first:]), "nothing else is stored"


@given(seed=st.integers(0, 10_000), users=st.integers(0, 12), items=st.integers(1, 10), most=st.integers(1, 200))
def test_blocks_hold_every_item_once_and_no_more_pairs_than_they_may_unless_alone(seed, users, items, most):
    matrix, _ = histories(seed, users, items)
    pairs = (matrix != 0).sum(axis=1) @ (matrix != 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_common, "_PAIRS", most)
        blocks = list(InCommon(matrix=matrix).blocks())
    assert np.concatenate([np.arange(items)[block] for block in blocks]).tolist() == list(range(items))
    assert all(pairs[block].sum() <= most or block.stop - block.start == 1 for block in blocks)


@pytest.mark.parametrize("fading", [0.01, 0.3, 5.0])
def test_what_fades_can_still_be_inverted(fading):
    matrix, places = histories(3, 40, 25)
    gram = InCommon(matrix=matrix, places=places, fading=fading).rows(slice(0, 25)).astype(np.float64)
    np.testing.assert_allclose(gram, gram.T, rtol=1e-4, atol=1e-5)
    assert np.linalg.eigvalsh(gram).min() > -1e-4
    np.testing.assert_allclose(np.diag(gram), matrix.power(2).sum(axis=0), rtol=1e-4)


def test_fading_wants_places():
    matrix, _ = histories(1, 5, 5)
    with pytest.raises(ValueError, match="places"):
        InCommon(matrix=matrix, fading=0.1).rows(slice(0, 5))
