"""What the placements and the kept vectors of every ledger must do, run over SQLite and PostgreSQL."""

import time

import numpy as np
import pytest
import sqlalchemy
from ledger_fixtures import FINGERPRINT, begin, catch_up, delete, due, item, place, placement, vector, write
from sqlalchemy import text

from ingest.store.ledger import Ledger
from ingest.store.records import GenerationState

# --- Placements -------------------------------------------------------------------------------------------------------


def test_what_was_placed_is_recorded_and_struck_off(ledger: Ledger) -> None:
    begin(ledger, "g")
    write(ledger, item("a"), item("b"), item("c"))

    assert place(ledger, ["a", "b"], "g") == []

    assert ledger.placements.of("g", ["a", "b", "c"]) == {
        "a": placement("g", "a", 1, "hash of a"),
        "b": placement("g", "b", 1, "hash of b"),
    }
    assert ledger.placements.count("g") == 2
    assert due(ledger) == ["c"]


def test_an_item_that_moved_on_is_done_again(ledger: Ledger) -> None:
    # given a worker that read version 1, and a change before it could record
    begin(ledger, "g")
    write(ledger, item("a", "one"), item("b"))
    ledger.pending.claim(["a", "b"], lease="l", seconds=60)
    write(ledger, item("a", "two"))

    again = ledger.placements.record(
        [placement("g", "a", 1), placement("g", "b", 1)],
        read={"a": 1, "b": 1},
        generation_names=frozenset({"g"}),
        lease="l",
    )

    # then the index may hold either version: that is what the placement says, and the item is due at once
    assert again == ["a"]
    assert ledger.placements.of("g", ["a"])["a"].version == 0
    assert due(ledger) == ["a"]
    assert place(ledger, ["a"], "g") == []
    assert ledger.placements.of("g", ["a"])["a"].version == 2


def test_a_worker_that_outlived_its_lease_makes_its_items_pending_again(ledger: Ledger) -> None:
    # given a slow worker with version 1, whose lease ended, and a quicker one that placed version 2 meanwhile
    begin(ledger, "g")
    write(ledger, item("a", "one"))
    ledger.pending.claim(["a"], lease="slow", seconds=0)
    write(ledger, item("a", "two"))
    time.sleep(0.01)
    assert place(ledger, ["a"], "g", lease="quick") == []
    assert ledger.pending.count() == 0

    # when the slow one, which may have overwritten version 2 in the index, records
    again = ledger.placements.record(
        [placement("g", "a", 1)], read={"a": 1}, generation_names=frozenset({"g"}), lease="slow"
    )

    # then nobody believes that version 2 stands there
    assert again == ["a"]
    assert due(ledger) == ["a"]
    assert ledger.placements.of("g", ["a"])["a"].version == 0


def test_nothing_is_struck_off_when_another_generation_receives_writes_too(ledger: Ledger) -> None:
    begin(ledger, "old")
    write(ledger, item("a"))
    ledger.pending.claim(["a"], lease="l", seconds=60)
    begin(ledger, "new", GenerationState.BUILDING)
    catch_up(ledger, "new")

    again = ledger.placements.record(
        [placement("old", "a")], read={"a": 1}, generation_names=frozenset({"old"}), lease="l"
    )

    assert again == ["a"]
    assert ledger.placements.of("old", ["a"])["a"].version == 1
    assert due(ledger) == ["a"]
    assert place(ledger, ["a"], "old", "new") == []


def test_another_lease_is_not_struck_off(ledger: Ledger) -> None:
    begin(ledger, "g")
    write(ledger, item("a"))
    ledger.pending.claim(["a"], lease="holder", seconds=60)

    ledger.placements.record([placement("g", "a")], read={"a": 1}, generation_names=frozenset({"g"}), lease="stranger")

    assert ledger.pending.count() == 1


def test_deleted_items_are_recorded_as_absent(ledger: Ledger) -> None:
    begin(ledger, "g")
    write(ledger, item("a"), item("b"))
    place(ledger, ["a", "b"], "g")
    delete(ledger, "a")
    assert ledger.placements.deleted_but_present("g") == ["a"]

    place(ledger, ["a"], "g")

    assert ledger.placements.of("g", ["a", "b"]) == {
        "a": placement("g", "a", 2, None),
        "b": placement("g", "b", 1, "hash of b"),
    }
    assert ledger.placements.count("g") == 1
    assert ledger.placements.deleted_but_present("g") == []


