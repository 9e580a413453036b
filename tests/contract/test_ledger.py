"""What every ledger must do, run over SQLite and PostgreSQL."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from ingest.errors import ConflictError, NotFoundError, SettingsError, UnavailableError
from ingest.events import Event
from ingest.items import AttributeType, Item
from ingest.store.generations import NewGeneration
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.placements import Placement
from ingest.store.records import Generation, GenerationState, LoggedRecommendation, Reject
from ingest.store.schema import migrate
from ingest.store.tables import metadata
from tests.services import empty

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
FINGERPRINT = "f" * 64


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.sqlite'}"
        return
    url = request.getfixturevalue("postgres_url")
    migrate(url)
    yield url
    empty(url)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with open_ledger(ledger_url) as ledger:
        yield ledger


# --- Given --------------------------------------------------------------------------------------------------------------


def item(item_id: str, text: str = "a text", version: int | None = None) -> Item:
    return Item(item_id=item_id, text=text, version=version)


def write(ledger: Ledger, *items: Item, revive: bool = False, job_id: str = "job") -> list[str]:
    """The outcomes; what changed is due at once."""
    return [w.outcome for w in ledger.items.write(items, job_id=job_id, revive=revive, due_in=0)]


def delete(ledger: Ledger, *item_ids: str, job_id: str = "job") -> list[str]:
    return [w.outcome for w in ledger.items.delete(item_ids, job_id=job_id, due_in=0)]


def due(ledger: Ledger) -> list[str]:
    return sorted(item_id for item_id, _ in ledger.pending.due(1_000, put_off=0))


def begin(ledger: Ledger, name: str, state: GenerationState = GenerationState.LIVE) -> Generation:
    attributes = {"year": AttributeType.INTEGER}
    return ledger.generations.begin(
        NewGeneration(name=name, fingerprint=FINGERPRINT, dimensions=4, attributes=attributes), state
    )


def catch_up(ledger: Ledger, name: str) -> int:
    return ledger.generations.catch_up(name, mean=None, items=0, job_id=name)


def placement(generation: str, item_id: str, version: int = 1, content_hash: str | None = "h") -> Placement:
    return Placement(
        generation=generation,
        item_id=item_id,
        version=version,
        content_hash=content_hash,
        present=content_hash is not None,
    )


def place(
    ledger: Ledger,
    item_ids: Sequence[str],
    *generations: str,
    hashes: dict[str, str] | None = None,
    lease: str = "lease",
) -> list[str]:
    """What a worker without faults does: claim, place everywhere, record; returns what is to be done again."""
    claim = ledger.pending.claim(item_ids, lease=lease, seconds=60)
    rows = ledger.items.get_many(list(claim.attempts), deleted=True)
    placed = [
        placement(g, i, row.version, None if row.deleted_at else (hashes or {}).get(i, f"hash of {i}"))
        for g in generations
        for i, row in rows.items()
    ]
    read = {i: row.version for i, row in rows.items()}
    return ledger.placements.record(placed, read=read, generation_names=frozenset(generations), lease=lease)


def event(event_id: str, user: str = "u", item_id: str = "a", **fields: Any) -> Event:
    return Event(**{"event_id": event_id, "user_id": user, "item_id": item_id, "type": "view", **fields})


def all_at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Results (or the errors) of calls that start at the same moment, each in a thread."""
    together = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        together.wait()
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


# --- Items --------------------------------------------------------------------------------------------------------------


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


# --- Pending ------------------------------------------------------------------------------------------------------------


def test_what_changed_is_due_when_its_time_has_come(ledger: Ledger) -> None:
    ledger.items.write([item("later")], job_id="j", revive=False, due_in=60)
    ledger.items.write([item("now")], job_id="j", revive=False, due_in=0)

    assert ledger.pending.is_due()
    assert ledger.pending.due(10, put_off=60) == [("now", 0)]
    assert not ledger.pending.is_due()
    assert ledger.pending.due(10, put_off=60) == []

    ledger.pending.make_due(["later"])
    assert ledger.pending.is_due()
    assert ledger.pending.due(10, put_off=60) == [("later", 0)]

    ledger.pending.make_due()
    assert due(ledger) == ["later", "now"]
    assert ledger.pending.count() == 2


