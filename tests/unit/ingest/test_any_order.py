"""Whatever happens in whatever order, the index agrees with the ledger in the end."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from reconciling import FaultyIndex, expected_vector, faulty, item, void

from ingest.errors import UnavailableError
from ingest.index.filter_parser import parse_filter
from ingest.items import AttributeType
from ingest.reindex import Reindexer
from ingest.store.records import GenerationState
from ingest.submit import submit_items
from ingest.sweep import sweep
from tests.fakes import HashingEncoder, Installation, RecordingQueue, installation

IDS = st.sampled_from("abcdefgh")
TEXTS = st.sampled_from(["red bird", "blue river", "green stone", "two words", "one"])
YEARS = st.integers(1990, 1993)


@dataclass
class Standing:
    """What the model knows of an item; `text` is None once it is deleted."""

    version: int
    text: str | None
    year: int


class AnyOrder(RuleBasedStateMachine):
    """Writes, deletions, re-imports, duplicate, late and reordered messages, faults, restarts and rebuilds, at random.

    However they come, the index holds in the end exactly what a dictionary would, with the last version's vectors.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.model: dict[str, Standing] = {}
        self.queue = RecordingQueue()
        self.generations = 1
        self.opened = ExitStack()
        self.akin: Installation

    @initialize()
    def begin(self) -> None:
        self.akin = self.opened.enter_context(installation(self.folder))

    @rule(items=st.lists(st.tuples(IDS, TEXTS, YEARS), min_size=1, max_size=4), revive=st.booleans())
    def put(self, items: list[tuple[str, str, int]], revive: bool) -> None:
        batch = [item(i, text, attributes={"year": year}) for i, text, year in items]
        submission = submit_items(self.akin.ledger, self.queue, self.akin.settings, batch, revive=revive)
        refused = set()
        for n, (i, text, year) in enumerate(items):
            standing = self.model.get(i)
            if standing is None:
                self.model[i] = Standing(1, text, year)
            elif standing.text is None and not revive:
                refused.add(n)
            elif (standing.text, standing.year) != (text, year):
                self.model[i] = Standing(standing.version + 1, text, year)
        assert {error.index for error in submission.errors} == refused

    @rule(i=IDS, text=TEXTS, year=YEARS, step=st.integers(-3, 3))
    def put_version(self, i: str, text: str, year: int, step: int) -> None:
        standing = self.model.get(i)
        version = max(1, (standing.version if standing else 0) + step)
        offered = item(i, text, attributes={"year": year}, version=version)
        submission = submit_items(self.akin.ledger, self.queue, self.akin.settings, [offered])
        newer = standing is None or version > standing.version
        same = standing is not None and (standing.version, standing.text, standing.year) == (version, text, year)
        assert bool(submission.errors) == (not newer and not same)
        if newer:
            self.model[i] = Standing(version, text, year)

    @rule(ids=st.lists(IDS, min_size=1, max_size=3))
    def delete(self, ids: list[str]) -> None:
        self.akin.queue = self.queue
        self.akin.delete_items(ids, place=False)
        for i in set(ids):
            if (standing := self.model.get(i)) and standing.text is not None:
                self.model[i] = Standing(standing.version + 1, None, 0)

    @precondition(lambda self: self.queue.messages)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Any message, however old, and as often as it likes."""
        self.akin.reconciler.reconcile(data.draw(st.sampled_from(self.queue.messages[-20:])))

    @rule(away=st.booleans())
    def broker(self, away: bool) -> None:
        self.queue.away = away

    @rule(ids=st.lists(IDS, min_size=1, max_size=8, unique=True), applied=st.booleans())
    def fail_in_the_index(self, ids: list[str], applied: bool) -> None:
        def away(_: Sequence[Any]) -> None:
            raise UnavailableError("the connection was lost")

        faults = {"after_upsert" if applied else "before_upsert": away}
        try:
            faulty(self.akin, FaultyIndex(self.akin.index, **faults)).reconcile(ids)
        except UnavailableError:
            return

    @rule(ids=st.lists(IDS, min_size=1, max_size=4, unique=True))
    def change_during_work(self, ids: list[str]) -> None:
        """A worker stores its points, and the first item changes before it records them."""
        once = iter([0])

        def change(_: Sequence[Any]) -> None:
            if next(once, None) is not None:
                self.put([(ids[0], "changed meanwhile", 1999)], revive=False)

        faulty(self.akin, FaultyIndex(self.akin.index, after_upsert=change)).reconcile(ids)

    @rule()
    def restart(self) -> None:
        self.opened.close()
        self.opened = ExitStack()
        self.akin = self.opened.enter_context(installation(self.folder, live=False))
        self.akin.encoders.add(HashingEncoder())
        self.akin.ledger.pending.make_due(break_leases=True)

    @precondition(lambda self: self.generations < 4 and not self.akin.ledger.generations.under_way())
    @rule()
    def begin_generation(self) -> None:
        self.generations += 1
        name = f"g{self.generations}"
        self.akin._begin(name, HashingEncoder(), GenerationState.BUILDING)
        self.akin.ledger.generations.catch_up(name, mean=None, items=0, job_id=name)

    @precondition(lambda self: self.akin.ledger.generations.under_way())
    @rule()
    def switch(self) -> None:
        under_way = self.akin.ledger.generations.under_way()
        assert under_way is not None
        self.akin.go_live(under_way.name)

    @precondition(lambda self: self.retired())
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        reindexer = Reindexer(self.akin.settings, self.akin.ledger, self.akin.index, self.akin.encoders, void)
        reindexer.activate(data.draw(st.sampled_from(self.retired())))

    def retired(self) -> list[str]:
        return [g.name for g in self.akin.ledger.generations.list() if g.state is GenerationState.RETIRED]

    def drain(self) -> None:
        self.queue.away = False
        for _ in range(50):
            if not self.akin.ledger.pending.count():
                return
            self.akin.ledger.pending.make_due()
            self.queue.messages.clear()
            sweep(self.akin.settings, self.akin.ledger, self.queue)
            for message in list(self.queue.messages):
                self.akin.reconciler.reconcile(message)
        raise AssertionError("items are pending for ever")

    def check(self) -> None:
        ledger, declared = self.akin.ledger, {"year": AttributeType.INTEGER}
        standing = {i: s for i, s in self.model.items() if s.text is not None}
        assert ledger.pending.set_aside() == []
        live = ledger.generations.live()
        assert live is not None
        collection = self.akin.index.open(live.name)
        assert sorted(collection.ids()) == sorted(standing)
        assert ledger.placements.count(live.name) == len(standing)
        versions = {i: p.version for i, p in ledger.placements.of(live.name, standing).items() if p.present}
        assert versions == {i: s.version for i, s in standing.items()}
        for i, vector in collection.vectors(list(standing)).items():
            text = standing[i].text
            assert text is not None
            assert np.allclose(vector, expected_vector(self.akin, text), atol=1e-6)
        for year in (*range(1990, 1994), 1999):
            having = {i for i, s in standing.items() if s.year == year}
            assert collection.matching_ids(list(standing), parse_filter({"eq": {"year": year}}, declared)) == having

    def teardown(self) -> None:
        if hasattr(self, "akin"):
            self.drain()
            self.check()
        self.opened.close()


# Thirty steps can be read as they are; shrinking them, with a real index behind each try, would take many minutes.
AnyOrder.TestCase.settings = hypothesis_settings(
    max_examples=12, stateful_step_count=30, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
TestAnyOrder = pytest.mark.slow(AnyOrder.TestCase)
