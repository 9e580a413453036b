"""What the events and users of every ledger must do, run over SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from ledger_fixtures import NOON, all_at_once, begin, delete, event, item, place, write
from sqlalchemy import text

from ingest.errors import InvalidInputError
from ingest.intake import MESSAGE_FORMAT, take_events, take_items
from ingest.queue import NoQueue
from ingest.settings import Settings
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.records import LoggedRecommendation
from ingest.store.schema import migrate
from ingest.store.tables import metadata
from ingest.weights import Votes
from tests.services import empty

VIEWS = Votes(types=frozenset({"view"}))


def history_ids(ledger: Ledger, user: str = "u", limit: int = 100) -> list[str]:
    return [entry.event.event_id for entry in ledger.events.history(user, "g", limit)]


def test_an_event_comes_back_as_it_went_in(ledger: Ledger) -> None:
    write(ledger, item("a"))
    whole = event(
        "e1", type="rating", value=4.5, timestamp=NOON + timedelta(microseconds=7), dwell_ms=9, recommendation_id="r"
    )
    bare = event("e2")

    assert ledger.events.add([whole, bare]) == 2

    assert list(ledger.events.for_user("u")) == [whole, bare]


def test_events_on_items_that_never_were_there_are_counted_and_those_on_deleted_items_are_not(ledger: Ledger) -> None:
    write(ledger, item("a"))
    write(ledger, item("gone"))
    delete(ledger, "gone")
    ledger.events.add([event("e1", item_id="a"), event("e2", item_id="gone"), event("e3", item_id="sku-a")])

    assert ledger.events.unmatched() == 1
    assert ledger.items.ever_there(["a", "gone", "sku-a"]) == {"a", "gone"}


def test_a_known_event_id_is_skipped(ledger: Ledger) -> None:
    first = event("e1", type="view")
    ledger.events.add([first])

    new = ledger.events.add([event("e1", type="purchase"), event("e2"), event("e2", type="like"), event("e3")])

    assert new == 2
    assert ledger.events.count() == 3
    assert {e.event_id: e.type for e in ledger.events.for_user("u")} == {"e1": "view", "e2": "like", "e3": "view"}


def test_producers_that_repeat_each_other_store_nothing_twice(ledger: Ledger) -> None:
    batch = [event(f"e{n}") for n in range(100)]

    results = all_at_once([lambda: ledger.events.add(batch)] * 4)

    assert not [result for result in results if isinstance(result, Exception)]
    assert ledger.events.count() == 100


def test_a_history_is_newest_first_and_without_times_in_order_of_arrival(ledger: Ledger) -> None:
    write(ledger, item("a"))
    ledger.events.add([event("t1", timestamp=NOON), event("none1"), event("t3", timestamp=NOON + timedelta(days=2))])
    ledger.events.add(
        [event("none2"), event("t2", timestamp=NOON + timedelta(days=1)), event("t1 too", timestamp=NOON)]
    )
    ledger.events.add([event("another's", user="v", timestamp=NOON)])

    assert history_ids(ledger) == ["t3", "t2", "t1 too", "t1", "none2", "none1"]
    assert history_ids(ledger, limit=2) == ["t3", "t2"]
    assert history_ids(ledger, "nobody") == []


def test_a_history_leaves_out_deleted_and_unknown_items_and_joins_them_later(ledger: Ledger) -> None:
    write(ledger, item("here"), item("gone"))
    ledger.events.add([event(f"e-{i}", item_id=i) for i in ("here", "gone", "not yet")])
    delete(ledger, "gone")
    assert history_ids(ledger) == ["e-here"]

    write(ledger, item("not yet"))

    assert history_ids(ledger) == ["e-not yet", "e-here"]
    assert [e.event_id for e in ledger.events.for_user("u")] == ["e-not yet", "e-gone", "e-here"]


def test_a_history_knows_which_version_stands_in_the_generation(ledger: Ledger) -> None:
    begin(ledger, "g")
    write(ledger, item("a"), item("b"))
    ledger.events.add([event("1", item_id="a"), event("2", item_id="b")])
    place(ledger, ["a"], "g")

    assert {e.event.item_id: e.version for e in ledger.events.history("u", "g", 10)} == {"a": 1, "b": None}
    assert {e.event.item_id: e.version for e in ledger.events.history("u", "other", 10)} == {"a": None, "b": None}


def test_events_sent_twice_at_once_in_different_orders_are_taken_once(ledger: Ledger) -> None:
    for n in range(3):
        batch = [event(f"{n}-{letter}{i}") for i in range(200) for letter in "aBé"]

        results = all_at_once(
            [lambda b=b: ledger.events.add(b) for b in (batch, batch[::-1], batch[300:] + batch[:300])]
        )

        assert not [result for result in results if isinstance(result, Exception)]
        assert ledger.events.count() == 600 * (n + 1)


def test_what_no_column_holds_is_refused_and_no_reason_to_try_again(postgres_url: str) -> None:
    migrate(postgres_url)
    with open_ledger(postgres_url) as ledger:
        with pytest.raises(InvalidInputError, match="too long") as refused:
            ledger.events.add([event("1"), event("2", recommendation_id="a secret" * 9)])

        assert refused.value.code == "does_not_fit"
        assert "a secret" not in str(refused.value.__cause__), "a traceback shows no parameters"
        assert ledger.events.count() == 0
    empty(postgres_url)


def test_what_does_not_fit_of_a_message_is_listed_among_the_rejects_and_holds_nothing_back(
    postgres_url: str, settings: Settings
) -> None:
    # given a database that holds less than this akin believes
    migrate(postgres_url)
    with open_ledger(postgres_url) as ledger:
        with ledger._database.write() as connection:
            connection.execute(text("ALTER TABLE events ALTER COLUMN event_id TYPE varchar(4)"))
            connection.execute(text("ALTER TABLE items ALTER COLUMN item_id TYPE varchar(4)"))
        events_ = [{"event_id": i, "user_id": "u", "item_id": "a", "type": "view"} for i in ("1", "too long", "2", "3")]
        items_ = [{"item_id": i, "title": "t"} for i in ("a", "b", "too long")]

        assert take_events(ledger, settings, events_, source="s", message_format=MESSAGE_FORMAT).accepted == 3
        assert take_items(ledger, NoQueue(), settings, items_, source="s", message_format=MESSAGE_FORMAT).accepted == 2

        assert (ledger.events.count(), ledger.items.count()) == (3, 2)
        assert {(reject.position, reject.code) for reject in ledger.rejects.list()} == {
            (1, "does_not_fit"),
            (2, "does_not_fit"),
        }
    empty(postgres_url)


def test_events_of_one_batch_arrive_in_its_order_whatever_their_ids(ledger: Ledger) -> None:
    ids = [f"{n * 7919 % 2_003:04}" for n in range(2_003)]
    write(ledger, *map(item, ids))

    ledger.events.add([event(i, item_id=i) for i in ids])
    ledger.events.add([event("again", item_id=ids[0]), event("0", item_id=ids[1])])

    assert [e.event_id for e in ledger.events.for_user("u")] == ["0", "again", *reversed(ids)]


def test_what_a_user_saw_is_distinct_and_most_recent_first(ledger: Ledger) -> None:
    times = [("a", 1), ("b", 2), ("c", 3), ("a", 4)]
    ledger.events.add([event(f"e{t}", item_id=i, timestamp=NOON + timedelta(hours=t)) for i, t in times])

    assert ledger.events.seen("u") == ["a", "c", "b"]
    assert ledger.events.seen("u", limit=1) == ["a"]


def test_popularity_counts_people_within_the_window_before_the_newest_event(ledger: Ledger) -> None:
    write(ledger, *map(item, ["new", "also new", "old", "gone", "disliked"]))
    ledger.events.add(
        [
            *[event(f"n{n}", user=f"u{n}", item_id="new", timestamp=NOON) for n in range(2)],
            *[event(f"again{n}", user="u0", item_id="also new", timestamp=NOON) for n in range(5)],
            *[event(f"o{n}", user=f"u{n}", item_id="old", timestamp=NOON - timedelta(days=9)) for n in range(9)],
            *[event(f"g{n}", user=f"u{n}", item_id="gone", timestamp=NOON) for n in range(9)],
            *[event(f"d{n}", user=f"u{n}", item_id="disliked", type="skip", timestamp=NOON) for n in range(9)],
        ]
    )
    delete(ledger, "gone")

    assert ledger.events.popular(7, 10, VIEWS) == [("new", 2.0), ("also new", 1.0)]
    assert ledger.events.popular(10, 10, VIEWS) == [("old", 9.0), ("new", 2.0), ("also new", 1.0)]
    assert ledger.events.popular(10, 1, VIEWS) == [("old", 9.0)]


@pytest.mark.parametrize("before", [NOON - timedelta(days=4_000), None])
def test_one_event_after_a_pause_does_not_make_all_others_old(ledger: Ledger, before: datetime | None) -> None:
    write(ledger, item("old"), item("first click"))
    ledger.events.add([event(f"o{n}", user=f"u{n}", item_id="old", timestamp=before) for n in range(200)])
    ledger.events.add([event("late", item_id="first click", timestamp=NOON)])

    assert ledger.events.present(VIEWS) == before
    assert ledger.events.popular(90, 10, VIEWS) == [("old", 200.0), ("first click", 1.0)]
    assert ledger.events.recent(7, 10, VIEWS) == [("old", 200.0), ("first click", 1.0)]

    ledger.events.add([event(f"now{n}", user=f"u{n}", item_id="first click", timestamp=NOON) for n in range(2)])
    assert ledger.events.present(VIEWS) == NOON, "a hundredth of all is enough to tell the time"


def test_a_rating_that_most_would_call_a_dislike_is_no_vote(ledger: Ledger) -> None:
    write(ledger, *map(item, ["loved", "hated", "viewed"]))
    ledger.events.add(
        [
            *[
                event(f"h{n}", user=f"u{n}", item_id="hated", type="rating", value=1.0, timestamp=NOON)
                for n in range(9)
            ],
            *[
                event(f"l{n}", user=f"u{n}", item_id="loved", type="rating", value=4.0, timestamp=NOON)
                for n in range(2)
            ],
            event("unrated", user="v", item_id="loved", type="rating", timestamp=NOON),
            event("v", item_id="viewed", value=1.0, timestamp=NOON),
        ]
    )
    votes = Votes(types=frozenset({"view", "rating"}), disliked={"rating": 1.5})

    assert ledger.events.popular(7, 10, votes) == [("loved", 3.0), ("viewed", 1.0)]
    assert ledger.events.recent(7, 10, votes) == [("loved", 3.0), ("viewed", 1.0)]


def test_popularity_without_any_time_counts_everything(ledger: Ledger) -> None:
    write(ledger, item("a"), item("b"))
    ledger.events.add([event("1", item_id="b", user="u"), event("2", item_id="b", user="v"), event("3", item_id="a")])

    assert ledger.events.popular(1, 10, VIEWS) == [("b", 2.0), ("a", 1.0)]


def test_recent_users_have_two_events_and_come_newest_first(ledger: Ledger) -> None:
    hours = [("early", 1), ("early", 2), ("late", 1), ("late", 3), ("once", 9)]
    ledger.events.add([event(f"{u}{h}", user=u, timestamp=NOON + timedelta(hours=h)) for u, h in hours])

    assert ledger.events.recent_users(10) == ["late", "early"]
    assert ledger.events.recent_users(1) == ["late"]


def test_deleting_a_user_leaves_a_tombstone_and_nothing_else(ledger: Ledger, ledger_url: str) -> None:
    ledger.events.add([event("1", user="Ann"), event("2", user="Ann"), event("3", user="Bob")])
    logged = LoggedRecommendation(
        recommendation_id="r",
        user_id="Ann",
        generation="g",
        strategy="s",
        item_ids=("a",),
        created_at=NOON,
        page=b'{"request": {"user_id": "Ann"}}',
    )
    ledger.recommendations.log([logged, logged])
    assert ledger.recommendations.page("r", NOON) == logged.page

    receipt = ledger.users.delete("Ann")

    assert (receipt.events, receipt.recommendations) == (2, 1)
    assert abs(datetime.now(UTC) - receipt.erased_at) < timedelta(minutes=5)
    assert list(ledger.events.for_user("Ann")) == []
    assert ledger.events.count() == 1
    assert ledger.users.deleted(["Ann", "Bob", "Cy"]) == {"Ann"}
    assert not mentions(ledger, "Ann")
    assert ledger.recommendations.page("r", NOON) is None
    with open_ledger(ledger_url) as again:  # the salt is the ledger's, not the process's
        assert again.users.deleted(["Ann"])


def test_the_answers_of_a_user_are_read_newest_first(ledger: Ledger) -> None:
    given = [
        LoggedRecommendation(
            recommendation_id=name,
            user_id=user,
            generation="g",
            strategy="blend",
            item_ids=("b", "a"),
            created_at=NOON + timedelta(minutes=minutes),
        )
        for name, user, minutes in (("r1", "ann", 0), ("r2", "ann", 2), ("r3", "bob", 3), ("r4", None, 4))
    ]
    ledger.recommendations.log(given)
    assert list(ledger.recommendations.for_user("ann")) == [given[1], given[0]]
    assert list(ledger.recommendations.for_user("nobody")) == []


def test_impressions_are_counted_over_the_latest_answers(ledger: Ledger) -> None:
    shown = [("a", "b"), ("b", "c"), ("b",)]
    ledger.recommendations.log(
        [
            LoggedRecommendation(
                recommendation_id=f"r{n}",
                user_id=None,
                generation="g",
                strategy="s",
                item_ids=item_ids,
                created_at=NOON + timedelta(minutes=n),
            )
            for n, item_ids in enumerate(shown)
        ]
    )

    assert ledger.recommendations.impressions(10) == {"a": 1, "b": 3, "c": 1}
    assert ledger.recommendations.impressions(2) == {"b": 2, "c": 1}


def test_a_page_is_known_until_its_time_is_over(ledger: Ledger) -> None:
    logged = LoggedRecommendation(
        recommendation_id="r",
        user_id=None,
        generation="g",
        strategy="s",
        item_ids=(),
        created_at=NOON,
        page=b"{}",
    )
    ledger.recommendations.log([logged, replace(logged, recommendation_id="none", page=None)])

    assert ledger.recommendations.page("r", NOON) == b"{}"
    assert ledger.recommendations.page("r", NOON + timedelta(seconds=1)) is None
    assert ledger.recommendations.page("none", NOON) is None
    ledger.recommendations.forget_pages_before(NOON + timedelta(seconds=1))
    assert ledger.recommendations.page("r", NOON) is None


def test_deleting_a_user_twice_or_an_unknown_one_is_no_error(ledger: Ledger) -> None:
    ledger.users.delete("Ann")

    receipt = ledger.users.delete("Ann")

    assert (receipt.events, receipt.recommendations) == (0, 0)


def mentions(ledger: Ledger, word: str) -> bool:
    """Whether any column of any table holds the word."""
    with ledger._database.read() as connection:
        rows = [row for table in metadata.sorted_tables for row in connection.execute(table.select())]
    return any(word in str(value) for row in rows for value in row)
