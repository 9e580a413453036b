"""Item-item weights: the same by every way of computing them, stronger for what is liked together, never for itself."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from ingest.events import Event
from ingest.settings import Settings
from ingest.taste.ease import ease
from ingest.taste.interactions import Interactions, collect
from ingest.taste.model import NEIGHBOURS, TasteModel, TooFewEvents, neighbours, ridge_for, train
from ingest.taste.neighbours import cosine_neighbours
from ingest.taste.strongest import kept, strongest
from ingest.taste.texts import Texts, centred_rows

SETTINGS = Settings(taste_least_users=1)
NEWEST = datetime(2024, 5, 1, tzinfo=UTC)


def event(user, item_id, type_="like", *, days_ago=0.0, value=None):
    timestamp = NEWEST - timedelta(days=days_ago)
    return Event(
        event_id=f"{user}{item_id}", user_id=user, item_id=item_id, type=type_, value=value, timestamp=timestamp
    )


def random_matrix(users, items, seed=0, density=0.3):
    return sparse.csr_array(
        sparse.random_array((users, items), density=density, rng=np.random.default_rng(seed), dtype=np.float32)
    )


def random_text(items, dimensions=4, seed=1):
    vectors = np.random.default_rng(seed).normal(size=(items, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def dense(found, n):
    whole = np.zeros((len(found.weights), n), np.float32)
    np.put_along_axis(whole, found.indices.astype(np.int64), found.weights, axis=1)
    return whole


def reference_ease(matrix, text, ridge, growth, text_share):
    x = matrix.toarray().astype(np.float64)
    squares = (x**2).sum(axis=0)
    mean = squares.sum() / np.count_nonzero(squares)
    ridges = np.diag(ridge * (1 + squares / mean) ** growth)
    p = np.linalg.inv(x.T @ x + mean * (text_share * text @ text.T + ridges))
    b = np.eye(x.shape[1]) - p / np.diag(p)
    return b.T  # row i: what points at i


@pytest.mark.parametrize(("users", "items"), [(40, 12), (6, 40)], ids=["by items", "by users"])
@pytest.mark.parametrize("text_share", [0.0, 2.0])
@pytest.mark.parametrize("growth", [0.0, 0.7, 1.0])
def test_ease_is_the_closed_form_whichever_side_is_inverted(users, items, text_share, growth):
    matrix, text = random_matrix(users, items), random_text(items)
    found = ease(matrix, text, ridge=3.0, ridge_growth=growth, text_share=text_share, k=items)
    expected = reference_ease(matrix, text, 3.0, growth, text_share)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(dense(found, items), expected, atol=2e-5)


def test_only_the_strongest_weights_of_each_item_are_kept():
    rows = np.array([[0.1, -0.9, 0.3, 0.0], [0.2, 0.1, 0.0, 0.0]], np.float32)
    found = strongest(rows, 2)
    assert found.indices.tolist() == [[1, 2], [0, 1]]
    np.testing.assert_allclose(found.weights, [[-0.9, 0.3], [0.2, 0.1]], atol=1e-7)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_the_strongest_of_the_strongest_are_the_strongest(seed, k, fewer):
    rng = np.random.default_rng(seed)
    rows = (rng.permutation(np.arange(1, 41)) * rng.choice([-1, 1], 40)).reshape(4, 10).astype(np.float32)
    fewer = min(k, fewer)
    for found, expected in zip(kept(strongest(rows, k), fewer), strongest(rows, fewer), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_training_may_choose_how_many_weights_it_keeps_unless_told_or_too_large():
    assert neighbours(20_000, Settings()) == NEIGHBOURS
    assert neighbours(20_001, Settings()) == NEIGHBOURS[:1]
    assert neighbours(5, Settings(taste_neighbours=7)) == neighbours(20_001, Settings(taste_neighbours=7)) == (7,)


def test_the_ridge_is_smaller_the_more_users_there_are():
    four = Settings(taste_ridge=4.0)
    assert [ridge_for(users, four) for users in (1, 300)] == [4.0, 4.0]
    assert ridge_for(2_400, four) == pytest.approx(2.0)
    assert ridge_for(300_000, four) == pytest.approx(0.4)


@pytest.mark.parametrize("users", [200, 2_400])
def test_a_training_fits_weights_with_the_ridge_for_its_users(users):
    rng = np.random.default_rng(users)
    matrix = sparse.csr_array((rng.random((users, 30)) < 0.2).astype(np.float32))
    interactions = Interactions(item_ids=tuple(f"i{n}" for n in range(30)), matrix=matrix, events=matrix.nnz)
    plain, texts = Settings(taste_text_share=0.0), Texts(np.zeros((30, 0), np.float32))

    trained = train(interactions, texts, plain, k=29)

    ridge = ridge_for(users, plain)
    expected = ease(matrix, texts.vectors, ridge=ridge, ridge_growth=plain.taste_ridge_growth, text_share=0.0, k=29)
    np.testing.assert_array_equal(trained.incoming.weights, expected.weights)


def test_an_item_without_events_gets_weights_from_items_that_read_alike():
    text = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    matrix = sparse.csr_array(np.array([[0, 1, 1, 0], [0, 1, 1, 1], [0, 1, 0, 1]] * 5, np.float32))
    with_text = dense(ease(matrix, text, ridge=1.0, ridge_growth=0.7, text_share=2.0, k=4), 4)
    without = dense(ease(matrix, np.zeros_like(text), ridge=1.0, ridge_growth=0.7, text_share=2.0, k=4), 4)
    assert with_text[0].argmax() == 1
    assert not without[0].any()


def test_what_everybody_likes_is_pointed_at_less_where_the_ridge_grows():
    matrix, nothing = random_matrix(60, 8, density=0.2).toarray(), np.zeros((8, 0), np.float32)
    matrix[:, 0] = 1.0
    plain, grown = (
        dense(ease(sparse.csr_array(matrix), nothing, ridge=1.0, ridge_growth=growth, text_share=0.0, k=8), 8)
        for growth in (0.0, 0.7)
    )
    assert np.abs(grown[0]).sum() < np.abs(plain[0]).sum()


@pytest.mark.parametrize("users", [0, 3, 60])
def test_events_that_weigh_nothing_teach_nothing(users):
    nothing = sparse.csr_array((users, 8), dtype=np.float32)
    found = ease(nothing, np.zeros((8, 0), np.float32), ridge=5.0, ridge_growth=0.7, text_share=0.1, k=7)
    assert not found.weights.any()


def test_texts_are_centred_where_there_are_enough_of_them():
    text = random_text(60)
    text[7] = 0
    centred = centred_rows(text)
    known = np.delete(np.arange(60), 7)
    expected = text[known] - text[known].mean(axis=0)
    np.testing.assert_allclose(centred[known], expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    assert not centred[7].any()
    assert not centred_rows(text[:20]).any()
    assert centred_rows(np.zeros((3, 0), np.float32)).shape == (3, 0)


def test_neighbours_are_shrunk_cosines():
    matrix = random_matrix(30, 9)
    x = matrix.toarray()
    lengths = np.linalg.norm(x, axis=0)
    expected = x.T @ x / (np.outer(lengths, lengths) + 2.0)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(dense(cosine_neighbours(matrix, k=9, shrinkage=2.0), 9), expected, atol=1e-5)


def test_the_catalogue_decides_how_weights_are_trained():
    interactions = Interactions(item_ids=tuple("abcdef"), matrix=random_matrix(20, 6), events=20)
    text = random_text(6)
    small = train(interactions, Texts(text), SETTINGS, k=50)
    large = train(interactions, Texts(text), SETTINGS.model_copy(update={"taste_dense_items": 5}), k=50)
    assert isinstance(small, TasteModel)
    assert isinstance(large, TasteModel)
    assert small.incoming.weights.shape == large.incoming.weights.shape == (6, 5)
    np.testing.assert_allclose(dense(large.incoming, 6), dense(cosine_neighbours(interactions.matrix, k=5), 6))


def test_too_few_users_are_no_error():
    interactions = Interactions(item_ids=("a", "b"), matrix=random_matrix(3, 2, density=1.0), events=6)
    assert train(interactions, Texts(random_text(2)), Settings(), k=50) == TooFewEvents(users=3, needed=100)


def test_a_catalogue_of_one_item_has_nothing_to_point_at_it():
    interactions = Interactions(item_ids=("a",), matrix=sparse.csr_array(np.ones((2, 1), np.float32)), events=2)
    model = train(interactions, Texts(random_text(1)), SETTINGS, k=50)
    assert [(item_id, weights.tolist()) for item_id, _, weights in model.rows()] == [("a", [0.0])]


def test_the_matrix_holds_signed_saturated_weights_of_users_with_two_items():
    histories = [
        [event("ann", "a"), event("ann", "b", "dislike"), event("ann", "gone")],
        [event("bob", "a"), event("bob", "a", "view")],
        [event("cy", "a", "view"), event("cy", "a", "view"), event("cy", "b", days_ago=SETTINGS.half_life_days * 2)],
    ]
    found = collect(["a", "b", "c"], histories, NEWEST, SETTINGS)
    assert (found.users, found.events) == (2, 5)
    np.testing.assert_allclose(found.matrix.toarray(), [[1, -0.25, 0], [1, 0.5, 0]], atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    users=st.integers(2, 30),
    items=st.integers(2, 20),
    k=st.integers(1, 30),
    with_text=st.booleans(),
)
def test_no_item_points_at_itself_and_every_weight_is_finite(seed, users, items, k, with_text):
    matrix = random_matrix(users, items, seed)
    text = random_text(items, seed=seed) if with_text else np.zeros((items, 4), np.float32)
    for found in (ease(matrix, text, ridge=1.0, ridge_growth=0.7, text_share=1.0, k=k), cosine_neighbours(matrix, k=k)):
        assert found.indices.shape == (items, min(k, items))
        assert np.isfinite(found.weights).all()
        assert all(i not in row[weights != 0] for i, (row, weights) in enumerate(zip(*found, strict=True)))
