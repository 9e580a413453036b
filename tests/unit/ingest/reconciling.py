"""Items and indexes that the tests of reconciling share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingest.items import Item
from ingest.reconcile import Reconciler
from ingest.text import render
from tests.fakes import HashingEncoder, Installation


@dataclass
class FaultyIndex:
    """An index whose writes do, before or after they are applied, what a test asks for."""

    index: Any
    before_upsert: Callable[[Sequence[Any]], None] = lambda _: None
    after_upsert: Callable[[Sequence[Any]], None] = lambda _: None

    def open(self, name: str) -> "FaultyCollection":
        return FaultyCollection(self, self.index.open(name))


@dataclass
class FaultyCollection:
    faults: FaultyIndex
    collection: Any

    @property
    def average_length(self) -> float | None:
        return self.collection.average_length

    def upsert(self, points: Sequence[Any]) -> None:
        self.faults.before_upsert(points)
        self.collection.upsert(points)
        self.faults.after_upsert(points)

    def delete(self, item_ids: Sequence[str]) -> None:
        self.collection.delete(item_ids)


def item(item_id: str, text: str = "", **fields: Any) -> Item:
    return Item(item_id=item_id, text=text or f"text of {item_id}", **fields)


def faulty(akin: Installation, index: FaultyIndex) -> Reconciler:
    return Reconciler(akin.settings, akin.ledger, index, akin.encoders)


def expected_vector(akin: Installation, text: str) -> np.ndarray:
    return HashingEncoder().embed([render(akin.settings.text_template, item("x", text))])[0]


def void(*_: Any) -> Any: ...
