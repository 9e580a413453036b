"""Filters are read from JSON strictly, and mean in plain Python what every index must answer."""

from collections.abc import Callable
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.attributes import MAX_VALUE_CHARS, parse_value
from ingest.errors import InvalidInputError
from ingest.index.filter_parser import parse_filter
from ingest.index.filter_values import normal_scalar
from ingest.index.filters import (
    And,
    Exists,
    GeoRadius,
    In,
    Not,
    Or,
    Range,
    great_circle_metres,
    matches,
)
from ingest.items import AttributeType, parse_item

ATTRIBUTES = {
    "tag": AttributeType.KEYWORD,
    "year": AttributeType.INTEGER,
    "price": AttributeType.FLOAT,
    "free": AttributeType.BOOLEAN,
    "made": AttributeType.DATETIME,
    "place": AttributeType.GEO,
}


def refusal(tree: object) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as refused:
        parse_filter(tree, ATTRIBUTES)
    return refused.value


@pytest.mark.parametrize("tree", [None, {}])
def test_nothing_is_no_filter(tree: object) -> None:
    assert parse_filter(tree, ATTRIBUTES) is None


def test_a_tree_is_read_into_records() -> None:
    tree = {
        "and": [
            {"eq": {"tag": "poetry"}},
            {"or": [{"in": {"year": [1990, 1991]}}, {"not": {"exists": "price"}}]},
            {"gte": {"made": "2024-03-01T01:00:00+01:00"}},
            {"geo_radius": {"attribute": "place", "lat": 52, "lon": 13.5, "metres": 1000}},
        ]
    }

    assert parse_filter(tree, ATTRIBUTES) == And(
        parts=(
            In(attribute="tag", type=AttributeType.KEYWORD, values=("poetry",)),
            Or(
                parts=(
                    In(attribute="year", type=AttributeType.INTEGER, values=(1990, 1991)),
                    Not(part=Exists(attribute="price")),
                )
            ),
            Range(attribute="made", type=AttributeType.DATETIME, operator="gte", value="2024-03-01T00:00:00.000000Z"),
            GeoRadius(attribute="place", latitude=52.0, longitude=13.5, metres=1000.0),
        )
    )


