"""Queries go on while everything behind them is exchanged or killed: an answer, or 503 with the time to come back."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from ingest.store.ledger import Ledger, open_ledger
from ingest.store.records import GenerationState
from tests.artifacts import tiny_text
from tests.brokers import Broker
from tests.cluster import Cluster
from tests.faults.conftest import SHORT
from tests.processes import soon

ITEMS = 400


@dataclass
class Reader:
    """Asks one question after the other, and counts what it was told."""

    url: str
    random: random.Random
    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        with httpx.Client(base_url=f"{self.url}/v1", timeout=20) as client:
            while not stop.is_set():
                path = self.random.choice(
                    ["/search?query=red+bird", "/users/nobody/recommendations", "/items/i1/similar"]
                )
                answer = client.get(path)
                self.statuses[answer.status_code] += 1
                self.slowest = max(self.slowest, answer.elapsed.total_seconds())
                if answer.status_code == 200 and not answer.json()["items"]:
                    self.wrong.append(f"{path}: no items")
                if answer.status_code == 503 and int(answer.headers.get("Retry-After", "0")) < 1:
                    self.wrong.append(f"{path}: 503 without Retry-After")
                time.sleep(0.01)


@pytest.fixture
def api(installation: Cluster) -> Iterator[httpx.Client]:
    installation.start_api()
    with httpx.Client(base_url=f"{installation.urls[0]}/v1", timeout=30) as client:
        yield client


@pytest.mark.timeout(300)
def test_queries_succeed_through_reindex_switch_broker_death_and_worker_death(
    installation: Cluster, own_broker: Broker, api: httpx.Client, chance: random.Random
) -> None:
    # given an installation that answers
    workers = [installation.start_worker("--concurrency", "1") for _ in range(2)]
    clocks = [installation.start_beat() for _ in range(2)]
    installation.wait_until_ready()
    items = [{"item_id": f"i{n}", "title": tiny_text(chance)} for n in range(ITEMS)]
    assert api.post("/items:batch", json={"items": items}).status_code == 202
    installation.wait_until_quiet()
    readers = [Reader(installation.urls[0], random.Random(f"{chance.random()}")) for _ in range(2)]
    stop = threading.Event()
    threads = [threading.Thread(target=reader.run, args=(stop,)) for reader in readers]
    for thread in threads:
        thread.start()

    # when generations are exchanged while a worker, the broker and the clock die, and writes go on
    with open_ledger(installation.environment["AKIN_DATABASE_URL"]) as ledger:
        for _ in range(2 if SHORT else 10):
            begun = {ask["name"] for ask in at_once(api, 3)}
            assert len(begun) == 1  # several that ask at once get the same one
            chance.choice(workers).kill()
            own_broker.kill()
            api.put(f"/items/i{chance.randrange(ITEMS)}", json={"title": tiny_text(chance)})
            own_broker.start()
            chance.choice(clocks).kill()
            for program in [*workers, *clocks]:
                if not program.runs:
                    program.start()
            assert soon(lambda: ledger.generations.under_way() is None, 120, every=0.2), installation.said()
            [name] = begun
            assert ledger.generations.get(name).state is GenerationState.LIVE, ledger.generations.get(name)
        check_rollback(api, ledger)
    stop.set()
    for thread in threads:
        thread.join()

    # then hardly anybody noticed
    statuses = sum((reader.statuses for reader in readers), Counter())
    assert [wrong for reader in readers for wrong in reader.wrong] == []
    assert set(statuses) <= {200, 503}
    share = statuses[200] / statuses.total()
    print(f"{statuses.total()} queries, {share:.3%} answered, slowest {max(r.slowest for r in readers):.2f} s")
    assert statuses.total() >= 500
    assert share >= 0.999


def at_once(api: httpx.Client, n: int) -> list[dict[str, str]]:
    """The answers to as many requests for a reindex."""
    answers: list[dict[str, str]] = []
    threads = [threading.Thread(target=lambda: answers.append(api.post("/generations").json())) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def check_rollback(api: httpx.Client, ledger: Ledger) -> None:
    before = next(g for g in ledger.generations.list() if g.state is GenerationState.RETIRED)
    began = time.monotonic()
    assert api.post(f"/generations/{before.name}:activate").status_code == 200
    assert api.get("/search", params={"query": "bird"}).json()["generation"] == before.name
    assert time.monotonic() - began < 2
