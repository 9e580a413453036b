"""Thousands of operations in any order, with crashes and restarts, against a plain dictionary."""

import random
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ingest.index.protocol import Query
from ingest.items import Item
from ingest.queue import NoQueue
from ingest.reconcile import Reconciler
from ingest.store.records import GenerationState
from ingest.submit import delete_items, submit_items
from tests.fakes import HashingEncoder, Installation, installation
from tests.faults.conftest import SEED, SHORT

IDS = [f"i{n}" for n in range(12)]
some_ids = st.lists(st.sampled_from(IDS), min_size=1, max_size=6)


class Crash(BaseException):
    """The process is gone: nobody handles this."""


class CrashingCollection:
    """Applies some of a write, then the process is gone."""

    def __init__(self, collection: Any, after: int) -> None:
        self.collection, self.after = collection, after

    def upsert(self, points: Any) -> None:
        self.collection.upsert(points[: self.after])
        raise Crash

    def delete(self, item_ids: Any) -> None:
        self.collection.delete(item_ids[: self.after])
        raise Crash

    def __getattr__(self, name: str) -> Any:
        return getattr(self.collection, name)


class CrashingIndex:
    def __init__(self, index: Any, after: int) -> None:
        self.index, self.after = index, after

    def open(self, name: str) -> CrashingCollection:
        return CrashingCollection(self.index.open(name), self.after)


class Model(RuleBasedStateMachine):
    """`texts` is what was acknowledged last, `versions` what the ledger must hold for it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(
            tempfile.mkdtemp(prefix="akin-model-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        )
        self.encoder = HashingEncoder()
        self.texts: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.generations = 1
        self.open(live=True)

    def open(self, *, live: bool = False) -> None:
        self.stack = ExitStack()
        made = installation(self.folder, live=live, encoder=self.encoder, lease_seconds=60)
        self.akin: Installation = self.stack.enter_context(made)
        self.akin.encoders.add(self.encoder)
        if not live:
            self.akin.ledger.pending.make_due(break_leases=True)  # as an installation does when it is opened

    def teardown(self) -> None:
        self.settle()
        self.stack.close()
        shutil.rmtree(self.folder)

    @rule(ids=some_ids, text=st.text("abcd ", max_size=8))
    def put(self, ids: list[str], text: str) -> None:
        items = [Item(item_id=i, title=f"{i} {text}") for i in dict.fromkeys(ids)]
        submit_items(self.akin.ledger, NoQueue(), self.akin.settings, items, revive=True)
        for item in items:
            if self.texts.get(item.item_id) != item.title:
                self.texts[item.item_id] = item.title
                self.versions[item.item_id] = self.versions.get(item.item_id, 0) + 1

    @rule(item_id=st.sampled_from(IDS), text=st.text("abcd ", max_size=8), version=st.integers(1, 40))
    def put_versioned(self, item_id: str, text: str, version: int) -> None:
        """A producer that numbers its versions, and whose messages overtake each other."""
        item = Item(item_id=item_id, title=f"{item_id} {text}", version=version)
        accepted = not submit_items(self.akin.ledger, NoQueue(), self.akin.settings, [item]).errors
        newer = version > self.versions.get(item_id, 0)
        same = version == self.versions.get(item_id) and self.texts.get(item_id) == item.title
        assert accepted == (newer or same)
        if newer:
            self.texts[item_id], self.versions[item_id] = item.title, version

    @rule(ids=some_ids)
    def delete(self, ids: list[str]) -> None:
        delete_items(self.akin.ledger, NoQueue(), self.akin.settings, ids)
        for item_id in set(ids) & set(self.texts):
            del self.texts[item_id]
            self.versions[item_id] += 1

    @rule(ids=some_ids, times=st.integers(1, 3))
    def deliver(self, ids: list[str], times: int) -> None:
        """Messages that are late, out of order, and come more than once."""
        for _ in range(times):
            self.akin.reconciler.reconcile(ids)

    @rule(ids=some_ids, after=st.integers(0, 3))
    def crash_while_placing(self, ids: list[str], after: int) -> None:
        akin = self.akin
        dying = Reconciler(akin.settings, akin.ledger, CrashingIndex(akin.index, after), akin.encoders)
        try:
            dying.reconcile(ids)
        except Crash:
            self.restart()

    @rule()
    def restart(self) -> None:
        self.stack.close()
        self.open()

    @precondition(lambda self: self.akin.ledger.generations.under_way() is None)
    @rule()
    def begin_generation(self) -> None:
        self.generations += 1
        name = f"generation-{self.generations}"
        self.akin._begin(name, self.encoder, GenerationState.BUILDING)
        self.akin.ledger.generations.catch_up(name, mean=None, items=0, job_id=name)

    @precondition(lambda self: self.akin.ledger.generations.under_way() is not None)
    @rule()
    def switch(self) -> None:
        under_way = self.akin.ledger.generations.under_way()
        assert under_way is not None
        self.akin.go_live(under_way.name)

    @rule(chance=st.randoms(use_true_random=False))
    def go_back(self, chance: random.Random) -> None:
        retired = [g for g in self.akin.ledger.generations.list() if g.state is GenerationState.RETIRED]
        if retired:
            name = chance.choice(retired).name
            self.akin.index.open(name).delete(self.akin.ledger.placements.deleted_but_present(name))
            self.akin.go_live(name)

    @rule()
    def settle(self) -> None:
        """Let the work be done, and look at everything."""
        self.akin.place_all()
        self.akin.ledger.pending.retry()  # what was in the way of four crashes has been set aside, rightly
        self.akin.place_all()
        akin, live = self.akin, self.akin.ledger.generations.live()
        assert live is not None
        rows = {row.item.item_id: row for page in akin.ledger.items.pages() for row in page}
        assert {i: row.item.title for i, row in rows.items()} == self.texts
        assert {i: row.version for i, row in rows.items()} == {i: self.versions[i] for i in self.texts}
        assert akin.ledger.pending.set_aside() == []
        for generation in akin.ledger.generations.receiving_writes():
            collection = akin.index.open(generation.name)
            assert sorted(collection.ids()) == sorted(self.texts)
            for item_id, title in self.texts.items():
                [hit] = collection.query(Query(text=self.encoder.embed([title])[0], limit=1, among=[item_id]))
                assert hit.score > 0.999, (item_id, title)

    @invariant()
    def one_is_live(self) -> None:
        states = [g.state for g in self.akin.ledger.generations.list()]
        assert states.count(GenerationState.LIVE) == 1


def test_the_final_state_is_the_one_of_a_dictionary() -> None:
    examples, steps = (6, 60) if SHORT else (400, 500)
    print(f"AKIN_SEED={SEED}: {examples} runs of {steps} operations")
    machine = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=False,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],  # explaining a failure traces every line: minutes, in which it times out
    )
    from hypothesis import seed

    seed(SEED)(Model)
    run_state_machine_as_test(Model, settings=machine)
