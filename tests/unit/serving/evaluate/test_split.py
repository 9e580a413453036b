"""What is held out, and that none of it is ever in training."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import InvalidInputError
from serving.evaluate.split import positives, split_events
from tests.unit.serving.evaluate.examples import SETTINGS, event, likes

ITEMS = [f"i{number}" for number in range(40)]
some_events = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(ITEMS), st.sampled_from([1.0, 3.0, 5.0]), st.integers(0, 30)),
    unique_by=lambda row: (row[0], row[1]),
    min_size=20,
    max_size=60,
)


def split(events, **options):
    return split_events(events, ITEMS, SETTINGS, **options)


def test_without_times_the_last_fifth_of_each_users_positives_in_file_order_is_held_out():
    found = split(likes("ann", *ITEMS[:10]))
    assert found.relevant == {"ann": {"i8", "i9"}}
    assert [one.item_id for one in found.train] == ITEMS[:8]
    assert "file order" in found.description


def test_times_go_before_the_order_of_the_file():
    late_first = list(reversed(likes("ann", *ITEMS[:10], first_day=0)))
    assert split(late_first).relevant == {"ann": {"i8", "i9"}}
    assert "time order" in split(late_first).description


def test_at_least_one_item_is_held_out_and_fewer_than_five_positives_are_all_training():
    found = split([*likes("ann", *ITEMS[:5]), *likes("ben", *ITEMS[:4])])
    assert found.relevant == {"ann": {"i4"}}
    assert sum(one.user_id == "ben" for one in found.train) == 4


def test_what_follows_the_first_held_out_item_is_in_no_part():
    dislike = event("ann", "i20", type_="dislike")
    found = split([*likes("ann", *ITEMS[:9]), dislike, *likes("ann", "i9")])
    assert dislike not in found.train
    assert found.relevant["ann"] == {"i8", "i9"}


def test_a_global_cut_leaves_the_last_fifth_of_all_positives_and_asks_who_stands_on_both_sides():
    early, late = likes("early", *ITEMS[:16], first_day=0), likes("late", *ITEMS[16:20], first_day=30)
    both = [*likes("both", *ITEMS[:4], first_day=1), *likes("both", "i30", first_day=40)]
    found = split([*early, *late, *both], kind="global")
    assert found.cut is not None
    assert all(one.timestamp < found.cut for one in found.train)
    assert found.relevant == {"both": {"i30"}}


def test_an_item_that_training_shows_already_is_not_sought():
    again = event("ann", "i0", day=50)
    found = split([*likes("ann", *ITEMS[:9], first_day=0), again])
    assert found.relevant == {"ann": {"i8"}}


def test_positives_on_unknown_items_do_not_count():
    with pytest.raises(InvalidInputError, match="no user has"):
        split(likes("ann", "x1", "x2", "x3", *ITEMS[:4]))


def test_ratings_are_positive_from_the_users_own_mean_on():
    rated = [
        event("ann", item, type_="rating", value=value) for item, value in zip("abc", (2.0, 4.0, 3.0), strict=True)
    ]
    others = [event("ann", "d"), event("ann", "e", type_="dislike"), event("ann", "f", type_="view")]
    assert [one.item_id for one in positives([*rated, *others], SETTINGS)] == ["b", "c", "d", "f"]


@given(some_events, st.sampled_from(["user", "global"]))
def test_nothing_of_the_test_period_is_in_training(rows, kind):
    given = [event(user, item, type_="rating", value=value, day=day) for user, item, value, day in rows]
    try:
        found = split(given, kind=kind)
    except InvalidInputError:
        return
    times = {one.event_id: one.timestamp for one in given}
    for user, sought in found.relevant.items():
        trained = [one for one in found.train if one.user_id == user]
        assert sought.isdisjoint(one.item_id for one in trained)
        held_out = [one.timestamp for one in given if one.user_id == user and one.item_id in sought]
        assert max(times[one.event_id] for one in trained) <= min(held_out)
        if kind == "global":
            assert max(one.timestamp for one in found.train) < min(held_out)


def test_a_random_split_holds_out_a_fifth_by_the_seed():
    given = likes("ann", *ITEMS[:20], first_day=0)
    found = split(given, kind="random", seed=3)
    assert len(found.relevant["ann"]) == 4
    assert found.relevant["ann"].isdisjoint(one.item_id for one in found.train)
    assert split(given, kind="random", seed=3) == found
    assert split(given, kind="random", seed=4).relevant != found.relevant


@pytest.mark.parametrize(
    ("kind", "code"), [("global", "no_timestamps"), ("newest", "unknown_split")], ids=["no times", "no such split"]
)
def test_a_split_that_does_not_fit_is_refused(kind, code):
    with pytest.raises(InvalidInputError) as caught:
        split(likes("ann", *ITEMS[:10]), kind=kind)
    assert caught.value.code == code
