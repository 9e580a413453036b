"""Messages from outside: good parts are submitted, bad ones are listed, and a bad message harms nobody."""

from typing import Any

import pytest

from ingest.errors import InvalidInputError
from ingest.intake import MESSAGE_FORMAT, parse_events, parse_items, read_message, take_events, take_items
from ingest.queue import NoQueue
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.submit import EventSubmission, Submission


@pytest.fixture
def ledger(sqlite_ledger: Ledger) -> Ledger:
    return sqlite_ledger


def take(ledger: Ledger, settings: Settings, data: Any, message_format: Any = MESSAGE_FORMAT) -> Submission | None:
    return take_items(ledger, NoQueue(), settings, data, source="test", message_format=message_format)


def rejects(ledger: Ledger) -> list[tuple[int, str | None, str]]:
    return [(r.position, r.subject_id, r.code) for r in reversed(ledger.rejects.list())]


def test_valid_items_are_taken_and_the_rest_is_listed(ledger: Ledger, settings: Settings) -> None:
    data = [
        {"item_id": "a", "title": "A"},
        {"title": "no id"},
        "no object",
        {"item_id": "b", "attributes": {"year": "no number"}, "title": "B"},
        {"item_id": "c", "title": "C", "attributes": {"year": 1990}},
    ]

    submission = take(ledger, settings, data)

    assert submission is not None
    assert submission.accepted == 2
    assert ledger.items.get_many("abc").keys() == {"a", "c"}
    positions = [(position, subject) for position, subject, _ in rejects(ledger)]
    assert positions == [(1, None), (2, None), (3, "b")]
    assert {r.source for r in ledger.rejects.list()} == {"test"}


def test_what_the_ledger_refuses_is_listed_by_its_place_in_the_message(ledger: Ledger, settings: Settings) -> None:
    take(ledger, settings, [{"item_id": "a", "title": "A", "version": 5}])

    take(ledger, settings, ["bad", {"item_id": "a", "title": "B", "version": 4}])

    assert [r for r in rejects(ledger) if r[2] == "stale_version"] == [(1, "a", "stale_version")]


@pytest.mark.parametrize(
    ("data", "message_format", "code"),
    [
        ([{"item_id": "a", "title": "A"}], 2, "message_format"),
        ([{"item_id": "a", "title": "A"}], None, "message_format"),
        ({"item_id": "a", "title": "A"}, 1, "wrong_type"),
        ("a", 1, "wrong_type"),
        (None, 1, "wrong_type"),
        (7, 1, "wrong_type"),
        ([{"item_id": "a", "title": "A"}] * 6, 1, "batch_too_large"),
    ],
)
def test_a_message_that_cannot_be_read_is_listed_as_a_whole(
    ledger: Ledger, settings: Settings, data: Any, message_format: Any, code: str
) -> None:
    small = settings.model_copy(update={"max_batch_items": 5})

    assert take(ledger, small, data, message_format) is None
    assert take_events(ledger, small, data, source="test", message_format=message_format) is None

    assert rejects(ledger) == [(0, None, code)] * 2
    assert ledger.items.count() == 0


def test_valid_events_are_taken_and_the_rest_is_listed(ledger: Ledger, settings: Settings) -> None:
    ledger.users.delete("Ann")
    good = {"user_id": "u", "item_id": "a", "type": "view", "timestamp": 1_700_000_000}
    data = [good, {**good, "type": "no such type"}, {**good, "user_id": "Ann"}, good, {**good, "item_id": None}]

    submission = take_events(ledger, settings, data, source="test", message_format=1)

    assert isinstance(submission, EventSubmission)
    assert (submission.accepted, submission.duplicates) == (2, 1)
    assert sorted((position, code) for position, _, code in rejects(ledger)) == [
        (1, "unknown_event_type"),
        (2, "user_deleted"),
        (4, "item_id_missing"),
    ]
    assert "Ann" not in repr(ledger.rejects.list())


def test_an_event_without_a_time_is_given_the_present(ledger: Ledger, settings: Settings) -> None:
    take_events(ledger, settings, [{"user_id": "u", "item_id": "a", "type": "view"}], source="s", message_format=1)

    [event] = ledger.events.for_user("u")
    assert event.timestamp is not None


@pytest.mark.parametrize("item_id", ["x" * 257, "line\nbreak", 7, ["a"], ""])
def test_an_unusable_id_is_not_repeated_in_the_list(settings: Settings, item_id: Any) -> None:
    _, _, [error] = parse_items(settings, [{"item_id": item_id, "title": "A"}])

    assert error.item_id in (None, item_id)
    assert error.item_id is None or error.item_id == ""
    _, _, [error] = parse_events(settings, [{"item_id": item_id, "user_id": "u", "type": "view"}], now=None)
    assert not error.item_id


def test_places_name_where_each_valid_part_stood(settings: Settings) -> None:
    items, places, errors = parse_items(
        settings, [0, {"item_id": "a", "title": "A"}, 0, {"item_id": "b", "title": "B"}]
    )

    assert [item.item_id for item in items] == ["a", "b"]
    assert places == [1, 3]
    assert [error.index for error in errors] == [0, 2]


def test_a_message_that_comes_again_counts_its_events_once(ledger: Ledger, settings: Settings) -> None:
    # given events without an id, and of two no time either
    event = {"user_id": "ada", "item_id": "x", "type": "purchase"}
    message = [event, {**event, "timestamp": 1_700_000_000}, "no event", event]

    # when a message is delivered three times, and another one like it once
    for message_id in ("m1", "m1", "m1", "m2"):
        take_events(ledger, settings, message, source="s", message_format=1, message_id=message_id)

    # then what has no time counts once for each message it stood in and each place there
    assert ledger.events.count() == 5


def test_an_event_s_own_id_is_kept_whatever_the_message_s(ledger: Ledger, settings: Settings) -> None:
    event = {"event_id": "mine", "user_id": "ada", "item_id": "x", "type": "purchase"}

    for message_id in ("m1", "m2"):
        take_events(ledger, settings, [event], source="s", message_format=1, message_id=message_id)

    assert [e.event_id for e in ledger.events.for_user("ada")] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "named", "read"),
    [
        ([["row"]], {}, (["row"], 1)),
        ([["row"], 2], {}, (["row"], 2)),
        ([], {"items": ["row"], "format": 2}, (["row"], 2)),
        ([["row"]], {"format": 2}, (["row"], 2)),
    ],
)
def test_a_message_holds_its_rows_by_place_or_by_name(arguments: Any, named: Any, read: Any) -> None:
    assert read_message("items", arguments, named) == read


@pytest.mark.parametrize(
    ("arguments", "named"),
    [([], {}), ([[], 1, 1], {}), ([[]], {"items": []}), ([], {"events": []}), ([[]], {"self": 1}), ([], {"a b": 1})],
)
def test_a_message_that_holds_anything_else_is_refused(arguments: Any, named: Any) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_message("items", arguments, named)

    assert refused.value.code == "arguments"
