"""Which generation serves, with a real index and a real ledger: what the gate refuses, and going back."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from generations_by_hand import Akin, Measured, akin, hand_driven, item, some_items

from ingest.errors import AkinError, ArtifactError, ConflictError, NotFoundError, SupersededError, UnavailableError
from ingest.index.edge import EdgeIndex
from ingest.index.protocol import Hit, Query
from ingest.store.leases import UPKEEP
from ingest.store.records import Generation, GenerationState
from tests.fakes import HashingEncoder, Installation, installation

__all__ = ["akin"]

# --- The gate -----------------------------------------------------------------------------------------------------------


@dataclass
class WorseIndex:
    """An index whose collections, but the one named, lose points or hits."""

    index: EdgeIndex
    good: str
    lost: int = 0
    dropped: int = 0

    def open(self, name: str) -> Any:
        found = self.index.open(name)
        return found if name == self.good else WorseCollection(found, self.lost, self.dropped)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.index, name)


@dataclass
class WorseCollection:
    collection: Any
    lost: int
    dropped: int

    def count(self) -> int:
        return int(self.collection.count()) - self.lost

    def query(self, query: Query) -> list[Hit]:
        found: list[Hit] = self.collection.query(query)
        return found if query.exact else found[self.dropped :]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.collection, name)


@pytest.mark.parametrize(
    ("fault", "check"),
    [({"lost": 1}, "item_count"), ({"dropped": 3}, "ann_recall_at_10"), ({}, "ndcg_at_10")],
)
def test_a_worse_generation_is_refused_and_the_live_one_serves_on(
    tmp_path: Path, fault: dict[str, int], check: str
) -> None:
    # given a next generation that is worse in one way
    with installation(tmp_path) as made:
        worse = WorseIndex(made.index, "first", **fault)

        def evaluate(generation: Generation) -> Measured:
            return Measured(0.2 if not fault and generation.name == "next" else 0.5)

        with hand_driven(made, evaluate, worse) as akin:
            akin.put(*some_items(30))
            made.begin_next("next", HashingEncoder())

            # when it is judged
            akin.finish()

            # then it is listed with its report, and what is live stays live and takes writes
            refused = akin.ledger.generations.get("next")
            assert refused.state is GenerationState.REFUSED
            assert [c["name"] for c in refused.report["checks"] if not c["passed"]] == [check]
            assert akin.live.name == "first"
            akin.put(item("new", "a new one"))
            akin.delete("i1")
            assert akin.ids() == {f"i{n}" for n in range(30) if n != 1} | {"new"}
            with pytest.raises(ConflictError):
                akin.reindexer.activate("next")


def test_too_many_set_aside_refuse(tmp_path: Path) -> None:
    with installation(tmp_path) as made, hand_driven(made) as akin:
        akin.put(*some_items(30))
        akin.ledger.items.write([item("bad", "bad")], job_id="j", revive=False, due_in=60)
        claim = akin.ledger.pending.claim(["bad"], lease="l", seconds=60)
        akin.ledger.pending.put_aside(claim, {"bad": "why"})
        made.begin_next("next", HashingEncoder())

        akin.finish()

        refused = akin.ledger.generations.get("next")
        assert [c["name"] for c in refused.report["checks"] if not c["passed"]] == ["failed_share"]


def test_a_judgement_that_cannot_be_made_ends_the_generation_with_the_reason(tmp_path: Path) -> None:
    def broken(_: Generation) -> Measured:
        raise ArtifactError("the encoder is damaged")

    with installation(tmp_path) as made, hand_driven(made, broken) as akin:
        akin.put(*some_items(5))
        made.begin_next("next", HashingEncoder())

        akin.finish()

        ended = akin.ledger.generations.get("next")
        assert (ended.state, ended.report) == (GenerationState.FAILED, {"reason": "the encoder is damaged"})


def test_a_judgement_waits_for_a_dependency_that_is_away(tmp_path: Path) -> None:
    away = True

    def evaluate(_: Generation) -> Measured:
        if away:
            raise UnavailableError("not now")
        return Measured()

    with installation(tmp_path) as made, hand_driven(made, evaluate) as akin:
        akin.put(*some_items(5))
        made.begin_next("next", HashingEncoder())
        for _ in range(3):
            akin.step()
        assert akin.ledger.generations.get("next").state is GenerationState.CATCHING_UP

        away = False
        akin.finish()

        assert akin.live.name == "next"


def test_who_activates_a_generation_lifts_no_fence_from_another_step(tmp_path: Path) -> None:
    # given a process whose lease went to another one, in the middle of judging a generation
    def evaluate(_: Generation) -> Measured:
        akin.reindexer.activate("first")  # asked for through the API meanwhile
        return Measured()

    with installation(tmp_path) as made, hand_driven(made, evaluate) as akin:
        akin.put(*some_items(5))
        made.begin_next("second", HashingEncoder())
        made.go_live("second")
        made.begin_next("third", HashingEncoder())
        late = akin.ledger.leases.acquire(UPKEEP, holder="late", seconds=0)
        assert akin.ledger.leases.acquire(UPKEEP, holder="new", seconds=60)

        # when it takes its step, and a generation is activated while it does
        with pytest.raises(SupersededError):
            akin.reindexer.advance(late)

        # then only what was activated is live
        assert akin.live.name == "first"
        assert akin.ledger.generations.get("third").state is GenerationState.REFUSED


# --- Going back ---------------------------------------------------------------------------------------------------------


def test_going_back_is_immediate_brings_nothing_deleted_back_and_loses_nothing(akin: Akin) -> None:
    # given a second generation, and writes and deletions since
    first, second = akin.live.name, akin.reindex().name
    assert akin.live.name == second
    akin.put(item("new", "added since"), item("i5", "changed since"))
    akin.delete("i7")

    # when the first one is made live again
    started = time.monotonic()
    akin.reindexer.activate(first)

    # then it is so at once, without what was deleted
    assert time.monotonic() - started < 2
    assert akin.live.name == first
    assert "i7" not in akin.ids()

    # and soon with what was added and changed
    akin.finish()
    expected = {f"i{n}" for n in range(60) if n != 7} | {"new"}
    assert akin.ids() == expected
    assert {i: p.version for i, p in akin.ledger.placements.of(first, ["i5", "new"]).items()} == {"i5": 2, "new": 1}

    # and forward again likewise
    akin.delete("i8")
    akin.reindexer.activate(second)
    assert "i8" not in akin.ids()
    akin.finish()
    assert akin.ids() == expected - {"i8"}


def test_an_item_under_way_when_the_pointer_moved_does_not_come_back_by_going_back(tmp_path: Path) -> None:
    # given an item that stands in the first generation although no placement says so, because its worker died
    with installation(tmp_path) as made, hand_driven(made) as akin:
        akin.put(*some_items(5))
        akin.ledger.items.write([item("ghost", "ghost")], job_id="j", revive=False, due_in=0)
        lease = akin.ledger.pending.claim(["ghost"], lease="dead", seconds=60)
        assert lease.attempts
        points = akin.index.open("first").vectors(["i1"])
        assert points
        made.begin_next("next", HashingEncoder())
        akin.ledger.pending.make_due(break_leases=True)
        place_without_a_word(akin, "ghost")

        # when the pointer moves, the item is deleted, and somebody goes back
        made.ledger.generations.go_live("next", job_id="j")
        akin.delete("ghost")
        akin.finish()
        akin.reindexer.activate("first")

        # then it is not there
        assert "ghost" not in akin.ids()


def place_without_a_word(akin: Akin, item_id: str) -> None:
    from ingest.index.protocol import Point

    [vector] = HashingEncoder().embed(["ghost"])
    akin.index.open("first").upsert([Point(item_id=item_id, text=vector, attributes={})])


def three_generations(made: Installation, akin: Akin) -> None:
    """`first` is retired, `second` is live, `third` has caught up."""
    akin.put(*some_items(5))
    made.begin_next("second", HashingEncoder())
    made.go_live("second")
    made.begin_next("third", HashingEncoder())


def test_going_back_is_not_undone_by_what_was_under_way(tmp_path: Path) -> None:
    with installation(tmp_path) as made, hand_driven(made) as akin:
        three_generations(made, akin)

        akin.reindexer.activate("first")
        akin.finish()

        assert akin.live.name == "first"
        refused = akin.ledger.generations.get("third")
        assert (refused.state, refused.report) == (GenerationState.REFUSED, {"reason": "rolled back meanwhile"})
        assert not akin.reindexer.rebuild_is_due()


def test_going_back_while_the_next_one_is_judged_is_not_undone(tmp_path: Path) -> None:
    def evaluate(_: Generation) -> Measured:
        if akin.live.name == "second":
            akin.reindexer.activate("first")
        return Measured()

    with installation(tmp_path) as made, hand_driven(made, evaluate) as akin:
        three_generations(made, akin)

        akin.step()

        assert akin.live.name == "first"
        assert akin.ledger.generations.get("third").report == {"reason": "rolled back meanwhile"}


def test_a_build_of_what_is_not_wanted_any_more_is_stopped(tmp_path: Path) -> None:
    with installation(tmp_path) as made, hand_driven(made) as akin:
        akin.put(*some_items(5))
        made.begin_next("second", HashingEncoder())
        made.go_live("second")
        begun = akin.reindexer.request()
        akin.reindexer.advance()
        assert akin.reindexer._child is not None

        akin.reindexer.activate("first")
        assert akin.reindexer.advance() is None

        assert akin.reindexer._child is None
        assert akin.ledger.generations.get(begun.name).state is GenerationState.REFUSED


def test_cleaning_up_never_takes_the_live_generation(tmp_path: Path) -> None:
    # given an index that drops what is not kept any more, when another process goes back to just that
    with installation(tmp_path) as made, hand_driven(made) as other:
        index = LateIndex(made.index)
        with hand_driven(made, index=index) as akin:
            three_generations(made, akin)
            index.when_dropping = other.reindexer.activate

            # when the third goes live
            akin.finish()

        # then the other is told that it is too late, and what is live is complete
        assert other.live.name == "third"
        assert other.ids() == {f"i{n}" for n in range(5)}


@dataclass
class LateIndex:
    """An index that lets something happen right before it drops a collection."""

    index: EdgeIndex
    when_dropping: Callable[[str], Any] = lambda _: None

    def drop(self, name: str) -> None:
        with suppress(AkinError):
            self.when_dropping(name)
        self.index.drop(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.index, name)


def test_a_generation_that_is_gone_cannot_be_activated_and_leaves_the_live_one(tmp_path: Path) -> None:
    with installation(tmp_path) as made, hand_driven(made) as akin:
        three_generations(made, akin)
        load = made.encoders.get

        def clean_up_meanwhile(fingerprint: str) -> Any:
            made.encoders.get = load
            akin.finish()  # the third goes live, and of the others only the second is kept
            return load(fingerprint)

        made.encoders.get = clean_up_meanwhile
        with pytest.raises((ConflictError, NotFoundError)):
            akin.reindexer.activate("first")

        assert akin.live.name == "third"


def test_only_what_was_live_can_be_activated(akin: Akin) -> None:
    with pytest.raises(NotFoundError):
        akin.reindexer.activate("never there")
    assert akin.reindexer.activate(akin.live.name) == akin.live
    begun = akin.reindexer.request()
    with pytest.raises(ConflictError):
        akin.reindexer.activate(begun.name)
