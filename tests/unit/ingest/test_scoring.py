"""The arithmetic that training and queries share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.scoring import BlendWeights, all_fixed, present_rank, present_time, priors, text_parts, text_scores
from ingest.settings import Settings


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**32 - 1), st.floats(0.1, 10))
def test_text_scores_do_not_grow_with_the_length_of_the_weights(n, h, seed, factor):
    rng = np.random.default_rng(seed)
    items, history = rng.normal(size=(n, 4)), rng.normal(size=(h, 4))
    weights = rng.normal(size=h)
    assert text_parts(items, history, weights * factor) == pytest.approx(text_parts(items, history, weights))


def test_an_item_far_from_one_past_item_is_not_held_back_by_it():
    history = np.eye(2)
    one, both = text_parts(np.array([[1.0, 0.0], [-0.6, 0.8]]), history, np.ones(2))
    assert one == pytest.approx([1 / np.sqrt(2), 0])
    assert both[0] == 0


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0, 1e6), max_size=8))
def test_priors_lie_within_0_and_1_and_keep_the_order(counts):
    found = priors(counts)
    assert all(0 <= value <= 1 for value in found.values())
    ordered = sorted(found, key=counts.get)
    assert [found[i] for i in ordered] == sorted(found.values())


def test_text_scores_are_the_sums_of_the_parts():
    rng = np.random.default_rng(1)
    items, history, weights = rng.normal(size=(5, 4)), rng.normal(size=(3, 4)), rng.normal(size=3)
    whole = text_parts(items, history, weights).sum(axis=1)
    assert text_scores(items, history, weights) == pytest.approx(whole, rel=1e-5)


def test_what_the_settings_say_wins_over_what_was_learned():
    learned = BlendWeights(text=0.2, prior=0.3, interests_prior=0.4, half_life_days=7, fading=0.1)
    assert learned.under(Settings()) == learned
    fixed = Settings(blend_prior=0.0, prior_half_life_days=3, history_fading=0.0)
    assert learned.under(fixed) == BlendWeights(text=0.2, prior=0.0, interests_prior=0.4, half_life_days=3, fading=0.0)
    assert not all_fixed(fixed)
    others = {"blend_text": 0, "blend_prior": 0, "interests_prior": 0, "prior_half_life_days": 1}
    assert not all_fixed(Settings(**others))
    assert not all_fixed(Settings(**others, history_fading=0))
    assert all_fixed(Settings(**others, history_fading=0, taste_fading=0))


def told(times):
    newest_first, rank = sorted(times, reverse=True), present_rank(len(times))
    return present_time(newest_first[0], newest_first[rank - 1], newest_first[2 * rank - 1])


@given(st.integers(2, 3_000), st.integers(1, 1_000_000))
def test_in_a_steady_stream_the_newest_event_tells_the_time(count, pace):
    assert told([n * pace for n in range(count)]) == (count - 1) * pace


@given(st.integers(1, 20), st.integers(0, 10**9))
def test_some_events_after_a_pause_do_not(late, pause):
    assert told([*range(4_000), *[4_000 + pause + n for n in range(late)]]) <= 4_050
