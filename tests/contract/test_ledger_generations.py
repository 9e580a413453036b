"""What the generations of every ledger must do, run over SQLite and PostgreSQL."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ledger_fixtures import (
    FINGERPRINT,
    all_at_once,
    begin,
    catch_up,
    delete,
    due,
    item,
    place,
    placement,
    vector,
    write,
)

from ingest.errors import ConflictError, NotFoundError
from ingest.items import AttributeType
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.placements import Placement
from ingest.store.records import Generation, GenerationState


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


def test_a_generation_lags_while_it_lacks_what_queries_find_in_the_live_one_in_any_version(ledger: Ledger) -> None:
    # given a live generation whose items all changed, while nobody placed anything, and one that has been built of one
    begin(ledger, "live")
    write(ledger, *map(item, "abc"))
    place(ledger, ["a", "b", "c"], "live")
    begin(ledger, "next", GenerationState.BUILDING)
    catch_up(ledger, "next")
    ledger.placements.record_built([placement("next", "a")])
    write(ledger, *(item(i, "changed") for i in "abc"))
    delete(ledger, "c")

    # then it lacks what is not there at all and was not deleted
    assert ledger.generations.lagging("next") == 1
    place(ledger, ["b"], "next")
    assert ledger.generations.lagging("next") == 0
    # and what is right in the live one has to be right in it
    place(ledger, ["a"], "live")
    assert ledger.generations.lagging("next") == 1


def test_a_generation_lags_while_it_lacks_what_a_lost_worker_may_overwrite(ledger: Ledger) -> None:
    begin(ledger, "live")
    write(ledger, item("a"))
    ledger.placements.record_built([replace(placement("live", "a"), version=0)])
    begin(ledger, "next", GenerationState.BUILDING)
    catch_up(ledger, "next")

    assert ledger.generations.lagging("next") == 1
    place(ledger, ["a"], "next")
    assert ledger.generations.lagging("next") == 0


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
    catch_up(ledger, "new")

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
        catch_up(ledger, "new")
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
    ledger.generations.close("g", GenerationState.RETIRED, {})

    assert ledger.generations.forget("g")

    assert ledger.generations.list() == []
    assert ledger.placements.count("g") == 0


@pytest.mark.parametrize("state", ["building", "refused", "gone"])
def test_what_is_not_complete_does_not_go_live_and_retires_nothing(ledger: Ledger, state: str) -> None:
    begin(ledger, "live")
    if state != "gone":
        begin(ledger, "new", GenerationState.BUILDING)
    if state == "refused":
        ledger.generations.close("new", GenerationState.REFUSED, {})

    with pytest.raises(ConflictError):
        ledger.generations.go_live("new", job_id="j")

    live = ledger.generations.live()
    assert live is not None
    assert live.name == "live"


def test_only_a_generation_that_is_not_at_work_is_forgotten(ledger: Ledger) -> None:
    begin(ledger, "live")
    begin(ledger, "new", GenerationState.BUILDING)

    assert not ledger.generations.forget("live")
    assert not ledger.generations.forget("new")
    assert not ledger.generations.forget("never there")

    assert {g.name for g in ledger.generations.list()} == {"live", "new"}


def test_what_has_ended_does_not_end_again_nor_receive_writes(ledger: Ledger) -> None:
    begin(ledger, "live")
    begin(ledger, "new", GenerationState.BUILDING)
    assert ledger.generations.close("new", GenerationState.REFUSED, {"reason": "the first"})

    assert not ledger.generations.close("new", GenerationState.FAILED, {"reason": "another"})
    with pytest.raises(ConflictError):
        ledger.generations.catch_up("new", mean=None, items=0, job_id="j")

    ended = ledger.generations.get("new")
    assert (ended.state, ended.report) == (GenerationState.REFUSED, {"reason": "the first"})


def test_going_back_refuses_what_is_under_way(ledger: Ledger) -> None:
    begin(ledger, "live")
    for name, state in (("before", GenerationState.RETIRED), ("next", None)):
        begin(ledger, name, GenerationState.BUILDING)
        if state is not None:
            ledger.generations.close(name, state, {})

    assert ledger.generations.go_live("before", job_id="j", instead_of="why") == "live"

    states = {g.name: g.state for g in ledger.generations.list()}
    assert states == {"before": "live", "live": "retired", "next": "refused"}
    assert ledger.generations.get("next").report == {"reason": "why"}


def test_every_process_of_an_installation_has_the_same_id_and_another_installation_has_another(
    ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    with open_ledger(ledger_url) as beside, open_ledger(f"sqlite:///{tmp_path / 'other.sqlite'}") as other:
        names = all_at_once([store.generations.new_name for store in (ledger, beside) * 4])
        strangers = other.generations.new_name()
        begin(ledger, "g20250101-030000-0001")

        assert len({name.rpartition("-")[2] for name in names}) == 1
        assert beside.generations.own([*names, strangers, "g20250101-030000-0001", "g20250101-030000-0002"]) == {
            *names,
            "g20250101-030000-0001",
        }
        assert other.generations.own(names) == set()
