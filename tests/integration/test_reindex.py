"""The life of a generation with a real index, a real ledger and a real build process."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.catalogue import Catalogue, open_catalogue
from ingest.documents import centred, document
from ingest.errors import ArtifactError, ConflictError, NotFoundError, SupersededError, UnavailableError
from ingest.index.edge import EdgeIndex
from ingest.index.protocol import CollectionSpec, Hit, NoWordsError, Query
from ingest.items import Item
from ingest.reconcile import Reconciler
from ingest.reindex import Reindexer
from ingest.settings import Settings
from ingest.store.leases import UPKEEP
from ingest.store.ledger import Ledger
from ingest.store.records import Generation, GenerationState
from ingest.submit import delete_items, submit_items
from ingest.sweep import sweep
from ingest.words import query_words
from tests.artifacts import default_artifact
from tests.fakes import HashingEncoder, Installation, installation


@dataclass(frozen=True)
class Measured:
    ndcg_at_10: float = 0.5
    users: int = 100


def equally_good(_: Generation) -> Measured:
    return Measured()


@dataclass
class WorkingQueue:
    """Does the work at once instead of sending a message."""

    reconciler: Reconciler

    def wake(self, item_ids: Sequence[str]) -> bool:
        self.reconciler.reconcile(item_ids)
        return True

    def ping(self) -> None: ...


@dataclass
class Akin:
    """The write side by hand: what the maintenance thread does, step by step."""

    settings: Settings
    ledger: Ledger
    index: Any
    reconciler: Reconciler
    reindexer: Reindexer

    def put(self, *items: Item) -> None:
        submit_items(self.ledger, WorkingQueue(self.reconciler), self.settings, items)

    def delete(self, *item_ids: str) -> None:
        delete_items(self.ledger, WorkingQueue(self.reconciler), self.settings, item_ids)

    def step(self) -> None:
        self.ledger.pending.make_due()
        sweep(self.settings, self.ledger, WorkingQueue(self.reconciler))
        self.reindexer.advance()

    def work_until(self, done: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, self.ledger.generations.list()
            self.step()
            time.sleep(0.02)

    def finish(self) -> None:
        """Until nothing is under way and nothing pending."""
        self.work_until(lambda: not self.ledger.generations.under_way() and not self.ledger.pending.count())

    def reindex(self) -> Generation:
        begun = self.reindexer.request()
        self.finish()
        return self.ledger.generations.get(begun.name)

    @property
    def live(self) -> Generation:
        live = self.ledger.generations.live()
        assert live is not None
        return live

    def ids(self) -> set[str]:
        """What queries can find."""
        return set(self.index.open(self.live.name).ids())


@contextmanager
def hand_driven(made: Catalogue | Installation, evaluate: Any = equally_good, index: Any = None) -> Iterator[Akin]:
    reindexer = Reindexer(made.settings, made.ledger, index or made.index, made.encoders, evaluate)
    try:
        yield Akin(
            settings=made.settings,
            ledger=made.ledger,
            index=made.index,
            reconciler=made.reconciler,
            reindexer=reindexer,
        )
    finally:
        reindexer.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", encoder=default_artifact(), min_free_bytes=0, encoder_threads=1)


@pytest.fixture
def akin(tmp_path: Path) -> Iterator[Akin]:
    """60 items in a live generation of a fake encoder; builds succeed, because every vector is remembered."""
    with installation(tmp_path) as made, hand_driven(made) as akin:
        akin.put(*some_items(60))
        yield akin


def some_items(n: int, prefix: str = "i") -> list[Item]:
    return [item(f"{prefix}{i}", f"{prefix} text number {i}") for i in range(n)]


def item(item_id: str, text: str) -> Item:
    return Item(item_id=item_id, text=text)


# --- Building -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_writes_and_deletions_during_a_build_are_in_the_new_generation(settings: Settings) -> None:
    with open_catalogue(settings) as catalogue, hand_driven(catalogue) as akin:
        # given a catalogue with deletions, and a build under way
        akin.put(*some_items(80))
        akin.delete("i0")
        before = akin.live.name
        begun = akin.reindexer.request()
        assert akin.reindexer.request() == begun
        akin.reindexer.advance()

        # when items come, change and go while it runs
        model = {f"i{n}": f"i text number {n}" for n in range(1, 80)}
        for n in range(1, 1_000):
            if akin.ledger.generations.get(begun.name).state is not GenerationState.BUILDING:
                break
            assert akin.live.name == before
            akin.put(item(f"new{n}", f"a new item {n}"), item(f"i{n % 40 + 1}", f"changed {n}"))
            model |= {f"new{n}": f"a new item {n}", f"i{n % 40 + 1}": f"changed {n}"}
            if n > 5:
                akin.delete(f"new{n - 5}")
                del model[f"new{n - 5}"]
            akin.reindexer.advance()
        akin.delete("i60")
        del model["i60"]
        akin.finish()

        # then the new generation is live and holds exactly the last state, with the vectors of its encoder
        assert akin.live.name == begun.name
        assert akin.ids() == set(model)
        assert akin.ledger.generations.get(before).state is GenerationState.RETIRED
        assert akin.live.mean is not None
        documents = {i: document(item(i, text), 1, settings.text_template) for i, text in model.items()}
        sample = sorted(model)[::10]
        embedded = catalogue.encoders.get(akin.live.fingerprint).embed([documents[i].text for i in sample])
        stored = akin.index.open(begun.name).vectors(sample)
        for i, vector in zip(sample, embedded, strict=True):
            assert np.allclose(stored[i], centred(vector, akin.live.mean), atol=1e-5)
        assert akin.live.report["passed"] is True


def test_a_reindex_gives_words_to_an_index_that_was_built_without_them(akin: Akin) -> None:
    # given a live collection as it was made before there were words
    live, words = akin.live, query_words("number 7")
    akin.index.drop(live.name)
    akin.index.create(live.name, CollectionSpec(dimensions=live.dimensions, attributes=live.attributes))
    akin.ledger.placements.forget(live.name)
    akin.ledger.generations.missing(live.name, job_id="again")
    akin.finish()
    with pytest.raises(NoWordsError):
        akin.index.open(live.name).query(Query(words=words, limit=1))

    # when it is built again
    begun = akin.reindex()

    # then items are found by their words, weighed by the catalogue's own lengths
    collection = akin.index.open(begun.name)
    assert begun.state is GenerationState.LIVE
    assert collection.average_length == 4.0
    assert collection.query(Query(words=words, limit=60))[0].item_id == "i7"
    akin.put(item("late", "a zeppelin"))
    assert [hit.item_id for hit in collection.query(Query(words=query_words("Zeppelin"), limit=9))] == ["late"]


def test_a_build_reports_how_far_it_has_come(akin: Akin) -> None:
    akin.reindexer.request()
    seen = []

    def watch() -> bool:
        if akin.reindexer.progress:
            seen.append(akin.reindexer.progress)
        return akin.ledger.generations.under_way() is None

    akin.work_until(watch)

    assert all(progress.total == 60 and 0 <= progress.done <= 60 for progress in seen)
    assert akin.reindexer.progress is None
    assert akin.live.items == 60


def test_a_killed_build_fails_with_a_reason_and_the_live_generation_serves_on(akin: Akin) -> None:
    before = akin.live
    begun = akin.reindexer.request()
    akin.reindexer.advance()
    child = akin.reindexer._child
    assert child is not None
    assert child._process.pid is not None

    os.kill(child._process.pid, signal.SIGKILL)
    akin.finish()

    ended = akin.ledger.generations.get(begun.name)
    assert ended.state is GenerationState.FAILED
    assert "exit code -9" in ended.report["reason"]
    assert akin.live == before
    assert len(akin.ids()) == 60
    assert not akin.reindexer.rebuild_is_due()  # it would most likely fail again: a person or the night decides
    assert akin.reindex().state is GenerationState.LIVE


def test_a_build_that_cannot_embed_fails_with_the_reason(akin: Akin) -> None:
    akin.ledger.items.write([item("unknown", "never embedded")], job_id="j", revive=False, due_in=60)

    begun = akin.reindexer.request()
    while akin.reindexer.advance():
        time.sleep(0.02)

    ended = akin.ledger.generations.get(begun.name)
    assert ended.state is GenerationState.FAILED
    assert "encoder" in ended.report["reason"]


def test_a_build_interrupted_by_a_restart_is_done_again(tmp_path: Path) -> None:
    # given an akin that stopped while it built
    with installation(tmp_path) as made, hand_driven(made) as akin:
        akin.put(*some_items(60))
        begun = akin.reindexer.request()
        akin.reindexer.advance()
        time.sleep(0.5)

    # when it starts again
    with installation(tmp_path, live=False) as made, hand_driven(made) as akin:
        made.encoders.add(HashingEncoder())
        assert akin.ledger.generations.get(begun.name).state is GenerationState.BUILDING
        akin.put(item("added since", "i text number 5"))
        akin.delete("i7")
        akin.finish()

        # then the generation is complete and live
        assert akin.live.name == begun.name
        assert akin.ids() == {f"i{n}" for n in range(60) if n != 7} | {"added since"}


def test_a_rebuild_is_due_once_the_catalogue_has_outgrown_its_index(tmp_path: Path) -> None:
    with installation(tmp_path) as made, hand_driven(made) as akin:
        akin.put(*some_items(49))
        assert not akin.reindexer.rebuild_is_due()
        akin.put(*some_items(50))
        assert akin.reindexer.rebuild_is_due()
        made.ledger.items.write([item("waiting", "waits")], job_id="j", revive=False, due_in=60)
        assert not akin.reindexer.rebuild_is_due()
        akin.delete("waiting")
        akin.ledger.pending.make_due()
        akin.finish()

        akin.reindexer.request()
        assert not akin.reindexer.rebuild_is_due()
        akin.finish()

        assert not akin.reindexer.rebuild_is_due()
        akin.put(*some_items(40, "more"))
        assert not akin.reindexer.rebuild_is_due()
        akin.put(*some_items(60, "more"))
        assert akin.reindexer.rebuild_is_due()


def test_as_many_generations_are_kept_as_the_settings_say(akin: Akin) -> None:
    names = [akin.live.name, *(akin.reindex().name for _ in range(3))]

    assert [g.name for g in akin.ledger.generations.list()] == names[:1:-1]
    assert akin.index.names() == sorted(names[2:])
    assert [akin.ledger.placements.count(name) for name in names] == [0, 0, 60, 60]


def test_vectors_of_texts_that_stand_nowhere_are_forgotten_with_the_last_generation(akin: Akin) -> None:
    akin.put(item("i1", "another text"))
    old = document(item("i1", "i text number 1"), 1, akin.settings.text_template).content_hash

    assert old not in akin.ledger.placements.vectors(akin.reindex().fingerprint, [old])


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
        assert akin.ledger.generations.get("third").state is GenerationState.CATCHING_UP


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


def test_only_what_was_live_can_be_activated(akin: Akin) -> None:
    with pytest.raises(NotFoundError):
        akin.reindexer.activate("never there")
    assert akin.reindexer.activate(akin.live.name) == akin.live
    begun = akin.reindexer.request()
    with pytest.raises(ConflictError):
        akin.reindexer.activate(begun.name)


# --- Starting -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["garbage", "gone"])
def test_an_index_that_cannot_be_read_is_filled_again_from_the_ledger(settings: Settings, damage: str) -> None:
    # given a catalogue whose shard was damaged
    with open_catalogue(settings) as catalogue, hand_driven(catalogue) as akin:
        akin.put(*some_items(40))
        akin.delete("i3")
        name = akin.live.name
    folder = settings.home / "index" / name
    if damage == "gone":
        shutil.rmtree(folder)
    else:
        for file in (folder / "shard").rglob("*"):
            if file.is_file():
                file.write_bytes(b"garbage" * 10)

    # when akin starts
    with open_catalogue(settings) as catalogue, hand_driven(catalogue) as akin:
        assert akin.ids() == set()
        assert akin.ledger.pending.count() == 39
        akin.finish()

        # then everything is there again, and what was damaged is kept for whoever wants to look
        assert akin.live.name == name
        assert akin.ids() == {f"i{n}" for n in range(40) if n != 3}
    aside = list((settings.home / "index").glob(f"{name}.unreadable-*"))
    assert len(aside) == (damage == "garbage")


@pytest.mark.slow
def test_a_start_breaks_the_leases_of_the_dead(settings: Settings) -> None:
    with open_catalogue(settings) as catalogue:
        submit_items(catalogue.ledger, WorkingQueue(catalogue.reconciler), settings, [])
        catalogue.ledger.items.write([item("a", "text")], job_id="j", revive=False, due_in=60)
        catalogue.ledger.pending.claim(["a"], lease="dead", seconds=600)

    with open_catalogue(settings) as catalogue:
        assert catalogue.ledger.pending.due(10, put_off=0) == [("a", 1)]
