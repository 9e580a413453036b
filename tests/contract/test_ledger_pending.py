"""What the pending rows of every ledger must do, run over SQLite and PostgreSQL."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import sqlalchemy
from ledger_fixtures import all_at_once, begin, delete, due, item, placement, write
from sqlalchemy.dialects import postgresql

from ingest.store.ledger import Ledger
from ingest.store.pending import in_turn
from ingest.store.tables import pending
from tests.fakes import let_time_pass

# --- Pending ----------------------------------------------------------------------------------------------------------


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
    second = ledger.pending.claim(["a", "b"], lease="second", seconds=59)

    assert first.attempts == {"a": 1}
    assert second.attempts == {"b": 1}
    assert due(ledger) == []
    let_time_pass(ledger, 59)
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


# --- Set aside --------------------------------------------------------------------------------------------------------


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


def lock_in_turn_while(ledger: Ledger, call: Callable[[], Any]) -> Any:
    """What a call returns that begins while somebody has locked the pending row of "a", and before he locks "b"."""
    with ThreadPoolExecutor(1) as another, ledger._database.write() as connection:
        connection.execute(in_turn(pending.c.item_id == "a"))
        begun = another.submit(call)
        wait([begun], timeout=0.3)
        connection.execute(in_turn(pending.c.item_id == "b"))
    return begun.result()


def test_deletions_touch_what_is_pending_in_the_order_of_the_ids(ledger: Ledger) -> None:
    write(ledger, item("a"), item("b"))

    assert lock_in_turn_while(ledger, lambda: delete(ledger, "b", "a")) == ["changed", "changed"]


def test_placements_touch_what_is_pending_in_the_order_of_the_ids(ledger: Ledger) -> None:
    # given that "a", which changed meanwhile, is treated otherwise than "b"
    begin(ledger, "g")
    write(ledger, item("a"), item("b"))
    ledger.pending.claim(["a", "b"], lease="l", seconds=60)
    write(ledger, item("a", "another"))

    placed = [placement("g", "a"), placement("g", "b")]
    record = partial(ledger.placements.record, generation_names=frozenset({"g"}), lease="l")

    assert lock_in_turn_while(ledger, lambda: record(placed, read={"a": 1, "b": 1})) == ["a"]


def test_ids_are_locked_in_one_order_whatever_the_collation() -> None:
    query = str(in_turn().compile(dialect=postgresql.dialect()))

    assert 'ORDER BY pending.item_id COLLATE "C" FOR UPDATE' in query


@contextmanager
def begun_at(
    ledger: Ledger, statement: str, pool: ThreadPoolExecutor, call: Callable[..., Any], *arguments: Any
) -> Iterator[None]:
    """Begin a call on the ledger in another thread when it is first told that statement, and give it time to end."""
    begun: list[Future[Any]] = []

    def look(_connection: Any, _cursor: Any, told: str, *_: Any) -> None:
        if told.startswith(statement) and not begun:
            begun.append(pool.submit(call, ledger, *arguments))
            wait(begun, timeout=0.5)

    sqlalchemy.event.listen(ledger._database._engine, "before_cursor_execute", look)
    yield
    sqlalchemy.event.remove(ledger._database._engine, "before_cursor_execute", look)
    assert begun[0].result() is not None


def test_a_change_while_an_item_is_set_aside_stays_pending(ledger: Ledger) -> None:
    write(ledger, item("a", "bad"))
    claim = ledger.pending.claim(["a"], lease="l", seconds=60)

    # when somebody else changes it between what is looked at and what is struck off
    with ThreadPoolExecutor(1) as another, begun_at(ledger, "INSERT INTO set_aside", another, write, item("a", "good")):
        ledger.pending.put_aside(claim, {"a": "it cannot be embedded"})
    ledger.pending.release("l", due_in=0, forgive=False)

    assert ledger.pending.set_aside() == []
    assert due(ledger) == ["a"]


def test_all_that_was_set_aside_is_retried_in_short_transactions(ledger: Ledger) -> None:
    ids = [f"i{n}" for n in range(2_500)]
    write(ledger, *map(item, ids))
    ledger.pending.put_aside(ledger.pending.claim(ids, lease="l", seconds=60), dict.fromkeys(ids, "why"))
    commits: list[Any] = []
    sqlalchemy.event.listen(ledger._database._engine, "commit", commits.append)

    assert ledger.pending.retry() == 2_500

    assert len(commits) >= 3
    assert ledger.pending.count_set_aside() == 0
    assert ledger.pending.count() == 2_500
    assert len(due(ledger)) == 1_000


def test_what_a_lost_lease_had_is_placed_once_more_later(ledger: Ledger) -> None:
    # given two items, one of which another lease had, which ended
    begin(ledger, "g")
    write(ledger, *map(item, "ab"))
    ledger.pending.claim(["a"], lease="lost", seconds=0)
    claim = ledger.pending.claim(["a", "b"], lease="l", seconds=60)
    assert claim.taken_over == {"a"}

    # when both are placed
    again = ledger.placements.record(
        [placement("g", i) for i in "ab"],
        read={"a": 1, "b": 1},
        generation_names=frozenset({"g"}),
        lease="l",
        taken_over=claim.taken_over,
        look_again_in=59,
    )

    # then that one is placed again after a while, whatever its placement says, and no attempt is held against it
    assert again == ["a"]
    assert {i: p.version for i, p in ledger.placements.of("g", "ab").items()} == {"a": 0, "b": 1}
    assert due(ledger) == []
    let_time_pass(ledger, 59)
    last = ledger.pending.claim(["a", "b"], lease="last", seconds=60)
    assert (last.attempts, last.taken_over) == ({"a": 1}, frozenset())