def test_what_was_tried_least_is_due_first(ledger: Ledger) -> None:
    write(ledger, item("lost before"), item("fresh"))
    ledger.pending.claim(["lost before"], lease="l", seconds=0)
    time.sleep(0.01)

    assert ledger.pending.due(1, put_off=0) == [("fresh", 0)]
    assert ledger.pending.due(2, put_off=0) == [("fresh", 0), ("lost before", 1)]


def test_the_oldest_wait_is_known(ledger: Ledger) -> None:
    assert ledger.pending.oldest_age_seconds() is None
    write(ledger, item("a"))
    time.sleep(0.05)
    write(ledger, item("a", "changed again"))

    age = ledger.pending.oldest_age_seconds()

    assert age is not None
    assert 0.04 <= age < 60


def test_a_lease_is_exclusive_until_it_ends(ledger: Ledger) -> None:
    write(ledger, item("a"), item("b"))

    first = ledger.pending.claim(["a", "not pending"], lease="first", seconds=60)
    second = ledger.pending.claim(["a", "b"], lease="second", seconds=0.2)

    assert first.attempts == {"a": 1}
    assert second.attempts == {"b": 1}
    assert due(ledger) == []
    time.sleep(0.25)
    assert due(ledger) == ["b"]
    assert ledger.pending.claim(["a", "b"], lease="third", seconds=60).attempts == {"b": 2}


def test_two_claimants_at_once_never_share_an_item(ledger: Ledger) -> None:
    ids = [f"i{n}" for n in range(200)]
    write(ledger, *map(item, ids))
    orders = [ids, ids[::-1], ids[100:] + ids[:100], ids]

    claims = all_at_once(
        [lambda o=o, n=n: ledger.pending.claim(o, lease=f"l{n}", seconds=60).attempts for n, o in enumerate(orders)]
    )

    claimed = [item_id for claim in claims for item_id in claim]
    assert sorted(claimed) == sorted(ids)


def test_attempts_are_counted_before_the_work(ledger: Ledger) -> None:
    write(ledger, item("a"))
    ledger.pending.claim(["a"], lease="dies", seconds=0)  # the worker is never heard of again
    time.sleep(0.01)

    assert ledger.pending.due(1, put_off=0) == [("a", 1)]
    assert ledger.pending.claim(["a"], lease="next", seconds=60).attempts == {"a": 2}


@pytest.mark.parametrize(("forgive", "counted"), [(False, 1), (True, 0)])
def test_releasing_gives_back_and_may_forgive(ledger: Ledger, forgive: bool, counted: int) -> None:
    write(ledger, item("a"), item("b"))
    ledger.pending.claim(["a"], lease="mine", seconds=60)
    ledger.pending.claim(["b"], lease="another's", seconds=60)

    ledger.pending.release("mine", due_in=0, forgive=forgive)

    assert ledger.pending.due(10, put_off=60) == [("a", counted)]
    assert ledger.pending.claim(["b"], lease="thief", seconds=60).attempts == {}


def test_released_items_wait_as_long_as_told(ledger: Ledger) -> None:
    write(ledger, item("a"))
    ledger.pending.claim(["a"], lease="l", seconds=60)

    ledger.pending.release("l", due_in=60, forgive=True)

    assert due(ledger) == []
    assert ledger.pending.claim(["a"], lease="quicker", seconds=60).attempts == {"a": 1}


def test_a_change_counts_attempts_from_zero_and_breaks_no_lease(ledger: Ledger) -> None:
    write(ledger, item("a", "bad"))
    ledger.pending.claim(["a"], lease="l", seconds=60)

    write(ledger, item("a", "good"))

    assert ledger.pending.claim(["a"], lease="another", seconds=60).attempts == {}
    ledger.pending.release("l", due_in=0, forgive=True)
    assert ledger.pending.due(1, put_off=0) == [("a", 0)]


