"""What a past event is worth beside the usual of its catalogue."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from ingest.events import Event
from ingest.settings import Settings
from ingest.weights import Usual, event_weights, profile_weights, usual, votes


def event(n, type_="purchase", *, value=None, dwell_ms=None):
    return Event(event_id=f"e{n}", user_id="ann", item_id=f"i{n}", type=type_, value=value, dwell_ms=dwell_ms)


def test_what_happened_after_the_present_counts_as_what_happens_now():
    present = datetime(2024, 5, 1, tzinfo=UTC)
    past, now, later = (present + timedelta(days=days) for days in (-180, 0, 4_000))
    dated = [structs.replace(event(n), timestamp=time) for n, time in enumerate((past, now, later))]
    assert event_weights(dated, Settings(half_life_days=180), present=present) == [0.5, 1.0, 1.0]


def test_a_purchase_for_more_than_usual_counts_more_and_the_usual_one_as_without_a_value():
    settings = Usual(values={"purchase": 20.0}).under(Settings())
    cheap, ordinary, dear, unknown = event_weights(
        [event(1, value=1.0), event(2, value=20.0), event(3, value=400.0), event(4)], settings
    )
    assert cheap < ordinary == unknown == 1.0 < dear <= 1.5


def test_a_short_look_counts_less_than_a_long_one():
    settings = Usual(dwell_ms={"view": 30_000}).under(Settings())
    bounce, ordinary = event_weights([event(1, "view", dwell_ms=0), event(2, "view", dwell_ms=30_000)], settings)
    assert (bounce, ordinary) == (pytest.approx(0.15), pytest.approx(0.3))


def test_without_anything_usual_values_and_times_are_ignored():
    assert event_weights([event(1, value=5.0, dwell_ms=9)], Settings()) == [1.0]


def test_the_usual_is_the_median_by_type_and_ratings_have_none():
    given_ = [event(n, value=float(n)) for n in range(1, 6)] + [
        event(9, "rating", value=4.0),
        event(7, "view", dwell_ms=8),
    ]
    assert usual([given_], Settings()) == Usual(values={"purchase": 3.0}, dwell_ms={"view": 8})


def test_a_rating_a_spread_below_the_mean_is_a_dislike():
    ratings = [event(n, "rating", value=value) for n, value in enumerate([1.0, 3.0, 3.0, 5.0])]
    found = usual([ratings[:2], ratings[2:]], Settings())
    assert found.disliked == {"rating": pytest.approx(3 - 2**0.5)}
    assert usual([ratings[1:3]], Settings()).disliked == {}, "nobody disliked anything"
    counted = votes(found.under(Settings()))
    assert [one in counted for one in ratings] == [False, True, True, True]
    assert event(9, "view", value=1.0) in counted
    assert votes(found.under(Settings(disliked_ratings={"rating": 4.0}))).disliked == {"rating": 4.0}


def test_where_all_ratings_are_alike_only_a_dislike_speaks_against_its_item():
    settings = Usual(disliked={"rating": 1.5}).under(Settings())
    hated, fair = (event(1, "rating", value=value) for value in (1.0, 2.0))
    assert [event_weights([one], settings)[0] for one in (hated, fair)] == [-0.5, 0.5]
    assert event_weights([hated], Settings()) == [0.5], "nothing says what is usual"
    assert event_weights([hated, fair], settings)[0] == pytest.approx(0.0), "these tell by themselves"


def test_what_the_settings_say_is_usual_stays():
    found = Usual(values={"purchase": 3.0, "play": 2.0}).under(Settings(usual_values={"purchase": 9.0}))
    assert found.usual_values == {"purchase": 9.0, "play": 2.0}


@given(st.floats(0, 1e300), st.floats(0, 1e300), st.floats(0, 1))
@example(0.0, 5e-324, 0.0)  # the least number there is: its half is 0
@example(2.5e-323, 0.0, 1.0)  # and the half of five of it is two of it
@example(1e300, 1e300, 1.0)
def test_an_amount_never_turns_or_blows_up_a_weight(value, ordinary, effect):
    settings = Settings(usual_values={"purchase": ordinary}, value_effect=effect)
    (weight,) = event_weights([event(1, value=value)], settings)
    assert 1 - effect <= weight <= 1 + effect + 1e-9


def met(*items, times=None):
    """A history, newest first."""
    times = times or [None] * len(items)
    pairs = enumerate(zip(items, times, strict=True))
    return [Event(event_id=f"e{n}", user_id="ann", item_id=item, type="like", timestamp=at) for n, (item, at) in pairs]


def test_a_history_fades_by_how_many_other_items_were_met_since():
    settings = Settings(history_fading=0.5)
    assert profile_weights(met("d", "c", "b", "a"), settings) == pytest.approx([1, 1 / 1.5, 1 / 2, 1 / 2.5])
    # Who comes back to an item ten times has met no more items than who came once.
    assert profile_weights(met("b", "b", "b", "a"), settings) == pytest.approx([1, 1, 1, 1 / 1.5])
    assert profile_weights(met("b", "a", "b"), settings) == pytest.approx([1, 1 / 1.5, 1 / 1.5])


def test_what_happened_at_one_time_was_met_together():
    now = datetime(2026, 5, 1, tzinfo=UTC)
    basket = met("c", "b", "a", times=[now, now, now - timedelta(seconds=1)])
    weights = profile_weights(basket, Settings(history_fading=0.5))
    assert weights == pytest.approx([1, 1, 1 / 2])


@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.floats(0, 10))
def test_what_is_older_never_counts_more(items, fading):
    weights = profile_weights(met(*items), Settings(history_fading=fading))
    newest = {}
    for item, weight in zip(items, weights, strict=True):
        assert 0 < weight <= 1
        assert weight <= newest.setdefault(item, weight)
    firsts = list(newest.values())
    assert firsts == sorted(firsts, reverse=True)


def test_without_fading_all_events_of_one_time_count_alike():
    assert profile_weights(met("c", "b", "a"), Settings()) == [1, 1, 1]
    assert profile_weights([], Settings(history_fading=1)) == []