def test_what_is_missing_in_a_generation_becomes_pending_and_nothing_else(ledger: Ledger) -> None:
    # given every state an item can have in a generation
    begin(ledger, "g")
    write(ledger, *map(item, ["placed", "stale", "deleted", "deleted, gone", "deleted before", "aside", "absent"]))
    delete(ledger, "deleted before")
    place(ledger, ["deleted before"], "other")
    claim = ledger.pending.claim(["aside"], lease="l", seconds=60)
    ledger.pending.put_aside(claim, {"aside": "why"})
    everything_else = ["placed", "stale", "deleted", "deleted, gone", "deleted before"]
    assert place(ledger, everything_else, "g") == []
    write(ledger, item("stale", "new"))
    delete(ledger, "deleted", "deleted, gone")
    place(ledger, ["deleted, gone"], "g")
    forget_pending(ledger)

    # when asked
    missing = ledger.generations.missing("g", job_id="j")

    # then exactly what does not stand there as it should is pending
    assert missing == 3
    assert due(ledger) == ["absent", "deleted", "stale"]
    assert ledger.generations.missing("g", job_id="j") == 3
    assert ledger.pending.count() == 3


def forget_pending(ledger: Ledger) -> None:
    with ledger._database.write() as connection:
        connection.execute(text("DELETE FROM pending"))


def test_a_placement_noted_as_unknown_is_missing(ledger: Ledger) -> None:
    begin(ledger, "g")
    write(ledger, item("a"))
    place(ledger, ["a"], "g")
    ledger.placements.record_built([placement("g", "a", 0)])

    assert ledger.generations.missing("g", job_id="j") == 1


# --- Vectors ----------------------------------------------------------------------------------------------------------


def test_vectors_are_kept_by_encoder_and_content(ledger: Ledger) -> None:
    ledger.placements.keep_vectors("one", {"h1": vector(1), "h2": vector(2)})
    ledger.placements.keep_vectors("two", {"h1": vector(3)})
    ledger.placements.keep_vectors("one", {"h1": vector(9)})  # the same text again, from another worker

    found = ledger.placements.vectors("one", ["h1", "h2", "h3", "h1"])

    assert found.keys() == {"h1", "h2"}
    assert np.array_equal(found["h1"], vector(1))
    assert found["h1"].dtype == np.float32
    assert np.array_equal(ledger.placements.vectors("two", ["h1"])["h1"], vector(3))


def test_the_vector_of_a_deleted_item_is_forgotten_unless_another_item_shares_it(ledger: Ledger) -> None:
    begin(ledger, "g")
    write(ledger, *map(item, "abc"))
    ledger.placements.keep_vectors(FINGERPRINT, {"alone": vector(1), "shared": vector(2)})
    ledger.placements.keep_vectors("another encoder", {"alone": vector(1)})
    place(ledger, ["a", "b", "c"], "g", hashes={"a": "alone", "b": "shared", "c": "shared"})

    delete(ledger, "a", "b")
    place(ledger, ["a", "b"], "g")

    assert ledger.placements.vectors(FINGERPRINT, ["alone", "shared"]).keys() == {"shared"}
    assert ledger.placements.vectors("another encoder", ["alone"]) == {}

    delete(ledger, "c")
    place(ledger, ["c"], "g")
    assert ledger.placements.vectors(FINGERPRINT, ["shared"]) == {}


def test_vectors_of_encoders_that_no_generation_has_are_collected(ledger: Ledger) -> None:
    begin(ledger, "g")
    write(ledger, item("a"))
    for fingerprint in (FINGERPRINT, "an encoder of the past"):
        ledger.placements.keep_vectors(fingerprint, {"used": vector(1)})
    place(ledger, ["a"], "g", hashes={"a": "used"})

    assert ledger.placements.collect_vectors() == 1
    assert ledger.placements.vectors(FINGERPRINT, ["used"]).keys() == {"used"}
    assert ledger.placements.vectors("an encoder of the past", ["used"]) == {}


@pytest.mark.parametrize(("table", "column"), [("placements", "item_id"), ("vectors", "content_hash")])
def test_an_index_finds_what_a_deletion_forgets(ledger: Ledger, table: str, column: str) -> None:
    with ledger._database.read() as connection:
        indexes = sqlalchemy.inspect(connection).get_indexes(table)

    assert [index for index in indexes if index["column_names"][0] == column]


def test_vectors_that_stand_nowhere_are_collected(ledger: Ledger) -> None:
    begin(ledger, "g")
    write(ledger, item("a"))
    ledger.placements.keep_vectors(FINGERPRINT, {"used": vector(1), "unused": vector(2)})
    place(ledger, ["a"], "g", hashes={"a": "used"})

    assert ledger.placements.collect_vectors() == 1
    assert ledger.placements.vectors(FINGERPRINT, ["used", "unused"]).keys() == {"used"}
