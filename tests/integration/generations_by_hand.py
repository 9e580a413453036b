"""The write side by hand, step by step, for tests of the life of a generation."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ingest.catalogue import Catalogue
from ingest.items import Item
from ingest.reconcile import Reconciler
from ingest.reindex import Reindexer
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import Generation
from ingest.submit import delete_items, submit_items
from ingest.sweep import sweep
from tests.artifacts import default_artifact
from tests.fakes import Installation, installation


@dataclass(frozen=True)
class Measured:
    """As many users with the same gain."""

    ndcg_at_10: float = 0.5
    users: int = 100

    @property
    def by_text(self) -> dict[str, float]:
        return {f"user{n}": self.ndcg_at_10 for n in range(self.users)}

    @property
    def by_taste(self) -> dict[str, float]:
        return {}


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
