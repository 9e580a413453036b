"""Item-item weights: the same by every way of computing them, stronger for what is liked together, never for itself."""

import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from scipy import sparse

from ingest.events import Event
from ingest.settings import Settings
from ingest.taste import in_common
from ingest.taste.ease import ease
from ingest.taste.in_common import InCommon
from ingest.taste.interactions import Interactions, collect, damped, popularity
from ingest.taste.keeping import Keep, kept
from ingest.taste.model import KEEPS, TooFewEvents, keeps, ridge_for, train
from ingest.taste.neighbours import cosine_neighbours
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


def interactions_of(item_ids, matrix):
    places = np.zeros(matrix.nnz, np.int32)
    return Interactions(item_ids=tuple(item_ids), matrix=matrix, places=places, events=matrix.nnz)


def random_text(items, dimensions=4, seed=1):
    vectors = np.random.default_rng(seed).normal(size=(items, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def all_of(matrix, text, *, ridge=1.0, ridge_growth=0.7, text_share=0.0):
    """All weights of EASE."""
    keep = Keep(matrix.shape[1])
    (found,) = ease(
        InCommon(matrix=matrix), text, ridge=ridge, ridge_growth=ridge_growth, text_share=text_share, keeps=[keep]
    )
    return found.toarray()


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
    found = all_of(matrix, text, ridge=3.0, ridge_growth=growth, text_share=text_share)
    expected = reference_ease(matrix, text, 3.0, growth, text_share)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.floats(0, 1))
def test_long_histories_are_damped_and_usual_ones_are_not(lengths, power):
    matrix = sparse.csr_array([[1.0] * n + [0.0] * (40 - n) for n in lengths], dtype=np.float32)
    mean = np.mean(lengths)

    found = damped(matrix, power).toarray()

    assert np.array_equal(found != 0, matrix.toarray() != 0)
    for row, n in zip(found, lengths, strict=True):
        np.testing.assert_allclose(row[:n], ((1 + mean) / (1 + n)) ** power, rtol=1e-5)


def test_nothing_is_damped_of_no_histories():
    assert damped(sparse.csr_array((0, 5), dtype=np.float32), 0.2).shape == (0, 5)


@pytest.mark.parametrize("dense_items", [20_000, 1])
def test_what_a_long_history_holds_is_taken_for_less_alike(dense_items):
    rng = np.random.default_rng(3)
    matrix = (rng.random((60, 40)) < 0.1).astype(np.float32)
    matrix[0, 2:] = 1.0  # one user has met nearly everything
    matrix[1:30, :2] = 1.0
    interactions = interactions_of(tuple(map(str, range(40))), sparse.csr_array(matrix))
    texts = Texts(np.zeros((40, 0), np.float32))
    undamped = Settings(taste_dense_items=dense_items, taste_least_users=1, taste_user_damping=0)
    damping = undamped.model_copy(update={"taste_user_damping": 0.4})

    alike, less_alike = (
        train(interactions, texts, each, [Keep(40)])[Keep(40)].incoming.toarray()[2:, 2:].clip(0).sum()
        for each in (undamped, damping)
    )

    assert less_alike < alike


def test_a_training_may_choose_which_weights_it_keeps_unless_told_or_too_large():
    assert keeps(20_000, Settings()) == KEEPS
    assert keeps(20_001, Settings()) == KEEPS[:1]
    assert keeps(5, Settings(taste_neighbours=7)) == keeps(20_001, Settings(taste_neighbours=7)) == (Keep(7),)
    assert keeps(5, Settings(taste_kept="most_used")) == (Keep(50, "most_used"),)
    shared = Settings(taste_neighbours=7, taste_kept="shared")
    assert keeps(20_000, shared) == (Keep(7, "shared"),)
    assert keeps(20_001, shared) == (Keep(7, "most_used"),)


def test_the_ridge_is_smaller_the_more_users_there_are():
    four = Settings(taste_ridge=4.0)
    assert [ridge_for(users, four) for users in (1, 300)] == [4.0, 4.0]
    assert ridge_for(2_400, four) == pytest.approx(2.0)
    assert ridge_for(300_000, four) == pytest.approx(0.4)


@pytest.mark.parametrize("users", [200, 2_400])
def test_a_training_fits_weights_with_the_ridge_for_its_users(users):
    rng = np.random.default_rng(users)
    matrix = sparse.csr_array((rng.random((users, 30)) < 0.2).astype(np.float32))
    interactions = interactions_of(tuple(f"i{n}" for n in range(30)), matrix)
    plain, texts = Settings(taste_text_share=0.0), Texts(np.zeros((30, 0), np.float32))

    trained = train(interactions, texts, plain, [Keep(30)])

    taught = damped(matrix, plain.taste_user_damping)
    expected = all_of(taught, texts.vectors, ridge=ridge_for(users, plain), ridge_growth=plain.taste_ridge_growth)
    np.testing.assert_array_equal(trained[Keep(30)].incoming.toarray(), expected)


def test_an_item_without_events_gets_weights_from_items_that_read_alike():
    text = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    matrix = sparse.csr_array(np.array([[0, 1, 1, 0], [0, 1, 1, 1], [0, 1, 0, 1]] * 5, np.float32))
    with_text = all_of(matrix, text, text_share=2.0)
    without = all_of(matrix, np.zeros_like(text), text_share=2.0)
    assert with_text[0].argmax() == 1
    assert not without[0].any()


def test_what_everybody_likes_is_pointed_at_less_where_the_ridge_grows():
    matrix, nothing = random_matrix(60, 8, density=0.2).toarray(), np.zeros((8, 0), np.float32)
    matrix[:, 0] = 1.0
    plain, grown = (all_of(sparse.csr_array(matrix), nothing, ridge_growth=growth) for growth in (0.0, 0.7))
    assert np.abs(grown[0]).sum() < np.abs(plain[0]).sum()


@pytest.mark.parametrize("users", [0, 3, 60])
def test_events_that_weigh_nothing_teach_nothing(users):
    nothing = sparse.csr_array((users, 8), dtype=np.float32)
    assert not all_of(nothing, np.zeros((8, 0), np.float32), ridge=5.0, text_share=0.1).any()


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


@pytest.mark.parametrize("pairs", [5, 1_000_000])
@pytest.mark.parametrize("fading", [0.0, 0.3])
def test_neighbours_are_shrunk_cosines(monkeypatch, fading, pairs):
    monkeypatch.setattr(in_common, "_PAIRS", pairs)
    matrix = random_matrix(30, 9)
    places = np.random.default_rng(5).integers(0, 20, matrix.nnz).astype(np.int32)
    common = InCommon(matrix=matrix, places=places, fading=fading)
    lengths = np.linalg.norm(matrix.toarray(), axis=0)
    expected = common.rows(slice(0, 9)) / (np.outer(lengths, lengths) + 2.0)
    np.fill_diagonal(expected, 0)
    (found,) = cosine_neighbours(common, keeps=[Keep(9)], shrinkage=2.0)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 10_000),
    items=st.integers(1, 40),
    k=st.integers(1, 15),
    fading=st.sampled_from([0.0, 0.1]),
    pairs=st.integers(1, 500),
)
def test_neighbours_in_blocks_are_those_of_the_whole_matrix(seed, items, k, fading, pairs):
    matrix = random_matrix(20, items, seed, density=0.15)
    places = np.random.default_rng(seed).integers(0, 20, matrix.nnz).astype(np.int32)
    common = InCommon(matrix=matrix, places=places, fading=fading)
    lengths = np.linalg.norm(matrix.toarray(), axis=0)
    whole = common.rows(slice(0, items)) / (np.outer(lengths, lengths) + np.float32(10.0))
    np.fill_diagonal(whole, 0)
    choices = [Keep(k), Keep(k, "most_used"), Keep(k, "shared")]
    expected = kept([whole], choices, popularity(matrix))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_common, "_PAIRS", pairs)
        found = cosine_neighbours(common, keeps=choices)
    for some, all_of_them in zip(found, expected, strict=True):
        # Of what is equal but for rounding either may be kept.
        np.testing.assert_allclose(np.sort(some.data), np.sort(all_of_them.data), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(some.toarray()[some.toarray() != 0], whole[some.toarray() != 0], rtol=1e-4)


@pytest.mark.parametrize("fading", [0.0, 0.3])
def test_neighbours_take_memory_for_what_was_met_together_and_not_for_the_square_of_the_catalogue(fading):
    items = 30_000
    matrix = random_matrix(200, items, density=5 / items)
    matrix = sparse.csr_array(sparse.hstack([np.ones((200, 1), np.float32), matrix[:, 1:]]))  # all have met the first
    places = np.zeros(matrix.nnz, np.int32)
    tracemalloc.start()
    (found,) = cosine_neighbours(InCommon(matrix=matrix, places=places, fading=fading), keeps=[Keep(5)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.diff(found.indptr)[0] == 5
    assert peak < 20_000_000
    assert found.nnz < 10_000


def by_ease(matrix, keeps):
    return ease(
        InCommon(matrix=matrix), np.zeros((20, 0), np.float32), ridge=1.0, ridge_growth=0.7, text_share=0.0, keeps=keeps
    )


@pytest.mark.parametrize(
    "train_weights", [by_ease, lambda matrix, keeps: cosine_neighbours(InCommon(matrix=matrix), keeps=keeps)]
)
def test_what_is_used_most_is_what_the_matrix_has_most_of(train_weights):
    popular = np.linspace(0.05, 0.9, 20)
    matrix = sparse.csr_array((np.random.default_rng(2).random((80, 20)) < popular).astype(np.float32))
    everything, used, shared = train_weights(matrix, [Keep(20), Keep(3, "most_used"), Keep(12, "shared")])
    squares = matrix.toarray().sum(axis=0)
    use = np.sqrt(1 + squares / squares.mean())
    sizes = np.abs(everything.toarray()) * use
    for row, size in zip(used.toarray(), sizes, strict=True):
        assert set(np.flatnonzero(row)) == set(np.argsort(-size)[:3])
    counts = np.diff(shared.indptr)
    assert shared.nnz == 20 * 12
    assert counts[10:].mean() > counts[:10].mean(), "popular items keep more"


def test_the_catalogue_decides_how_weights_are_trained():
    interactions = interactions_of(tuple("abcdef"), random_matrix(20, 6))
    text = random_text(6)
    small = train(interactions, Texts(text), SETTINGS, [Keep(50)])[Keep(50)]
    large = train(interactions, Texts(text), SETTINGS.model_copy(update={"taste_dense_items": 5}), KEEPS)
    assert small.incoming.nnz == 6 * 5
    taught = damped(interactions.matrix, SETTINGS.taste_user_damping)
    for found, expected in zip(large.values(), cosine_neighbours(InCommon(matrix=taught), keeps=KEEPS), strict=True):
        np.testing.assert_array_equal(found.incoming.toarray(), expected.toarray())


def test_too_few_users_are_no_error():
    interactions = interactions_of(("a", "b"), random_matrix(3, 2, density=1.0))
    assert train(interactions, Texts(random_text(2)), Settings(), KEEPS) == TooFewEvents(users=3, needed=100)


def test_a_catalogue_of_one_item_has_nothing_to_point_at_it():
    interactions = interactions_of(("a",), sparse.csr_array(np.ones((2, 1), np.float32)))
    for model in train(interactions, Texts(random_text(1)), SETTINGS, KEEPS).values():
        assert [(item_id, weights.tolist()) for item_id, _, weights in model.rows()] == [("a", [])]


def test_the_matrix_holds_signed_saturated_weights_of_users_with_two_items():
    histories = [
        [event("ann", "a"), event("ann", "b", "dislike"), event("ann", "gone")],
        [event("bob", "a"), event("bob", "a", "view")],
        [event("cy", "a", "view"), event("cy", "a", "view"), event("cy", "b", days_ago=SETTINGS.half_life_days * 2)],
    ]
    found = collect(["a", "b", "c"], histories, NEWEST, SETTINGS)
    assert (found.users, found.events) == (2, 5)
    np.testing.assert_allclose(found.matrix.toarray(), [[1, -0.25, 0], [1, 0.5, 0]], atol=1e-6)


def test_a_place_is_how_many_other_items_were_met_since():
    one_by_one = [event("ann", item, days_ago=9 - n) for n, item in enumerate("cabdab")]
    together = [*(event("bob", item, days_ago=5) for item in "ab"), *(event("bob", item, days_ago=1) for item in "cd")]
    untimed = [structs.replace(event("cy", item), timestamp=None) for item in "dcb"]
    often = [event("di", item, days_ago=9 - n) for n, item in enumerate("abbccabc")]
    found = collect(list("abcd"), [one_by_one, together, untimed, often], NEWEST, SETTINGS)
    held = [dict(zip(row.indices.tolist(), places, strict=True)) for row, places in rows_and_places(found)]
    assert held == [{1: 0, 0: 1, 3: 2, 2: 3}, {2: 0, 3: 0, 0: 2, 1: 2}, {1: 0, 2: 1, 3: 2}, {2: 0, 1: 1, 0: 2}]


def test_what_fades_is_taught_by_what_was_met_nearby():
    """Everybody meets the same four items, a beside b and far from c."""
    matrix = sparse.csr_array(np.ones((30, 4), np.float32))
    together = Interactions(
        item_ids=tuple("abcd"), matrix=matrix, places=np.tile([0, 1, 40, 41], 30).astype(np.int32), events=120
    )
    texts = Texts(np.zeros((4, 0), np.float32))
    for dense_items in (10, 2):
        each = SETTINGS.model_copy(update={"taste_dense_items": dense_items, "taste_fading": 0.5})
        found = train(together, texts, each, [Keep(4)])[Keep(4)].incoming.toarray()
        assert found[0, 1] > 2 * abs(found[0, 2])
        whole = train(together, texts, each.model_copy(update={"taste_fading": 0}), [Keep(4)])[Keep(4)]
        np.testing.assert_allclose(whole.incoming.toarray()[0, 1:], whole.incoming.toarray()[0, 1], rtol=1e-4)


def test_some_of_the_items_keep_their_order_their_weights_and_their_places():
    matrix = random_matrix(12, 7)
    places = np.arange(matrix.nnz, dtype=np.int32)
    whole = Interactions(item_ids=tuple("abcdefg"), matrix=matrix, places=places, events=50)
    where = sparse.csr_array((places + 1, matrix.indices, matrix.indptr), shape=matrix.shape).toarray()
    for most, users in ((12, slice(None)), (5, slice(0, 12, 3)), (1, slice(0, 1))):
        part = whole.of(np.array([1, 4, 6]), most)
        assert (part.item_ids, part.users) == (("b", "e", "g"), len(range(12)[users]))
        np.testing.assert_array_equal(part.matrix.toarray(), matrix.toarray()[users][:, [1, 4, 6]])
        held = where[users][:, [1, 4, 6]]
        np.testing.assert_array_equal(part.places + 1, held[held > 0])


def test_texts_of_some_items_are_those_of_all():
    texts = Texts(random_text(60))
    np.testing.assert_array_equal(texts.of(np.array([3, 7])).vectors, texts.vectors[[3, 7]])


def test_a_part_is_trained_as_the_whole_would_be():
    interactions = interactions_of("abcdef", random_matrix(20, 6))
    limited = SETTINGS.model_copy(update={"taste_dense_items": 8})
    part = train(interactions, Texts(random_text(6)), limited, KEEPS[:1], catalogue=9)[KEEPS[0]]
    common = InCommon(matrix=damped(interactions.matrix, limited.taste_user_damping))
    (expected,) = cosine_neighbours(common, keeps=KEEPS[:1])
    np.testing.assert_array_equal(part.incoming.toarray(), expected.toarray())


@pytest.mark.parametrize(("users", "items"), [(40, 12), (6, 40)])
@pytest.mark.parametrize("text_share", [0.0, 2.0])
def test_what_fades_is_inverted_whole(users, items, text_share):
    matrix, text = random_matrix(users, items), random_text(items)
    places = np.random.default_rng(8).integers(0, 30, matrix.nnz).astype(np.int32)
    common = InCommon(matrix=matrix, places=places, fading=0.4)
    keep = Keep(items)
    (found,) = ease(common, text, ridge=1.0, ridge_growth=0.7, text_share=text_share, keeps=[keep])
    squares = matrix.power(2).sum(axis=0)
    mean = squares.sum() / np.count_nonzero(squares)
    gram = common.rows(slice(0, items)).astype(np.float64) + mean * text_share * text @ text.T
    p = np.linalg.inv(gram + np.diag(mean * (1 + squares / mean) ** 0.7))
    expected = (np.eye(items) - p / np.diag(p)).T
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-4)


def rows_and_places(interactions):
    bounds = interactions.matrix.indptr
    for user, (start, end) in enumerate(pairwise(bounds)):
        yield interactions.matrix[[user]], interactions.places[start:end].tolist()


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
    choices = [Keep(k), Keep(k, "most_used"), Keep(k, "shared")]
    of_ease = ease(InCommon(matrix=matrix), text, ridge=1.0, ridge_growth=0.7, text_share=1.0, keeps=choices)
    both = zip(choices * 2, [*of_ease, *cosine_neighbours(InCommon(matrix=matrix), keeps=choices)], strict=True)
    for keep, found in both:
        assert found.shape == (items, items)
        assert found.nnz <= k * items
        assert np.diff(found.indptr).max() <= keep.most
        assert np.isfinite(found.data).all()
        assert found.data.all()
        assert not found.diagonal().any()
