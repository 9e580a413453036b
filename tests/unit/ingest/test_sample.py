"""The sample catalogue is what it says: distinct items, known readers, and events that a fresh draw repeats."""

import html
import json
import re
from collections import Counter
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import pytest

from ingest.sample import ATTRIBUTES, EVENTS
from ingest.sample.draw import draw_events, read_items, read_readers

TYPES = {"view", "click", "read", "like", "dislike", "rating", "purchase"}
PYTHON_TYPES = {"keyword": str, "integer": int, "float": float}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def items() -> Rows:
    return read_items()


@pytest.fixture(scope="module")
def readers() -> Rows:
    return read_readers()


@pytest.fixture(scope="module")
def events() -> Rows:
    return [json.loads(line) for line in EVENTS.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def kind_of(items: Rows) -> dict[str, str]:
    return {item["item_id"]: item["categories"][0] for item in items}


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", re.sub(r"<[^>]+>", " ", html.unescape(text)).lower()))


def is_positive(event: dict[str, Any]) -> bool:
    return event["type"] in {"read", "like", "purchase"} or event.get("value", 0) >= 4


def test_there_are_about_240_items_with_unique_ids_and_titles(items):
    assert 230 <= len(items) <= 250
    assert len({item["item_id"] for item in items}) == len(items)
    assert len({item["title"] for item in items}) == len(items)


def test_item_ids_are_slugs(items):
    assert [item["item_id"] for item in items if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", item["item_id"])] == []


def test_every_kind_has_at_least_eighteen_items(items):
    kinds = Counter(item["categories"][0] for item in items)
    assert len(kinds) == 12
    assert min(kinds.values()) >= 18


def test_every_finer_category_is_shared(items):
    finer = Counter(category for item in items for category in item["categories"][1:])
    assert [category for category, count in finer.items() if count < 2] == []
    assert all(2 <= len(item["categories"]) <= 3 for item in items)


def test_every_item_carries_the_declared_attributes(items):
    for item in items:
        attributes = item["attributes"]
        assert attributes.keys() == ATTRIBUTES.keys()
        assert all(type(attributes[name]) is PYTHON_TYPES[declared] for name, declared in ATTRIBUTES.items())
        assert attributes["kind"] in {"book", "film"}
        assert 1960 <= attributes["year"] <= 2026


def test_every_text_has_35_to_75_words(items):
    lengths = {item["item_id"]: len(item["text"].split()) for item in items}
    assert {item_id: n for item_id, n in lengths.items() if not 35 <= n <= 75} == {}


def test_no_two_texts_share_half_of_their_words(items):
    bags = {item["item_id"]: words(item["text"]) for item in items}
    alike = [(a, b) for a, b in combinations(bags, 2) if len(bags[a] & bags[b]) > min(len(bags[a]), len(bags[b])) / 2]
    assert alike == []


def test_some_texts_need_cleaning(items):
    texts = " ".join(item["text"] for item in items)
    assert re.search(r"<\w+>", texts)
    assert "&amp;" in texts
    assert '"' in texts
    assert not texts.isascii()


def test_sixty_readers_like_and_dislike_known_kinds(readers, kind_of):
    kinds = set(kind_of.values())
    assert len({reader["user_id"] for reader in readers}) == 60
    for reader in readers:
        dislikes = set(reader.get("dislikes", []))
        assert reader.keys() <= {"user_id", "likes", "dislikes", "activity"}
        assert 1 <= len(reader["likes"]) <= 3
        assert kinds >= reader["likes"].keys() | dislikes
        assert not dislikes & reader["likes"].keys()
        assert 6 <= reader["activity"] <= 40


def test_stored_events_equal_a_fresh_draw(items, readers, events):
    assert events == draw_events(items, readers)


def test_another_seed_draws_other_events(items, readers, events):
    assert events != draw_events(items, readers, seed=1)


def test_a_further_reader_leaves_the_others_events_alone(items, readers):
    def of_others(rows: Rows) -> Rows:
        return [{**row, "event_id": ""} for row in rows if row["user_id"] != "reader-61"]

    newcomer = {"user_id": "reader-61", "likes": {"poetry": 1.0}, "activity": 9}
    assert of_others(draw_events(items, [*readers, newcomer])) == of_others(draw_events(items, readers))


def test_events_name_known_items_readers_and_types(events, readers, kind_of):
    assert {event["item_id"] for event in events} <= kind_of.keys()
    assert Counter(event["user_id"] for event in events) == {r["user_id"]: r["activity"] for r in readers}
    assert {event["type"] for event in events} == TYPES


def test_events_are_numbered_in_order_of_time(events):
    times = [datetime.fromisoformat(event["timestamp"]) for event in events]
    assert times == sorted(times)
    assert datetime(2026, 5, 1, tzinfo=UTC) <= times[0] < times[-1] <= datetime(2026, 11, 15, tzinfo=UTC)
    assert [event["event_id"] for event in events] == [f"sample-{n:05d}" for n in range(1, len(events) + 1)]


def test_later_events_are_more_frequent(events):
    middle = datetime(2026, 8, 8, tzinfo=UTC)
    later = sum(datetime.fromisoformat(event["timestamp"]) > middle for event in events)
    assert later > 0.6 * len(events)


def test_only_ratings_have_a_value_and_it_is_one_to_five(events):
    assert {event["value"] for event in events if event["type"] == "rating"} <= {1, 2, 3, 4, 5}
    assert all("value" not in event for event in events if event["type"] != "rating")


def test_each_readers_positive_events_are_mostly_of_liked_kinds(events, readers, kind_of):
    likes = {reader["user_id"]: reader["likes"] for reader in readers}
    positive = [event for event in events if is_positive(event)]
    total = Counter(event["user_id"] for event in positive)
    liked = Counter(e["user_id"] for e in positive if kind_of[e["item_id"]] in likes[e["user_id"]])
    assert total.keys() == likes.keys()
    assert {user_id for user_id in total if liked[user_id] < 0.7 * total[user_id]} == set()
    assert liked.total() >= 0.9 * total.total()


def test_dislikes_and_low_ratings_fall_on_disliked_kinds(events, readers, kind_of):
    dislikes = {reader["user_id"]: reader.get("dislikes", []) for reader in readers}
    negative = [e for e in events if e["type"] == "dislike" or e.get("value", 5) < 3]
    assert negative
    assert all(kind_of[event["item_id"]] in dislikes[event["user_id"]] for event in negative)


def test_within_a_kind_a_few_items_draw_most_events(events, kind_of):
    for kind in set(kind_of.values()):
        counts = Counter(event["item_id"] for event in events if kind_of[event["item_id"]] == kind)
        top_five = sum(count for _, count in counts.most_common(5))
        assert top_five > 1.3 * counts.total() * 5 / 20
