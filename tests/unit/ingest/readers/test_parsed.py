"""Rows become items and events, or errors that give nothing away; columns of no use are named."""

import time

import pytest
from reading import codes, events, items

from ingest.items import AttributeType
from ingest.mapping import load_mapping
from ingest.readers import Progress, RowError, read_events, read_items
from tests.reference import BOOK_ATTRIBUTES, MAPPINGS, MOVIE_ATTRIBUTES, reference_data


def test_reading_events_twice_gives_the_same_ids(file):
    path = file("a.csv", "user_id,item_id,event,value,timestamp\nu,i,view,,1362063653\nu,i,rating,4,\n,i,view,,\n")
    first, second = events(path), events(path)
    assert first == second
    assert len({row.value.event_id for row in first[:2]}) == 2
    assert first[2] == RowError(
        position=4, subject_id="i", code="user_id_missing", detail="user_id is missing: it must be a string"
    )


def test_a_refused_event_does_not_give_its_user_away(file):
    (error,) = events(file("a.jsonl", '{"user_id": "s3cret", "item_id": "i", "type": "nope"}'))
    assert "s3cret" not in repr(error)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "item_id,title,description,genre,year\n1,One,Long,x,1990\n"),
        (
            "a.jsonl",
            '{"item_id": "1", "title": "One", "genre": "x"}\n{"item_id": "2", "title": "Two", "description": 1}\n',
        ),
    ],
)
def test_columns_of_which_nothing_is_taken_are_named(file, name, content):
    progress = Progress()

    items(file(name, content), progress=progress)

    assert progress.ignored == {"description", "genre"}


def test_the_list_of_ignored_columns_stays_short():
    progress = Progress()

    progress.ignore([f"column {n}" for n in range(1_000)])
    progress.ignore(["x" * 1_000, "a\nb"])

    assert len(progress.ignored) == 20


@pytest.mark.parametrize(
    ("name", "attributes", "n_items", "n_events"),
    [("movies", MOVIE_ATTRIBUTES, 2_512, 54_569), ("books", BOOK_ATTRIBUTES, 10_000, 298_176)],
)
def test_the_reference_data_is_read_without_a_refused_row(name, attributes, n_items, n_events):
    folder = reference_data(name)
    item_mapping, event_mapping = load_mapping(MAPPINGS / f"{name}.toml")
    declared = {key: AttributeType(type_) for key, type_ in attributes.items()}
    catalogue = list(read_items(folder / "items.parquet", item_mapping, declared, max_text_chars=64_000))
    assert codes(catalogue) == {}
    assert len({row.value.item_id for row in catalogue}) == n_items
    ratings = list(read_events(folder / "events.parquet", event_mapping, {"rating"}))
    assert codes(ratings) == {}
    assert len({row.value.event_id for row in ratings}) == n_events


def test_a_small_catalogue_is_read_in_a_moment():
    path = reference_data("movies") / "items.parquet"
    mapping, _ = load_mapping(MAPPINGS / "movies.toml")
    declared = {key: AttributeType(type_) for key, type_ in MOVIE_ATTRIBUTES.items()}
    list(read_items(path, mapping, declared, max_text_chars=64_000))
    started = time.perf_counter()
    list(read_items(path, mapping, declared, max_text_chars=64_000))
    assert time.perf_counter() - started < 2  # measured 0.2 s; the rest is for a busy machine
