"""A ledger in SQLite and in PostgreSQL, and what its suites write into it."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.events import Event
from ingest.items import AttributeType, Item
from ingest.store.generations import NewGeneration
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.placements import Placement
from ingest.store.records import Generation, GenerationState
from ingest.store.schema import migrate
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


def vector(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(4).astype(np.float32)


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
