"""How a page is arranged: different enough, and no value too often."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.answers import RecommendedItem
from serving.lists import Control, arranged


def listed(scores):
    ranked = sorted(scores, reverse=True)
    return [RecommendedItem(item_id=f"i{n}", score=score, source="x") for n, score in enumerate(ranked)]


def diversified(items, vectors, diversity):
    return arranged(items, Control(diversity=diversity, vectors=vectors), len(items))


def capped(items, values, most, limit, beside=()):
    return arranged(items, Control(most=most, values=values), limit, beside=beside)


scored = st.lists(st.floats(-5, 5), min_size=0, max_size=15).map(listed)


@given(items=scored, diversity=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_diversity_keeps_every_item_once_and_the_best_first(items, diversity, seed):
    rng = np.random.default_rng(seed)
    vectors = {item.item_id: rng.normal(size=4).astype(np.float32) for item in items[::2]}
    found = diversified(items, vectors, diversity)
    assert sorted(item.item_id for item in found) == sorted(item.item_id for item in items)
    if items:
        assert found[0].score == items[0].score or diversity == 1


@given(items=scored)
def test_without_diversity_the_order_stays(items):
    assert diversified(items, {}, 0.0) == items


def test_a_twin_of_the_first_item_comes_later_the_more_diversity_is_asked_for():
    items = listed([1.0, 0.99, 0.5])
    vectors = {"i0": np.eye(2)[0], "i1": np.eye(2)[0], "i2": np.eye(2)[1]}
    assert [item.item_id for item in diversified(items, vectors, 0.1)] == ["i0", "i1", "i2"]
    assert [item.item_id for item in diversified(items, vectors, 0.6)] == ["i0", "i2", "i1"]


values = st.frozensets(st.sampled_from("abc"), max_size=3)


@given(items=scored, data=st.data(), most=st.integers(1, 3), limit=st.integers(1, 10))
def test_no_value_is_on_more_items_than_its_cap_and_nothing_is_left_out_needlessly(items, data, most, limit):
    its = {item.item_id: {"categories": data.draw(values)} for item in items}
    found = capped(items, its, {"categories": most}, limit)
    counts = Counter(value for item in found for value in its[item.item_id]["categories"])
    assert len(found) <= limit
    assert max(counts.values(), default=0) <= most
    if len(found) < limit:
        for item in items:
            if item not in found:
                assert any(counts[value] == most for value in its[item.item_id]["categories"])


def test_what_stands_beside_counts_for_caps_and_for_likeness():
    beside = [RecommendedItem(item_id="fixed", score=0.0, source="pinned")]
    items = listed([1.0, 0.9, 0.8])
    its = {"fixed": {"categories": {"a"}}, "i0": {"categories": {"a"}}, "i1": {"categories": {"b"}}}
    assert [one.item_id for one in capped(items, its, {"categories": 1}, 3, beside)] == ["i1", "i2"]
    vectors = {"fixed": np.eye(2)[0], "i0": np.eye(2)[0], "i1": np.eye(2)[1], "i2": np.eye(2)[1]}
    control = Control(diversity=0.5, vectors=vectors)
    assert [one.item_id for one in arranged(items, control, 1, beside=beside)] == ["i1"]


@given(items=scored, diversity=st.floats(0, 1), seed=st.integers(0, 2**32 - 1), limit=st.integers(0, 15))
def test_fewer_places_are_the_first_of_more(items, diversity, seed, limit):
    rng = np.random.default_rng(seed)
    vectors = {item.item_id: rng.normal(size=4).astype(np.float32) for item in items}
    control = Control(diversity=diversity, vectors=vectors)
    assert arranged(items, control, limit) == arranged(items, control, len(items))[:limit]
