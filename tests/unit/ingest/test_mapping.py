import pytest

from ingest.errors import InvalidInputError, SettingsError
from ingest.items import AttributeType
from ingest.mapping import EventMapping, ItemMapping, load_mapping
from ingest.readers.cells import event_data, item_data
from tests.reference import BOOK_ATTRIBUTES, MAPPINGS, MOVIE_ATTRIBUTES

DECLARED = {name: AttributeType(name) for name in ("keyword", "integer", "float", "boolean", "datetime", "geo")}


@pytest.fixture
def mapping_file(tmp_path):
    def write(text):
        path = tmp_path / "mapping.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_mapping_file_is_read(mapping_file):
    items, events = load_mapping(
        mapping_file(
            """
            [items]
            item_id = "asin"
            text = ["overview", "plot"]
            version = ""
            [items.attributes]
            year = "published"
            [items.separators]
            genres = "|"
            [events]
            user_id = "user"
            [events.constants]
            type = "rating"
            """
        )
    )
    assert items == ItemMapping(
        fields={"item_id": ("asin",), "text": ("overview", "plot"), "version": ()},
        attributes={"year": ("published",)},
        separators={"genres": "|"},
    )
    assert events == EventMapping(fields={"user_id": ("user",)}, constants={"type": "rating"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[item]\n", "item is none of items, events"),
        ("[items]\nname = 'x'", "name is none of item_id"),
        ("[items]\ntitle = 5", "items.title"),
        ("[items.separators]\ngenres = ''", "separators"),
        ("items = 5", "[items]"),
        ("[events]\nuser = 'x'", "user is none of event_id"),
        ("[events]\ntype = 'x'\n[events.constants]\ntype = 'y'", "type has both"),
        ("[items", "not TOML"),
    ],
)
def test_a_wrong_mapping_file_is_refused_with_its_fault(mapping_file, text, message):
    with pytest.raises(SettingsError) as caught:
        load_mapping(mapping_file(text))
    assert message in str(caught.value)


def test_a_mapping_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"absent\.toml"):
        load_mapping(tmp_path / "absent.toml")


def test_options_win_over_the_file_and_add_up():
    mapping = ItemMapping(fields={"title": ("old",)}).with_options(
        ["title=name", "text=overview", "text=plot", "attributes.year=published"]
    )
    assert mapping.fields == {"title": ("name",), "text": ("overview", "plot")}
    assert mapping.attributes == {"year": ("published",)}


def test_an_event_option_replaces_a_constant():
    mapping = EventMapping(constants={"type": "rating"}).with_options(["type=action"])
    assert (mapping.fields, mapping.constants) == ({"type": ("action",)}, {})


@pytest.mark.parametrize("option", ["title", "=x", "name=title", ""])
def test_an_option_that_cannot_be_read_is_refused(option):
    with pytest.raises(SettingsError):
        ItemMapping().with_options([option])


def test_fields_come_from_columns_of_their_own_names():
    data = item_data(ItemMapping(), DECLARED)
    row = {"item_id": 7, "title": "t", "text": "x", "categories": ["a"], "integer": "5", "other": "ignored"}
    assert data(row) == {
        "item_id": "7",
        "title": "t",
        "text": "x",
        "categories": ["a"],
        "attributes": {"integer": 5},
        "version": None,
    }


def test_texts_are_joined_and_categories_merged():
    mapping = ItemMapping(
        fields={"text": ("a", "b", "c"), "categories": ("genres", "tags")}, separators={"genres": "|"}
    )
    data = item_data(mapping, {})({"item_id": "1", "a": "x", "b": "", "c": "y", "genres": "p | q|", "tags": ["r"]})
    assert data["text"] == "x\ny"
    assert data["categories"] == ["p", "q", "r"]


def test_a_row_in_the_shape_of_the_api_is_taken_as_it_is():
    data = item_data(ItemMapping(), DECLARED)({"item_id": "1", "attributes": {"keyword": "a"}, "integer": 3})
    assert data["attributes"] == {"keyword": "a", "integer": 3}


@pytest.mark.parametrize(
    ("name", "cell", "expected"),
    [
        ("integer", "5", 5),
        ("integer", "2008.0", 2008.0),
        ("integer", "many", "many"),
        ("integer", "9" * 5_000, "9" * 5_000),
        ("float", " -1.5e3 ", -1500.0),
        ("float", "nan", "nan"),
        ("boolean", "True", True),
        ("boolean", "no", False),
        ("datetime", "1700000000", 1_700_000_000),
        ("datetime", "2024-01-01", "2024-01-01"),
        ("keyword", 9780439023480, "9780439023480"),
        ("geo", "52.5, 13.4", {"lat": 52.5, "lon": 13.4}),
    ],
)
def test_cells_are_converted_to_the_declared_type(name, cell, expected):
    converted = item_data(ItemMapping(), DECLARED)({"item_id": "1", name: cell})["attributes"][name]
    assert converted == expected
    assert type(converted) is type(expected)


def test_cells_with_separators_become_lists_of_the_declared_type():
    data = item_data(ItemMapping(separators={"integer": ";"}), DECLARED)({"item_id": "1", "integer": "1;2; 3"})
    assert data["attributes"] == {"integer": [1, 2, 3]}


def test_empty_cells_are_absent():
    data = item_data(ItemMapping(), DECLARED)({"item_id": "1", "integer": "", "keyword": None, "title": ""})
    assert data["attributes"] == {}
    assert data["title"] is None


@pytest.mark.parametrize(
    ("id_", "expected"), [(12, "12"), (12.0, "12"), (12.5, 12.5), (2.0**60, 2.0**60), (True, True)]
)
def test_only_exact_whole_numbers_become_ids(id_, expected):
    assert item_data(ItemMapping(), {})({"item_id": id_})["item_id"] == expected


def test_event_cells_are_converted_and_the_column_event_serves_as_type():
    row = {"user_id": 1, "item_id": 2, "event": "view", "timestamp": "1362063653", "value": "2.5", "dwell_ms": "9"}
    data = {name: value for name, value in event_data(EventMapping())(row).items() if value is not None}
    assert data == {
        "user_id": "1",
        "item_id": "2",
        "type": "view",
        "timestamp": 1_362_063_653,
        "value": 2.5,
        "dwell_ms": 9,
    }


def test_a_constant_holds_for_every_row():
    convert = event_data(EventMapping(constants={"type": "rating"}))
    assert convert({"user_id": "u", "item_id": "i", "type": "other"})["type"] == "rating"


def test_columns_that_are_missing_are_named():
    with pytest.raises(InvalidInputError, match="title is mapped to the column name") as caught:
        ItemMapping(fields={"title": ("name",)}).check(["item_id", "titel"])
    assert "titel" in caught.value.detail
    with pytest.raises(InvalidInputError, match="no column user_id"):
        EventMapping().check(["item_id", "type"])
    EventMapping(constants={"type": "view"}).check(["item_id", "user_id"])


@pytest.mark.parametrize(("name", "attributes"), [("movies", MOVIE_ATTRIBUTES), ("books", BOOK_ATTRIBUTES)])
def test_the_mappings_of_the_reference_data_fit_their_attributes(name, attributes):
    items, _ = load_mapping(MAPPINGS / f"{name}.toml")
    assert set(items.attributes) == set(attributes)