@pytest.mark.parametrize(
    ("tree", "code"),
    [
        ([], "filter_malformed"),
        ("tag", "filter_malformed"),
        ({"eq": {"tag": "a"}, "in": {"tag": []}}, "filter_malformed"),
        ({"eq": {"tag": "a", "year": 1}}, "filter_malformed"),
        ({"eq": "tag"}, "filter_malformed"),
        ({"and": {"eq": {"tag": "a"}}}, "filter_malformed"),
        ({"and": [{}]}, "filter_malformed"),
        ({"not": [{"exists": "tag"}]}, "filter_malformed"),
        ({"in": {"tag": "a"}}, "filter_malformed"),
        ({"geo_radius": {"attribute": "place", "lat": 1, "lon": 1}}, "filter_malformed"),
        ({"regex": {"tag": ".*"}}, "unknown_operator"),
        ({"must": [{"key": "tag"}]}, "unknown_operator"),
        ({1: 2}, "unknown_operator"),
        ({"eq": {"colour": "red"}}, "undeclared_attribute"),
        ({"eq": {"item_id": "1"}}, "undeclared_attribute"),
        ({"exists": 3}, "undeclared_attribute"),
        ({"exists": ["tag"]}, "undeclared_attribute"),
        ({"geo_radius": {"attribute": {}, "lat": 1, "lon": 1, "metres": 1}}, "undeclared_attribute"),
        ({"eq": {"tag": 1}}, "filter_wrong_type"),
        ({"eq": {"tag": None}}, "filter_wrong_type"),
        ({"eq": {"tag": ["a"]}}, "filter_wrong_type"),
        ({"eq": {"tag": "a\0"}}, "filter_wrong_type"),
        ({"eq": {"tag": "\ud800"}}, "filter_wrong_type"),
        ({"gt": {"tag": "a"}}, "filter_wrong_type"),
        ({"gt": {"free": True}}, "filter_wrong_type"),
        ({"eq": {"year": True}}, "filter_wrong_type"),
        ({"eq": {"year": 1990.0}}, "filter_wrong_type"),
        ({"gt": {"year": 2**53 + 1}}, "filter_wrong_type"),
        ({"in": {"year": [1990, "1991"]}}, "filter_wrong_type"),
        ({"gt": {"price": float("nan")}}, "filter_wrong_type"),
        ({"lt": {"price": float("inf")}}, "filter_wrong_type"),
        ({"lt": {"price": 10**400}}, "filter_wrong_type"),
        ({"eq": {"price": True}}, "filter_wrong_type"),
        ({"eq": {"free": 1}}, "filter_wrong_type"),
        ({"eq": {"made": "yesterday"}}, "filter_wrong_type"),
        ({"eq": {"made": "20240101"}}, "filter_wrong_type"),
        ({"eq": {"made": "2024-13-01T00:00:00Z"}}, "filter_wrong_type"),
        ({"eq": {"made": "0001-01-01T00:00:00+10:00"}}, "filter_wrong_type"),
        ({"eq": {"made": 10**20}}, "filter_wrong_type"),
        ({"eq": {"made": True}}, "filter_wrong_type"),
        ({"eq": {"place": {"lat": 1, "lon": 1}}}, "filter_wrong_type"),
        ({"gte": {"place": 3}}, "filter_wrong_type"),
        ({"geo_radius": {"attribute": "year", "lat": 1, "lon": 1, "metres": 1}}, "filter_wrong_type"),
        ({"geo_radius": {"attribute": "place", "lat": 91, "lon": 1, "metres": 1}}, "filter_wrong_type"),
        ({"geo_radius": {"attribute": "place", "lat": 1, "lon": "1", "metres": 1}}, "filter_wrong_type"),
        ({"geo_radius": {"attribute": "place", "lat": 1, "lon": 1, "metres": 0}}, "filter_wrong_type"),
        ({"geo_radius": {"attribute": "place", "lat": 1, "lon": 1, "metres": float("nan")}}, "filter_wrong_type"),
        ({"and": [{"exists": "tag"}] * 65}, "filter_too_large"),
        ({"or": [{"and": []}] * 65}, "filter_too_large"),
        ({"in": {"year": list(range(257))}}, "filter_too_large"),
        ({"and": [{"or": [{"and": [{"or": [{"not": {"exists": "tag"}}]}]}]}]}, "filter_too_deep"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_stable_code(tree: object, code: str) -> None:
    assert refusal(tree).code == code


def test_the_limits_themselves_are_allowed() -> None:
    deepest = {"and": [{"or": [{"and": [{"not": {"in": {"year": list(range(256))}}}]}]}]}
    largest = {"and": [{"exists": "tag"}] * 64}

    assert parse_filter(deepest, ATTRIBUTES) is not None
    assert parse_filter(largest, ATTRIBUTES) is not None


@pytest.mark.parametrize("operator", ["and", "or", "not"])
def test_a_tree_of_any_depth_is_refused_without_exhausting_the_stack(operator: str) -> None:
    tree: object = {"exists": "tag"}
    for _ in range(100_000):
        tree = {operator: tree if operator == "not" else [tree]}

    assert refusal(tree).code == "filter_too_deep"


def test_an_undeclared_attribute_is_named_together_with_the_declared_ones() -> None:
    refused = refusal({"and": [{"eq": {"colour": "secret value"}}]})

    assert refused.detail == (
        "colour is not a declared attribute; declared: free, made, place, price, tag, year (later ones take a reindex)"
    )
    assert refused.field == "colour"


@pytest.mark.parametrize(
    "tree",
    [
        {"eq": {"year": "sesame"}},
        {"in": {"made": ["sesame"]}},
        {"sesame " * 20: {"tag": "a"}},
        {"eq": {"sesame\n": "a"}},
        {"sesame": "sesame"} | {"a": "b"},
        {"geo_radius": {"attribute": "place", "lat": "sesame", "lon": 1, "metres": 1}},
    ],
)
def test_a_refusal_never_repeats_what_was_sent(tree: object) -> None:
    refused = refusal(tree)

    assert "sesame" not in refused.detail
    assert "sesame" not in (refused.field or "")


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(sorted(ATTRIBUTES)),
    lambda part: (
        st.lists(part, max_size=3)
        | st.dictionaries(
            st.sampled_from(["and", "or", "not", "eq", "in", "gt", "exists", "geo_radius", *ATTRIBUTES])
            | st.text(max_size=3),
            part,
            max_size=2,
        )
    ),
    max_leaves=20,
)


@given(tree=json_like)
def test_any_json_is_a_filter_or_a_refusal(tree: object) -> None:
    try:
        parsed = parse_filter(tree, ATTRIBUTES)
    except InvalidInputError:
        return
    assert matches(parsed, {}) in (True, False)


# Meaning


@pytest.mark.parametrize(
    ("tree", "attributes", "expected"),
    [
        ({"eq": {"tag": "a"}}, {"tag": "a"}, True),
        ({"eq": {"tag": "a"}}, {"tag": ["b", "a"]}, True),
        ({"eq": {"tag": "a"}}, {"tag": "A"}, False),
        ({"eq": {"tag": "a"}}, {}, False),
        ({"not": {"eq": {"tag": "a"}}}, {}, True),
        ({"not": {"eq": {"tag": "a"}}}, {"tag": ["a", "b"]}, False),
        ({"in": {"year": []}}, {"year": 1}, False),
        ({"eq": {"free": False}}, {"free": False}, True),
        ({"eq": {"free": False}}, {}, False),
        ({"eq": {"price": 3}}, {"price": 3.0}, True),
        ({"gt": {"price": 1}}, {"price": [0.5, 1.5]}, True),
        ({"gt": {"price": 1}}, {"price": 1.0}, False),
        ({"gte": {"price": 1}}, {"price": 1}, True),
        ({"lt": {"year": 1990}}, {}, False),
        ({"lte": {"made": "2024-01-01T00:00:00Z"}}, {"made": "2024-01-01T01:00:00+01:00"}, True),
        ({"lt": {"made": "2024-01-01T00:00:00Z"}}, {"made": 1704067199}, True),
        ({"eq": {"made": 0}}, {"made": "1970-01-01t00:00:00z"}, True),
        ({"eq": {"made": "2024-01-01"}}, {"made": "2024-01-01T00:00:00Z"}, True),
        ({"lt": {"made": "2024-01-01T00:00"}}, {"made": "2023-12-31T23:59:59.999999Z"}, True),
        ({"in": {"made": [" 2024-01-01 01:00:00+0100 "]}}, {"made": "2024-01-01T00:00:00Z"}, True),
        ({"exists": "tag"}, {"tag": ""}, True),
        ({"exists": "tag"}, {"tag": []}, False),
        ({"exists": "free"}, {"free": False}, True),
        ({"and": []}, {}, True),
        ({"or": []}, {}, False),
        (None, {}, True),
        ({"geo_radius": {"attribute": "place", "lat": 52.5, "lon": 13.4, "metres": 900_000}}, {}, False),
    ],
)
def test_a_filter_means(tree: object, attributes: dict[str, object], expected: bool) -> None:
    assert matches(parse_filter(tree, ATTRIBUTES), attributes) is expected


def test_distances_are_great_circles() -> None:
    berlin, paris = (52.52, 13.405), (48.8566, 2.3522)

    assert great_circle_metres(berlin, paris) == pytest.approx(877_464, rel=1e-4)
    assert great_circle_metres((0, 180), (0, -180)) == pytest.approx(0, abs=1e-6)
    assert great_circle_metres((90, 0), (-90, 0)) == pytest.approx(20_015_115, rel=1e-6)


def test_a_circle_holds_what_lies_within_its_radius() -> None:
    def around_berlin(metres: float) -> object:
        return parse_filter(
            {"geo_radius": {"attribute": "place", "lat": 52.52, "lon": 13.405, "metres": metres}}, ATTRIBUTES
        )

    paris = {"place": {"lat": 48.8566, "lon": 2.3522}}
    assert matches(around_berlin(880_000), paris)
    assert not matches(around_berlin(870_000), paris)


@given(moments=st.lists(st.datetimes(timezones=st.timezones()), min_size=2, max_size=2))
def test_normal_datetimes_sort_like_time(moments: list) -> None:
    first, second = (normal_scalar(moment.isoformat(), AttributeType.DATETIME) for moment in moments)

    if first is not None and second is not None:  # zones with seconds in their offset are no RFC 3339
        assert (first < second) == (moments[0].astimezone(UTC) < moments[1].astimezone(UTC))


texts_like_times = st.from_regex(
    r"\A ?[0-9]{4}-[01][0-9]-[0-3][0-9]([Tt ][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?([Zz]|[+-][01][0-9]:?00)?)?\Z"
)


@given(time=texts_like_times | st.integers() | st.floats() | st.text(max_size=30))
def test_a_filter_takes_the_times_that_an_item_takes_and_means_the_same(time: object) -> None:
    item = {"item_id": "1", "title": "t", "attributes": {"made": time}}
    try:
        attributes = parse_item(item, ATTRIBUTES, max_text_chars=10).attributes
    except InvalidInputError:
        assert refusal({"eq": {"made": time}}).code == "filter_wrong_type"
        return

    assert matches(parse_filter({"eq": {"made": time}}, ATTRIBUTES), attributes)


parts_of_points = st.sampled_from([0, -90.0, 91, 180, -180.5, True, "1", None, float("nan"), 10**400])


@given(lat=parts_of_points, lon=parts_of_points)
def test_a_filter_takes_the_points_that_an_item_takes(lat: object, lon: object) -> None:
    item = {"item_id": "1", "title": "t", "attributes": {"place": {"lat": lat, "lon": lon}}}
    near = {"geo_radius": {"attribute": "place", "lat": lat, "lon": lon, "metres": 1}}
    try:
        attributes = parse_item(item, ATTRIBUTES, max_text_chars=10).attributes
    except InvalidInputError:
        assert refusal(near).code == "filter_wrong_type"
        return

    assert matches(parse_filter(near, ATTRIBUTES), attributes)


def test_a_time_that_does_not_fit_is_refused_with_those_that_would() -> None:
    assert refusal({"gte": {"made": "1 May"}}).detail == (
        "gte on the datetime attribute made needs a time like 2024-05-01T12:30:00Z, a date, or Unix seconds; "
        "no offset means UTC"
    )


@pytest.mark.parametrize(
    ("operator", "name", "made"),
    [("eq", "tag", lambda text: text), ("in", "tag", lambda text: ["a", text]), ("gt", "made", lambda text: text)],
)
def test_a_value_that_no_item_can_have_is_refused_by_its_attribute(
    operator: str, name: str, made: Callable[[str], Any]
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_filter({operator: {name: made("x" * (MAX_VALUE_CHARS + 1))}}, ATTRIBUTES)
    assert (refused.value.code, refused.value.field) == ("filter_too_large", name)
    assert str(MAX_VALUE_CHARS) in refused.value.detail


@pytest.mark.parametrize("text", ["x" * MAX_VALUE_CHARS, "\ufb2d" * (MAX_VALUE_CHARS // 3)])
def test_every_value_that_an_item_can_have_is_one_of_a_filter(text: str) -> None:
    stored = parse_value(text, AttributeType.KEYWORD, "tag")
    assert matches(parse_filter({"eq": {"tag": stored}}, ATTRIBUTES), {"tag": stored})


def test_a_value_that_would_be_stored_as_a_longer_one_is_refused() -> None:
    with pytest.raises(InvalidInputError) as refused:  # three characters in NFC
        parse_value("\ufb2d" * MAX_VALUE_CHARS, AttributeType.KEYWORD, "tag")
    assert refused.value.code == "attribute_too_long"