def test_leases_can_be_broken_when_their_holders_are_known_to_be_dead(ledger: Ledger) -> None:
    write(ledger, item("a"))
    ledger.pending.claim(["a"], lease="dead", seconds=60)

    ledger.pending.make_due(["a"])
    assert due(ledger) == []

    ledger.pending.make_due(break_leases=True)
    assert ledger.pending.claim(["a"], lease="new", seconds=60).attempts == {"a": 2}


# --- Placements ---------------------------------------------------------------------------------------------------------


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


# --- Vectors ------------------------------------------------------------------------------------------------------------


def vector(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(4).astype(np.float32)


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


def test_vectors_that_stand_nowhere_are_collected(ledger: Ledger) -> None:
    begin(ledger, "g")
    write(ledger, item("a"))
    ledger.placements.keep_vectors(FINGERPRINT, {"used": vector(1), "unused": vector(2)})
    place(ledger, ["a"], "g", hashes={"a": "used"})

    assert ledger.placements.collect_vectors() == 1
    assert ledger.placements.vectors(FINGERPRINT, ["used", "unused"]).keys() == {"used"}


# --- Set aside ----------------------------------------------------------------------------------------------------------


def test_an_item_is_set_aside_with_its_reason_and_can_be_retried(ledger: Ledger) -> None:
    begin(ledger, "g")
    job = ledger.jobs.begin("items")
    write(ledger, item("bad"), item("good"), job_id=job)
    ledger.jobs.grow(job, 2)
    claim = ledger.pending.claim(["bad", "good"], lease="l", seconds=60)

    ledger.pending.put_aside(claim, {"bad": "it cannot be embedded"})

    [aside] = ledger.pending.set_aside()
    assert (aside.item_id, aside.version, aside.reason, aside.attempts) == ("bad", 1, "it cannot be embedded", 1)
    assert ledger.pending.count() == 1
    assert ledger.generations.missing("g", job_id="j") == 1  # "good": what stands aside is not missing
    assert ledger.pending.retry(["other"]) == 0
    assert ledger.pending.retry() == 1
    assert ledger.pending.set_aside() == []
    assert ledger.pending.due(10, put_off=0) == [("bad", 0)]
    found = ledger.jobs.get(job)
    assert found is not None
    assert (found.state, found.failed) == ("queued", 0)


def test_named_items_are_retried_alone(ledger: Ledger) -> None:
    write(ledger, item("a"), item("b"))
    ledger.pending.put_aside(ledger.pending.claim(["a", "b"], lease="l", seconds=60), {"a": "why", "b": "why"})

    assert ledger.pending.retry(["a"]) == 1

    assert [aside.item_id for aside in ledger.pending.set_aside()] == ["b"]


@pytest.mark.parametrize("change", ["write", "delete"])
def test_an_item_that_changed_meanwhile_is_not_set_aside(ledger: Ledger, change: str) -> None:
    write(ledger, item("a", "bad"))
    claim = ledger.pending.claim(["a"], lease="l", seconds=60)
    _ = write(ledger, item("a", "good")) if change == "write" else delete(ledger, "a")

    ledger.pending.put_aside(claim, {"a": "it cannot be embedded"})

    assert ledger.pending.set_aside() == []
    assert ledger.pending.count() == 1


@pytest.mark.parametrize("change", ["write", "delete"])
def test_a_change_brings_back_what_was_set_aside(ledger: Ledger, change: str) -> None:
    write(ledger, item("a", "bad"))
    ledger.pending.put_aside(ledger.pending.claim(["a"], lease="l", seconds=60), {"a": "why"})

    _ = write(ledger, item("a", "good")) if change == "write" else delete(ledger, "a")

    assert ledger.pending.set_aside() == []
    assert due(ledger) == ["a"]


# --- Jobs and rejects ---------------------------------------------------------------------------------------------------


def test_a_job_counts_what_is_placed_and_what_failed(ledger: Ledger) -> None:
    begin(ledger, "g")
    job = ledger.jobs.begin("items")
    write(ledger, *map(item, "abc"), job_id=job)
    ledger.jobs.grow(job, 2)
    ledger.jobs.grow(job, 1)

    def standing() -> tuple[str, int, int, int]:
        found = ledger.jobs.get(job)
        assert found is not None
        return found.state, found.total, found.placed, found.failed

    assert standing() == ("queued", 3, 0, 0)
    place(ledger, ["a"], "g")
    assert standing() == ("running", 3, 1, 0)
    ledger.pending.put_aside(ledger.pending.claim(["b"], lease="l", seconds=60), {"b": "why"})
    assert standing() == ("running", 3, 1, 1)
    place(ledger, ["c"], "g")
    assert standing() == ("done_with_errors", 3, 2, 1)
    found = ledger.jobs.get(job)
    assert found is not None
    assert [(e.item_id, e.reason) for e in found.errors] == [("b", "why")]
    write(ledger, item("b", "good"), job_id="another")
    assert standing() == ("done", 3, 3, 0)
    assert ledger.jobs.get("no such job") is None


def test_rejects_are_listed_latest_first(ledger: Ledger) -> None:
    ledger.rejects.add([])
    ledger.rejects.add(
        [
            Reject(
                source="s", position=n, subject_id=None, code="c", detail="d", rejected_at=NOON + timedelta(seconds=n)
            )
            for n in range(5)
        ]
    )

    assert [r.position for r in ledger.rejects.list(limit=3)] == [4, 3, 2]
    assert ledger.rejects.list()[0].rejected_at == NOON + timedelta(seconds=4)


# --- Generations --------------------------------------------------------------------------------------------------------


def test_a_generation_is_written_down_as_begun(ledger: Ledger) -> None:
    assert ledger.generations.live() is None

    begun = begin(ledger, "g")

    assert ledger.generations.live() == ledger.generations.get("g") == begun
    assert begun.state is GenerationState.LIVE
    assert dict(begun.attributes) == {"year": AttributeType.INTEGER}
    assert (begun.fingerprint, begun.dimensions, begun.mean, begun.items) == (FINGERPRINT, 4, None, 0)
    with pytest.raises(NotFoundError):
        ledger.generations.get("h")


def test_one_generation_is_under_way_at_a_time(ledger: Ledger) -> None:
    begin(ledger, "live")
    begin(ledger, "first", GenerationState.BUILDING)

    with pytest.raises(ConflictError):
        begin(ledger, "second", GenerationState.BUILDING)
    catch_up(ledger, "first")
    with pytest.raises(ConflictError):
        begin(ledger, "second", GenerationState.BUILDING)
    with pytest.raises(ConflictError):
        begin(ledger, "second", GenerationState.LIVE)

    assert [g.name for g in ledger.generations.list()] == ["first", "live"]


@pytest.mark.parametrize("state", [GenerationState.LIVE, GenerationState.BUILDING])
def test_of_many_that_begin_at_once_one_succeeds(ledger: Ledger, state: GenerationState) -> None:
    results = all_at_once([lambda n=n: begin(ledger, f"g{n}", state) for n in range(6)])

    assert sum(isinstance(result, Generation) for result in results) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 5


def test_writes_go_to_the_live_generation_and_to_one_that_catches_up(ledger: Ledger) -> None:
    begin(ledger, "live")
    begin(ledger, "next", GenerationState.BUILDING)
    assert [g.name for g in ledger.generations.receiving_writes()] == ["live"]

    mean = vector(5)
    ledger.generations.catch_up("next", mean=mean, items=7, job_id="j")

    assert {g.name for g in ledger.generations.receiving_writes()} == {"live", "next"}
    under_way = ledger.generations.under_way()
    assert under_way is not None
    assert under_way.mean is not None
    assert np.array_equal(under_way.mean, mean)
    assert under_way.items == 7


def test_catching_up_makes_pending_what_the_build_missed(ledger: Ledger) -> None:
    begin(ledger, "live")
    write(ledger, *map(item, "abc"))
    place(ledger, ["a", "b", "c"], "live")
    begin(ledger, "next", GenerationState.BUILDING)
    ledger.placements.record_built([placement("next", i) for i in "ab"])
    delete(ledger, "a")
    place(ledger, ["a"], "live")

    assert catch_up(ledger, "next") == 2
    assert due(ledger) == ["a", "c"]


def test_the_live_pointer_moves_in_one_transaction(ledger: Ledger) -> None:
    # given a reader that looks all the time
    begin(ledger, "g0")
    seen: list[list[str]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.append([g.name for g in ledger.generations.list() if g.state is GenerationState.LIVE])

    reader = threading.Thread(target=look)
    reader.start()

    # when the pointer moves again and again
    for n in range(1, 15):
        begin(ledger, f"g{n}", GenerationState.BUILDING)
        catch_up(ledger, f"g{n}")
        ledger.generations.go_live(f"g{n}", job_id="j", report={"n": n})
    stop.set()
    reader.join()

    # then there was one live generation at every moment
    assert {len(live) for live in seen} == {1}
    states = [g.state for g in ledger.generations.list()]
    assert states == [GenerationState.LIVE] + [GenerationState.RETIRED] * 14
    assert ledger.generations.get("g14").report == {"n": 14}
    assert ledger.generations.get("g14").live_at is not None


def test_two_that_go_live_at_once_leave_one_live(ledger: Ledger) -> None:
    begin(ledger, "g0")
    for name in ("g1", "g2", "g3"):
        begin(ledger, name, GenerationState.BUILDING)
        ledger.generations.close(name, GenerationState.RETIRED, {})

    all_at_once([lambda n=n: ledger.generations.go_live(n, job_id="j") for n in ("g1", "g2", "g3")])

    live = [g.name for g in ledger.generations.list() if g.state is GenerationState.LIVE]
    assert len(live) == 1


def test_going_live_makes_pending_what_is_not_in_order(ledger: Ledger) -> None:
    begin(ledger, "old")
    write(ledger, *map(item, "ab"))
    place(ledger, ["a", "b"], "old")
    begin(ledger, "new", GenerationState.BUILDING)
    ledger.placements.record_built([placement("new", "a")])

    ledger.generations.go_live("new", job_id="j")

    assert due(ledger) == ["b"]


@pytest.mark.parametrize("ending", ["retired", "refused"])
def test_what_was_pending_when_a_generation_ended_is_unknown_in_it(ledger: Ledger, ending: str) -> None:
    # given an item that a worker may have put into the generation without having recorded it
    begin(ledger, "old")
    write(ledger, *map(item, "abc"))
    place(ledger, ["a"], "old")
    ledger.pending.claim(["b"], lease="at it", seconds=60)
    write(ledger, item("a", "changed"))

    # when the generation stops receiving writes, and the item is deleted afterwards
    if ending == "retired":
        begin(ledger, "new", GenerationState.BUILDING)
        ledger.generations.go_live("new", job_id="j")
    else:
        ledger.generations.close("old", GenerationState.REFUSED, {"why": "test"})
        begin(ledger, "new")
        ledger.generations.missing("new", job_id="j")
    ledger.pending.release("at it", due_in=0, forgive=False)
    delete(ledger, "b")
    place(ledger, ["a", "b", "c"], "new")

    # then going back looks at those items again
    assert {i: p.version for i, p in ledger.placements.of("old", "abc").items()} == {"a": 0, "b": 0, "c": 0}
    assert ledger.placements.deleted_but_present("old") == ["b"]
    assert ledger.generations.missing("old", job_id="j") == 3


def test_a_record_that_races_with_the_move_loses_nothing(ledger: Ledger) -> None:
    # given a worker that placed an item in the generation that was live when it looked
    begin(ledger, "old")
    begin(ledger, "new", GenerationState.BUILDING)
    ledger.generations.close("new", GenerationState.RETIRED, {})
    for n in range(15):
        source, target = ("old", "new") if n % 2 == 0 else ("new", "old")
        write(ledger, item("a", f"text {n}"))
        ledger.pending.make_due(break_leases=True)
        stored = ledger.items.get("a")
        assert stored is not None
        ledger.pending.claim(["a"], lease=f"l{n}", seconds=60)
        placed = [placement(source, "a", stored.version)]

        def record(n: int = n, source: str = source, placed: list[Placement] = placed) -> None:
            read = {"a": placed[0].version}
            ledger.placements.record(placed, read=read, generation_names=frozenset({source}), lease=f"l{n}")

        # when it records while the pointer moves
        all_at_once([record, lambda target=target: ledger.generations.go_live(target, job_id="j")])

        # then the item stands in the live generation, or is pending
        standing = ledger.placements.of(target, ["a"]).get("a")
        in_order = standing is not None and standing.version == stored.version
        assert in_order or ledger.pending.count() == 1


def test_a_forgotten_generation_leaves_nothing(ledger: Ledger) -> None:
    begin(ledger, "g")
    write(ledger, item("a"))
    place(ledger, ["a"], "g")

    ledger.generations.forget("g")

    assert ledger.generations.list() == []
    assert ledger.placements.count("g") == 0


# --- Events and users ---------------------------------------------------------------------------------------------------


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

    assert ledger.events.popular(7, 10, {"view"}) == [("new", 2.0), ("also new", 1.0)]
    assert ledger.events.popular(10, 10, {"view"}) == [("old", 9.0), ("new", 2.0), ("also new", 1.0)]
    assert ledger.events.popular(10, 1, {"view"}) == [("old", 9.0)]


@pytest.mark.parametrize("before", [NOON - timedelta(days=4_000), None])
def test_one_event_after_a_pause_does_not_make_all_others_old(ledger: Ledger, before: datetime | None) -> None:
    write(ledger, item("old"), item("first click"))
    ledger.events.add([event(f"o{n}", user=f"u{n}", item_id="old", timestamp=before) for n in range(200)])
    ledger.events.add([event("late", item_id="first click", timestamp=NOON)])

    assert ledger.events.present({"view"}) == before
    assert ledger.events.popular(90, 10, {"view"}) == [("old", 200.0), ("first click", 1.0)]
    assert ledger.events.recent(7, 10, {"view"}) == [("old", 200.0), ("first click", 1.0)]

    ledger.events.add([event(f"now{n}", user=f"u{n}", item_id="first click", timestamp=NOON) for n in range(2)])
    assert ledger.events.present({"view"}) == NOON, "a hundredth of all is enough to tell the time"


def test_popularity_without_any_time_counts_everything(ledger: Ledger) -> None:
    write(ledger, item("a"), item("b"))
    ledger.events.add([event("1", item_id="b", user="u"), event("2", item_id="b", user="v"), event("3", item_id="a")])

    assert ledger.events.popular(1, 10, {"view"}) == [("b", 2.0), ("a", 1.0)]


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


# --- The whole ----------------------------------------------------------------------------------------------------------


def test_a_ledger_opened_again_is_the_same(ledger: Ledger, ledger_url: str) -> None:
    write(ledger, item("a"))

    with open_ledger(ledger_url) as again:
        again.ping()
        assert again.items.count() == 1


def test_many_that_open_a_new_ledger_at_once_agree(ledger_url: str) -> None:
    results = all_at_once([lambda: open_ledger(ledger_url)] * 8)

    assert not [result for result in results if isinstance(result, Exception)]
    results[0].users.delete("Ann")
    assert all(ledger.users.deleted(["Ann"]) for ledger in results)
    for ledger in results:
        ledger.close()


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite+pysqlcipher:///x", "nonsense"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        open_ledger(url)


def test_a_ledger_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        open_ledger("postgresql+psycopg://postgres@127.0.0.1:1/nothing?connect_timeout=2")
    (tmp_path / "ledger.sqlite").write_bytes(b"this is no database, and long enough not to look like one" * 99)
    with pytest.raises(UnavailableError):
        open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def write_from_another_process(url: str, name: str, n: int) -> None:
    with open_ledger(url) as ledger:
        for i in range(n):
            ledger.items.write([item(f"{name}{i}"), item("shared", f"{name} {i}")], job_id="j", revive=False, due_in=0)


def test_two_processes_write_to_one_sqlite_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_from_another_process, args=(url, name, 40)) for name in "pq"]
    for writer in writers:
        writer.start()
    write_from_another_process(url, "r", 40)
    for writer in writers:
        writer.join(60)

    assert [writer.exitcode for writer in writers] == [0, 0]
    with open_ledger(url) as ledger:
        assert ledger.items.count() == 121
        shared = ledger.items.get("shared")
        assert shared is not None
        assert shared.version == 120
