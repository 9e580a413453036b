"""The arithmetic of profiles, by its properties."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ingest.events import Event
from ingest.index.protocol import SparseVector
from ingest.settings import Settings
from ingest.store.records import HistoryEntry
from serving.profile import (
    blend,
    build_profile,
    build_taste_profile,
    shares,
    taste_shares,
    unit,
    weigh,
)

SETTINGS = Settings()
NEWEST = datetime(2024, 6, 1, tzinfo=UTC)
DIMENSIONS = 8

numbers = st.floats(-1, 1, width=32)
vectors = arrays.arrays(np.float32, DIMENSIONS, elements=numbers).map(unit).filter(lambda vector: vector is not None)
weights = st.floats(-1, 1).filter(lambda weight: abs(weight) > 1e-3)
histories = st.lists(st.tuples(weights, vectors), min_size=1, max_size=12)


def entry(item_id="a", type_="like", *, value=None, days_ago=None, position=0):
    timestamp = None if days_ago is None else NEWEST - timedelta(days=days_ago)
    event = Event(event_id=f"e{position}", user_id="u", item_id=item_id, type=type_, value=value, timestamp=timestamp)
    return HistoryEntry(event=event, version=1)


def profile_of(weighed_vectors):
    weighed = [(entry(f"i{n}"), weight) for n, (weight, _) in enumerate(weighed_vectors)]
    return build_profile(weighed, {f"i{n}": vector for n, (_, vector) in enumerate(weighed_vectors)})


def weights_of(*entries):
    return [weight for _, weight in weigh(entries, SETTINGS)]


@given(history=histories, item=vectors)
def test_the_shares_of_a_score_add_up_to_it(history, item):
    profile = profile_of(history)
    assume(profile is not None)
    score = float(profile.vector @ item)
    assert abs(shares(profile, [item]).sum() - score) < 1e-5


@given(history=histories)
def test_a_profile_has_unit_length(history):
    profile = profile_of(history)
    assume(profile is not None)
    assert np.linalg.norm(profile.vector) == pytest.approx(1, abs=1e-6)


@given(history=histories, factor=st.floats(0.01, 100))
def test_scaling_all_weights_changes_nothing(history, factor):
    profile = profile_of(history)
    assume(profile is not None and profile.length > 1e-3)
    scaled = profile_of([(weight * factor, vector) for weight, vector in history])
    np.testing.assert_allclose(scaled.vector, profile.vector, atol=1e-5)


@given(history=histories, disliked=vectors)
def test_a_dislike_pushes_away_from_its_item(history, disliked):
    before = profile_of(history)
    after = profile_of([*history, (-0.5, disliked)])
    assume(before is not None and after is not None)
    assert float(after.vector @ disliked) <= float(before.vector @ disliked) + 1e-5


tasted = st.lists(
    st.tuples(st.integers(0, 6), st.floats(-1, 1).filter(lambda w: abs(w) > 1e-3)), min_size=1, max_size=12
)
pointing = st.dictionaries(st.integers(0, 8), st.floats(-1, 1), max_size=8)


def taste_profile_of(items):
    weighed = [(entry(f"i{item}", position=n), weight) for n, (item, weight) in enumerate(items)]
    return build_taste_profile(weighed, {f"i{item}": 10 + item for item in range(6)})


@given(history=tasted, weights=pointing)
def test_the_shares_of_a_taste_score_add_up_to_it(history, weights):
    profile = taste_profile_of(history)
    assume(profile is not None)
    pointed = SparseVector(positions=tuple(10 + p for p in weights), weights=tuple(weights.values()))
    asked = dict(zip(profile.vector.positions, profile.vector.weights, strict=True))
    score = sum(asked.get(p, 0.0) * w for p, w in zip(pointed.positions, pointed.weights, strict=True))
    assert taste_shares(profile, [pointed]).sum() == pytest.approx(score, abs=1e-9)


@given(history=tasted)
def test_a_taste_profile_has_unit_length_and_knows_no_item_without_position(history):
    profile = taste_profile_of(history)
    assume(profile is not None)
    assert sum(w * w for w in profile.vector.weights) == pytest.approx(1)
    assert set(profile.vector.positions) <= set(range(10, 16))
    assert len(set(profile.vector.positions)) == len(profile.vector.positions)


def test_there_is_no_taste_profile_without_anything_liked_that_it_knows():
    assert taste_profile_of([(0, -1.0), (1, -0.5)]) is None
    assert taste_profile_of([(6, 1.0)]) is None
    assert taste_profile_of([]) is None


def test_many_events_on_one_item_count_as_one_clear_like():
    once, often = taste_profile_of([(0, 1.0), (1, 1.0)]), taste_profile_of([*[(0, 0.3)] * 20, (1, 1.0)])
    assert often.vector.weights == pytest.approx(once.vector.weights)


def test_there_is_no_profile_without_anything_liked():
    some, other = np.eye(DIMENSIONS, dtype=np.float32)[:2]
    assert build_profile([], {}) is None
    assert profile_of([(-1.0, some), (-0.5, other)]) is None


def test_there_is_no_profile_when_likes_and_dislikes_cancel():
    vector = np.eye(DIMENSIONS, dtype=np.float32)[0]
    assert profile_of([(1.0, vector), (-1.0, vector)]) is None


def test_items_without_a_vector_take_no_part():
    vector = np.eye(DIMENSIONS, dtype=np.float32)[0]
    profile = build_profile([(entry("known"), 1.0), (entry("unplaced"), 1.0)], {"known": vector})
    assert [part.entry.event.item_id for part in profile.parts] == ["known"]


def test_each_of_several_events_on_one_item_counts():
    one, other = np.eye(DIMENSIONS, dtype=np.float32)[:2]
    weighed = [(entry("a", position=0), 1.0), (entry("a", position=1), 1.0), (entry("b", position=2), 1.0)]
    profile = build_profile(weighed, {"a": one, "b": other})
    assert profile.vector[0] == pytest.approx(2 * profile.vector[1])


def test_an_event_counts_half_after_the_half_life():
    newer, older = weights_of(entry(days_ago=0), entry(days_ago=SETTINGS.half_life_days))
    assert older == pytest.approx(newer / 2)


@given(days=st.floats(0.01, 3000), gap=st.floats(0.01, 3000))
def test_the_newer_of_two_events_counts_more(days, gap):
    newer, older = weights_of(entry(days_ago=days), entry(days_ago=days + gap))
    assert newer > older


def test_weights_do_not_depend_on_how_long_ago_the_newest_event_was():
    assert weights_of(entry(days_ago=1000), entry(days_ago=1010)) == pytest.approx(
        weights_of(entry(days_ago=0), entry(days_ago=10))
    )


def test_events_without_a_time_do_not_decay():
    assert weights_of(entry(days_ago=None), entry(days_ago=0)) == [1.0, 1.0]


def test_ratings_are_measured_against_the_users_own():
    low, middle, high = weights_of(*(entry(type_="rating", value=value) for value in (1, 3, 5)))
    assert low < 0 < middle < high
    assert middle == pytest.approx(0.5)


@pytest.mark.parametrize("values", [(4,), (4, 4, 4)])
def test_equal_ratings_say_little_but_nothing_bad(values):
    assert weights_of(*(entry(type_="rating", value=value) for value in values)) == [0.5] * len(values)


@given(values=st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=20))
def test_normalised_ratings_stay_in_their_range(values):
    assert all(-0.5 <= weight <= 1 for weight in weights_of(*(entry(type_="rating", value=v) for v in values)))


def test_a_rating_without_a_value_counts_as_one():
    assert weights_of(entry(type_="rating", value=None)) == [1.0]


def test_values_of_other_types_are_ignored():
    assert weights_of(entry(type_="view", value=900.0)) == weights_of(entry(type_="view"))


def test_types_that_are_no_longer_known_count_nothing():
    assert weights_of(entry(type_="forgotten")) == [0.0]


@given(vector=vectors, other=vectors)
def test_a_blend_ends_at_either_side(vector, other):
    np.testing.assert_allclose(blend(vector, other, 0.0), vector, atol=1e-6)
    np.testing.assert_allclose(blend(vector, other, 1.0), other, atol=1e-6)
    np.testing.assert_array_equal(blend(vector, -vector, 0.5), vector)
