"""What the items of every ledger must do, run over SQLite and PostgreSQL."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledger_fixtures import all_at_once, begin, delete, due, item, place, write

from ingest.items import Item
from ingest.store.ledger import Ledger, open_ledger


def test_a_new_item_is_stored_and_pending(ledger: Ledger) -> None:
    whole = Item(
        item_id="ä 1/?",
        title="T",
        text="x\ny",
        categories=("p", "q"),
        attributes={"year": 1990, "at": {"lat": 1.5, "lon": 2}},
    )

    assert write(ledger, whole) == ["changed"]

    stored = ledger.items.get("ä 1/?")
    assert stored is not None
    assert stored.item == whole
    assert (stored.version, stored.deleted_at) == (1, None)
    assert abs(datetime.now(UTC) - stored.updated_at) < timedelta(minutes=5)
    assert due(ledger) == ["ä 1/?"]


def test_an_equal_item_is_unchanged_and_not_pending(ledger: Ledger) -> None:
    begin(ledger, "g")
    write(ledger, item("a"))
    place(ledger, ["a"], "g")

    assert write(ledger, item("a")) == ["unchanged"]
    assert ledger.pending.count() == 0


def test_a_change_without_a_version_counts_up(ledger: Ledger) -> None:
    write(ledger, item("a", "one"))

    outcomes = ledger.items.write([item("a", "two")], job_id="j", revive=False, due_in=0)

    assert [(w.outcome, w.version) for w in outcomes] == [("changed", 2)]


@pytest.mark.parametrize(
    ("version", "text", "outcome"),
    [
        (6, "new", "changed"),
        (5, "new", "stale"),
        (4, "new", "stale"),
        (0, "new", "stale"),
        (5, "old", "unchanged"),
        (4, "old", "stale"),
        (6, "old", "changed"),
        (None, "new", "changed"),
        (None, "old", "unchanged"),
    ],
)
def test_only_a_newer_version_replaces(ledger: Ledger, version: int | None, text: str, outcome: str) -> None:
    write(ledger, item("a", "old", version=5))

    assert write(ledger, item("a", text, version=version)) == [outcome]

    stored = ledger.items.get("a")
    assert stored is not None
    assert stored.item.text == (text if outcome == "changed" else "old")
    assert stored.version == (5 if outcome != "changed" else version or 6)


def test_an_item_whose_version_cannot_grow_is_stale_and_harms_no_other(ledger: Ledger) -> None:
    write(ledger, item("a", "old", version=2**63 - 1))

    assert write(ledger, item("good"), item("a", "new")) == ["changed", "stale"]
    assert delete(ledger, "a", "good") == ["stale", "changed"]

    stored = ledger.items.get("a")
    assert stored is not None
    assert (stored.item.text, stored.version, stored.deleted_at) == ("old", 2**63 - 1, None)


def test_the_highest_version_that_may_be_sent_can_be_changed_and_deleted(ledger: Ledger) -> None:
    write(ledger, item("a", "old", version=2**62))

    assert write(ledger, item("a", "new")) == ["changed"]
    assert delete(ledger, "a") == ["changed"]
    assert write(ledger, item("a", "back"), revive=True) == ["changed"]


def test_the_same_item_twice_in_a_batch_ends_as_its_last(ledger: Ledger) -> None:
    outcomes = write(
        ledger, item("a", "one"), item("b"), item("a", "two"), item("a", "two"), item("a", "three", version=1)
    )

    assert outcomes == ["changed", "changed", "changed", "unchanged", "stale"]
    stored = ledger.items.get("a")
    assert stored is not None
    assert (stored.item.text, stored.version) == ("two", 2)


def test_a_deleted_item_keeps_no_text(ledger: Ledger) -> None:
    write(ledger, item("a", "secret"))

    assert delete(ledger, "a", "never there", "a") == ["changed", "unchanged"]

    stored = ledger.items.get("a")
    assert stored is not None
    assert stored.deleted_at is not None
    assert (stored.item, stored.version) == (Item(item_id="a"), 2)
    assert ledger.items.get_many(["a"]) == {}
    assert list(ledger.items.get_many(["a"], deleted=True)) == ["a"]
    assert ledger.items.count() == 0
    assert list(ledger.items.pages()) == []
    assert delete(ledger, "a") == ["unchanged"]


def test_what_is_deleted_is_known_wherever_its_removal_stands(ledger: Ledger) -> None:
    begin(ledger, "g")
    write(ledger, item("placed"), item("aside"), item("waits"), item("back"), item("there"))
    delete(ledger, "placed", "aside", "waits", "back")
    place(ledger, ["placed"], "g")
    claim = ledger.pending.claim(["aside"], lease="l", seconds=60)
    ledger.pending.put_aside(claim, {"aside": "the index refuses it"})
    write(ledger, item("back"), revive=True)

    asked = ["placed", "aside", "waits", "back", "there", "never there"]

    assert ledger.items.deleted(asked) == {"placed", "aside", "waits"}
    assert ledger.items.deleted([*asked, *map(str, range(3_000))]) == {"placed", "aside", "waits"}
    assert ledger.items.deleted([]) == set()


def test_whether_items_are_deleted_is_looked_up_among_those_that_are(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger, ledger._database.read() as connection:
        asked = "SELECT item_id FROM items WHERE deleted_at IS NOT NULL AND item_id IN ('a', 'b')"
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}")]

    assert plan == ["SEARCH items USING INDEX items_deleted (item_id=?)"]


def test_headings_name_what_is_there(ledger: Ledger) -> None:
    write(
        ledger,
        Item(item_id="a", title="A", categories=("p", "q")),
        Item(item_id="b", text="no title"),
        Item(item_id="c", title="C"),
    )
    delete(ledger, "c")

    assert ledger.items.headings(["a", "b", "c", "never there"]) == {"a": ("A", "p"), "b": ("", None)}


@pytest.mark.parametrize(
    ("text", "version", "revive", "outcome"),
    [
        ("old", None, False, "deleted"),
        ("new", None, False, "deleted"),
        ("old", None, True, "changed"),
        ("old", 5, False, "stale"),
        ("old", 6, False, "stale"),
        ("old", 6, True, "stale"),
        ("old", 7, False, "changed"),
        ("new", 7, True, "changed"),
    ],
)
def test_a_deleted_item_comes_back_only_by_version_or_on_purpose(
    ledger: Ledger, text: str, version: int | None, revive: bool, outcome: str
) -> None:
    write(ledger, item("a", "old", version=5))
    delete(ledger, "a")  # version 6

    assert write(ledger, item("a", text, version=version), revive=revive) == [outcome]
    assert ledger.items.count() == (outcome == "changed")


def test_pages_hold_every_item_once(ledger: Ledger) -> None:
    ids = [f"{prefix}{n}" for prefix in ("a", "B", "é", "本", "_", " ") for n in range(7)]
    write(ledger, *map(item, ids))
    delete(ledger, "a0")

    pages = list(ledger.items.pages(size=5))

    found = [row.item.item_id for page in pages for row in page]
    assert sorted(found) == sorted(set(ids) - {"a0"})
    assert all(len(page) <= 5 for page in pages)


def test_many_ids_are_read_and_written_in_one_call(ledger: Ledger) -> None:
    ids = [f"i{n}" for n in range(2_500)]

    outcomes = write(ledger, *map(item, ids))

    assert outcomes == ["changed"] * len(ids)
    assert len(ledger.items.get_many(ids)) == len(ids)
    assert len(ledger.pending.claim(ids, lease="l", seconds=60).attempts) == len(ids)


def test_writers_of_one_new_item_do_not_overwrite_each_other_unseen(ledger: Ledger) -> None:
    for n in range(10):
        ids = [f"{n}-{i}" for i in range(5)]
        batches = [[item(i, f"text {w}") for i in (ids if w % 2 else reversed(ids))] for w in range(4)]

        results = all_at_once([lambda batch=batch: write(ledger, *batch) for batch in batches])

        assert results == [["changed"] * 5] * 4
        assert {row.version for row in ledger.items.get_many(ids).values()} == {4}


def test_a_lower_version_never_wins_a_race(ledger: Ledger) -> None:
    for n in range(10):
        all_at_once([lambda v=v, i=f"i{n}": write(ledger, item(i, f"text {v}", version=v)) for v in (3, 1, 4, 2)])

        stored = ledger.items.get(f"i{n}")
        assert stored is not None
        assert (stored.version, stored.item.text) == (4, "text 4")
