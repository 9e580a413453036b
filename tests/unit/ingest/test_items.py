import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import InvalidInputError
from ingest.index.filter_values import normal_scalar
from ingest.items import AttributeType, Item, check_id, item_from_json, item_to_json, parse_item

DECLARED = {name: AttributeType(name) for name in ("keyword", "integer", "float", "boolean", "datetime", "geo")}
DECLARED["categories"] = AttributeType.KEYWORD


def parse(max_text_chars=1_000, **fields):
    return parse_item({"item_id": "1", "title": "t", **fields}, DECLARED, max_text_chars=max_text_chars)


def refused(max_text_chars=1_000, **fields):
    with pytest.raises(InvalidInputError) as caught:
        parse(max_text_chars, **fields)
    assert caught.value.detail
    return caught.value


def attribute(name, value):
    return parse(attributes={name: value}).attributes[name]


def test_a_whole_item_is_read():
    item = parse(
        item_id="a/b %2F c", title=" <b>Emma</b>\n", text="One\n\ntwo", categories=["x", "x", " ", "y"], version=3
    )
    assert item == Item(item_id="a/b %2F c", title="Emma", text="One\ntwo", categories=("x", "y"), version=3)


def test_one_category_may_come_without_a_list():
    assert parse(categories="poetry").categories == ("poetry",)


def test_null_counts_as_absent():
    item = parse(text=None, categories=None, attributes=None, version=None)
    assert item == Item(item_id="1", title="t")


@pytest.mark.parametrize("id_", ["a", "ä/ö", "50 %", "../etc", "日本", " padded ", "x" * 256])
def test_printable_ids_pass_unchanged(id_):
    assert check_id(id_, "item_id") == id_


@pytest.mark.parametrize(
    ("id_", "code"),
    [
        (None, "item_id_missing"),
        ("", "item_id_missing"),
        ("   ", "item_id_missing"),
        (7, "wrong_type"),
        (True, "wrong_type"),
        ("x" * 257, "item_id_too_long"),
        ("x" * 300, "item_id_too_long"),
        ("a\x00b", "item_id_unprintable"),
        ("a\nb", "item_id_unprintable"),
        ("a\ud800", "item_id_unprintable"),
        ("a\u202eb", "item_id_unprintable"),
    ],
)
def test_other_ids_are_refused(id_, code):
    error = refused(item_id=id_)
    assert (error.code, error.field) == (code, "item_id")


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"title": 5}, "wrong_type", "title"),
        ({"title": "x" * 2_001}, "title_too_long", "title"),
        ({"text": ["x"]}, "wrong_type", "text"),
        ({"text": "x" * 1_001}, "text_too_long", "text"),
        ({"categories": [1]}, "wrong_type", "categories"),
        ({"categories": {"a": 1}}, "wrong_type", "categories"),
        ({"categories": ["x"] * 101}, "too_many", "categories"),
        ({"categories": ["x" * 257]}, "category_too_long", "categories"),
        ({"attributes": [1]}, "wrong_type", "attributes"),
        ({"attributes": {f"a{i}": 1 for i in range(101)}}, "too_many", "attributes"),
        ({"attributes": {"": 1}}, "attribute_name", "attributes"),
        ({"attributes": {"x" * 65: 1}}, "attribute_name", "attributes"),
        ({"attributes": {"a\x00": 1}}, "attribute_name", "attributes"),
        ({"attributes": {"categories": ["x"]}}, "attribute_name", "attributes"),
        ({"attributes": {"tags": ["x"] * 101}}, "too_many", "attributes.tags"),
        ({"attributes": {"tags": "x" * 8_193}}, "attribute_too_long", "attributes.tags"),
        ({"price": 5}, "unknown_field", "price"),
        ({"version": -1}, "version", "version"),
        ({"version": True}, "version", "version"),
        ({"version": 2**63}, "version", "version"),
        ({"version": 2**62 + 1}, "version", "version"),
        ({"version": "1"}, "version", "version"),
    ],
)
def test_a_field_that_does_not_fit_is_named(fields, code, field):
    error = refused(**fields)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize("title", ["", " \n", "\x00", "<b></b>", "\ud800"])
def test_an_item_with_nothing_to_embed_is_refused(title):
    assert refused(title=title, text=None, categories=[" "]).code == "item_empty"


@pytest.mark.parametrize("data", [None, [], "x", 5])
def test_only_objects_are_items(data):
    with pytest.raises(InvalidInputError) as caught:
        parse_item(data, {}, max_text_chars=10)
    assert caught.value.code == "wrong_type"


