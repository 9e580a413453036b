from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import InvalidInputError
from ingest.events import Event, parse_event

TYPES = {"view", "rating"}
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def parse(now=NOW, **fields):
    return parse_event({"user_id": "u", "item_id": "i", "type": "view", **fields}, TYPES, now=now)


def refused(**fields):
    with pytest.raises(InvalidInputError) as caught:
        parse(**fields)
    return caught.value


def test_a_whole_event_is_read():
    event = parse(
        event_id="e",
        type="rating",
        value=4,
        timestamp="2024-05-01T10:00:00+02:00",
        dwell_ms=12.0,
        recommendation_id="r",
    )
    assert event == Event(
        event_id="e",
        user_id="u",
        item_id="i",
        type="rating",
        value=4.0,
        timestamp=datetime(2024, 5, 1, 8, tzinfo=UTC),
        dwell_ms=12,
        recommendation_id="r",
    )


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2024-05-01T08:00:00Z", datetime(2024, 5, 1, 8, tzinfo=UTC)),
        ("2024-05-01T08:00:00", datetime(2024, 5, 1, 8, tzinfo=UTC)),
        ("2024-05-01t08:00:00z", datetime(2024, 5, 1, 8, tzinfo=UTC)),
        (1_362_063_653, datetime(2013, 2, 28, 15, 0, 53, tzinfo=UTC)),
        (0.5, datetime(1970, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_utc(timestamp, expected):
    assert parse(timestamp=timestamp).timestamp == expected


def test_without_a_timestamp_the_time_is_now_or_none():
    assert parse().timestamp == NOW
    assert parse(now=None).timestamp is None


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"user_id": None}, "user_id_missing", "user_id"),
        ({"user_id": 5}, "wrong_type", "user_id"),
        ({"item_id": "x" * 300}, "item_id_too_long", "item_id"),
        ({"event_id": "a\x00"}, "event_id_unprintable", "event_id"),
        ({"recommendation_id": "x" * 65}, "recommendation_id_too_long", "recommendation_id"),
        ({"recommendation_id": "\ud800"}, "recommendation_id_unprintable", "recommendation_id"),
        ({"type": None}, "type_missing", "type"),
        ({"type": "bought"}, "unknown_event_type", "type"),
        ({"value": "5"}, "wrong_type", "value"),
        ({"value": True}, "wrong_type", "value"),
        ({"value": float("nan")}, "not_finite", "value"),
        ({"value": float("inf")}, "not_finite", "value"),
        ({"value": 1.1e12}, "value", "value"),
        ({"value": 10**400}, "value", "value"),
        ({"timestamp": "soon"}, "timestamp", "timestamp"),
        ({"timestamp": ""}, "timestamp", "timestamp"),
        ({"timestamp": True}, "timestamp", "timestamp"),
        ({"timestamp": float("nan")}, "timestamp", "timestamp"),
        ({"timestamp": 1_700_000_000_000}, "timestamp", "timestamp"),
        ({"timestamp": -1}, "timestamp", "timestamp"),
        ({"timestamp": "1969-12-31T23:59:59Z"}, "timestamp", "timestamp"),
        ({"timestamp": "2024-05-02T12:00:01Z"}, "future_timestamp", "timestamp"),
        ({"dwell_ms": -1}, "dwell_ms", "dwell_ms"),
        ({"dwell_ms": 1.5}, "dwell_ms", "dwell_ms"),
        ({"dwell_ms": 7 * 86_400_000 + 1}, "dwell_ms", "dwell_ms"),
        ({"device": "phone"}, "unknown_field", "device"),
    ],
)
def test_a_field_that_does_not_fit_is_named(fields, code, field):
    error = refused(**fields)
    assert (error.code, error.field) == (code, field)


def test_the_known_types_are_named():
    assert "rating, view" in refused(type="bought").detail


def test_a_clock_may_be_a_day_ahead():
    assert parse(timestamp="2024-05-02T12:00:00Z").timestamp == NOW + timedelta(days=1)


def test_files_are_held_against_the_real_clock():
    assert refused(now=None, timestamp=4_000_000_000).code == "future_timestamp"


ids = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=5)


@given(ids, ids, ids, ids, st.none() | st.integers(-5, 5))
def test_derived_ids_are_equal_for_equal_events_only(user, item, other_user, other_item, value):
    def id_of(user_id, item_id):
        return parse(now=None, user_id=user_id, item_id=item_id, value=value).event_id

    assert (id_of(user, item) == id_of(other_user, other_item)) == ((user, item) == (other_user, other_item))
    assert id_of(user, item).startswith("h")
    assert len(id_of(user, item)) == 33


def test_derived_ids_do_not_depend_on_how_a_value_is_written():
    written = [{"timestamp": 0, "value": 0}, {"timestamp": "1970-01-01T00:00:00Z", "value": -0.0}]
    assert len({parse(**fields).event_id for fields in written}) == 1


def test_derived_ids_never_change_between_releases():
    assert parse(value=1.5, timestamp=1_362_063_653).event_id == "hb7ce58b55df8604cf977f5aa29f74fb5"


scalars = st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(st.integers())
names = st.sampled_from(["event_id", "user_id", "item_id", "type", "value", "timestamp", "dwell_ms", "other"])


@given(st.dictionaries(names, scalars) | scalars)
def test_anything_is_either_an_event_or_refused(data):
    try:
        event = parse_event(data, TYPES, now=NOW)
    except InvalidInputError:
        return
    assert event.type in TYPES


@given(names, scalars)
def test_any_value_of_one_field_is_accepted_or_refused(name, value):
    try:
        parse(**{name: value})
    except InvalidInputError:
        return