def test_a_text_that_is_too_long_is_refused_before_any_work():
    assert refused(text="<div>" * 200_000).code == "text_too_long"
    assert parse(1_000_000, text="word " * 200_000).text.startswith("word word")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("keyword", "e\u0301\x00", "\u00e9"),
        ("keyword", ["a", "b"], ["a", "b"]),
        ("integer", 1990.0, 1990),
        ("integer", [1, 2.0], [1, 2]),
        ("integer", [2**53, -(2**53)], [2**53, -(2**53)]),
        ("float", 3, 3.0),
        ("float", [1, 2.5], [1.0, 2.5]),
        ("boolean", False, False),
        ("datetime", "2024-05-01T12:30:00+02:00", "2024-05-01T10:30:00Z"),
        ("datetime", "1995-12-22", "1995-12-22T00:00:00Z"),
        ("datetime", "2024-05-01 12:30:00.250", "2024-05-01T12:30:00.250000Z"),
        ("datetime", 0, "1970-01-01T00:00:00Z"),
        ("datetime", 20_241_301, "1970-08-23T06:35:01Z"),
        ("datetime", -86_400.0, "1969-12-31T00:00:00Z"),
        ("geo", {"lat": 52, "lon": 13.4}, {"lat": 52.0, "lon": 13.4}),
        ("undeclared", [1, "a", True], [1, "a", True]),
        ("undeclared", 1.5, 1.5),
        ("undeclared", -(2**63), -(2**63)),
    ],
)
def test_attributes_are_normalised(name, value, expected):
    parsed = attribute(name, value)
    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("keyword", 5),
        ("keyword", ["a", 5]),
        ("keyword", {"a": "b"}),
        ("integer", "5"),
        ("integer", 5.5),
        ("integer", True),
        ("integer", 2**53 + 1),
        ("integer", [1, -(2**53) - 1]),
        ("integer", 1e300),
        ("float", "1.5"),
        ("float", True),
        ("float", 10**400),
        ("boolean", 1),
        ("boolean", [True]),
        ("datetime", "yesterday"),
        ("datetime", "2024-02-30"),
        ("datetime", "20240101"),
        ("datetime", 20_240_101),
        ("datetime", "9999-12-31T23:59:59-10:00"),
        ("datetime", 1_700_000_000_000),
        ("datetime", True),
        ("geo", {"lat": 91, "lon": 0}),
        ("geo", {"lat": 1}),
        ("geo", [1, 2]),
        ("undeclared", {"a": {"b": 1}}),
        ("undeclared", [[1]]),
        ("undeclared", [None]),
        ("undeclared", 2**63),
    ],
)
def test_attributes_of_another_type_are_refused_by_name(name, value):
    error = refused(attributes={name: value})
    assert (error.code, error.field) == ("attribute_wrong_type", f"attributes.{name}")


def test_an_integer_that_no_index_compares_exactly_is_refused_with_what_to_do():
    assert refused(attributes={"integer": 2**53 + 1}).detail == (
        "attributes.integer must be an integer within 2^53 of zero, or a list of them; longer identifiers are keywords"
    )


scalar_types = sorted(DECLARED.keys() - {"geo", "categories"})


@given(st.sampled_from(scalar_types), st.integers(-(2**54), 2**54) | st.floats() | st.text() | st.booleans())
def test_what_is_taken_of_a_declared_attribute_is_what_the_index_takes(name, value):
    try:
        taken = attribute(name, value)
    except InvalidInputError:
        return
    assert normal_scalar(taken, DECLARED[name]) is not None


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["integer", "float", "undeclared"])
def test_numbers_must_be_finite(name, number):
    assert refused(attributes={name: number}).code == "not_finite"
    assert refused(attributes={name: [1.0, number]}).code == "not_finite"


def test_absent_attributes_leave_no_trace():
    assert parse(attributes={"keyword": None, "integer": []}).attributes == {}


def test_deeply_nested_attributes_are_refused():
    nested = []
    for _ in range(900):
        nested = [nested]
    assert refused(attributes={"undeclared": nested}).code == "attribute_wrong_type"


def test_an_error_never_repeats_the_value():
    for fields in ({"title": "s3cret" * 1_000}, {"attributes": {"integer": "s3cret"}}, {"s3cret value": 1}):
        assert "s3cret" not in str(refused(**fields))


scalars = st.text() | st.integers() | st.floats() | st.booleans() | st.none()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
fields = st.sampled_from(["item_id", "title", "text", "categories", "attributes", "version", "other"])


@given(st.dictionaries(fields, values) | values)
def test_anything_is_either_an_item_or_refused(data):
    try:
        item = parse_item(data, DECLARED, max_text_chars=100)
    except InvalidInputError:
        return
    assert item_from_json(orjson.loads(orjson.dumps(item_to_json(item)))) == item


@given(
    st.dictionaries(st.sampled_from(sorted(DECLARED.keys() - {"categories"})), scalars | st.lists(scalars)),
    st.text(st.characters(codec=None)),
)
def test_what_was_read_is_read_the_same_again(attributes, text):
    data = {"item_id": "1", "title": "t", "text": text, "attributes": attributes}
    try:
        item = parse_item(data, DECLARED, max_text_chars=10_000)
    except InvalidInputError:
        return
    assert parse_item(item_to_json(item), DECLARED, max_text_chars=10_000) == item


def test_stored_items_come_back_whole():
    item = parse(categories=["a"], attributes={"integer": 1, "geo": {"lat": 1, "lon": 2}}, version=4)
    assert item_from_json(json.loads(json.dumps(item_to_json(item)))) == item
