"""A reindex killed at any named point leaves a complete live generation; the next run succeeds and leaves no orphan."""

import multiprocessing
import random
from collections.abc import Iterator
from typing import Any

import pytest

from ingest.index.engines import open_index
from ingest.items import Item
from ingest.queue import NoQueue
from ingest.store.ledger import open_ledger
from ingest.store.records import GenerationState
from ingest.submit import delete_items, submit_items
from tests.artifacts import tiny_artifact, tiny_text
from tests.cluster import Cluster, cluster
from tests.faults import reindexing
from tests.faults.conftest import SHORT
from tests.faults.reindexing import POINTS
from tests.final_state import check_final_state
from tests.services import empty

ITEMS, BATCH = 200, 10
CHOSEN = list(POINTS)
FORKS = multiprocessing.get_context("forkserver")  # its children have everything imported, and no threads
FORKS.set_forkserver_preload(["tests.faults.reindexing"])


@pytest.fixture(scope="module")
def installation(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("reindex")
    made_with = {"AKIN_BATCH_ITEMS": str(BATCH), "AKIN_LEASE_SECONDS": "3", "AKIN_ENCODER_THREADS": "1"}
    with cluster(
        folder, encoder=tiny_artifact(), database_url=postgres_url, broker_url="memory://", **made_with
    ) as made:
        yield made
    empty(postgres_url)


class Run:
    """One process of `tests.faults.reindexing` after the other."""

    def __init__(self, installation: Cluster) -> None:
        self.installation = installation
        self.model: dict[str, str | None] = {}

    def write(self, chance: random.Random) -> None:
        """A few changes and a deletion, so that no two generations hold the same."""
        settings = self.installation.settings()
        ids = [f"i{n}" for n in range(ITEMS)] if not self.model else chance.sample(sorted(self.model), 5)
        texts = {i: tiny_text(chance) for i in ids if i not in self.model or self.model[i] is not None}
        with open_ledger(settings.ledger_url) as ledger:
            submit_items(ledger, NoQueue(), settings, [Item(item_id=i, title=t) for i, t in texts.items()])
            self.model |= texts
            gone = chance.choice([i for i, text in sorted(self.model.items()) if text is not None])
            delete_items(ledger, NoQueue(), settings, [gone])
            self.model[gone] = None

    def start(self, *, point: str | None = None, reindex: bool = False) -> Any:
        environment = {k: v for k, v in self.installation.environment.items() if k.startswith("AKIN_")}
        started = FORKS.Process(target=reindexing.run, args=(environment, point), kwargs={"reindex": reindex})
        started.start()
        return started

    def process(self, *, point: str | None = None, reindex: bool = False) -> int:
        """The exit status of one process; -9: it killed itself."""
        started = self.start(point=point, reindex=reindex)
        started.join(90)
        if started.is_alive():
            started.kill()
            pytest.fail(f"still at it after 90 s, point {point}")
        assert started.exitcode in (0, -9)
        return int(started.exitcode)


@pytest.fixture(scope="module")
def run(installation: Cluster) -> Run:
    """An installation with as many generations as are kept: the next one drops the oldest."""
    run = Run(installation)
    run.write(random.Random(1))
    assert run.process() == 0
    assert run.process(reindex=True) == 0
    return run


@pytest.fixture
def points(chance: random.Random) -> list[str]:
    return sorted(chance.sample(CHOSEN, 4), key=CHOSEN.index) if SHORT else CHOSEN


@pytest.mark.timeout(900)
def test_a_reindex_that_is_killed_leaves_a_complete_index_and_can_be_run_again(
    run: Run, points: list[str], chance: random.Random
) -> None:
    settings = run.installation.settings()
    for point in points:
        before = live_ids(run)

        assert run.process(point=point, reindex=True) == -9, f"{point} was never reached"

        # the live generation is there, whichever it is, with every item that was there before
        after = live_ids(run)
        assert before <= after | {i for i, text in run.model.items() if text is None}, point

        # what was killed is finished, or begun again, by whoever comes next
        run.write(chance)
        assert run.process() == 0, point
        assert run.process(reindex=True) == 0, point
        check_final_state(settings, run.model)
        with open_ledger(settings.ledger_url) as ledger:
            known = {g.name: g.state for g in ledger.generations.list()}
        index = open_index(settings)
        assert set(index.names()) <= set(known), point
        index.shut()
        assert list(known.values()).count(GenerationState.LIVE) == 1, point
        assert len([s for s in known.values() if s in (GenerationState.LIVE, GenerationState.RETIRED)]) <= 2, point
    print(f"killed at {len(points)} points: {', '.join(points)}")


@pytest.mark.timeout(200)
def test_two_reindexes_at_once_end_in_one(run: Run) -> None:
    settings = run.installation.settings()
    with open_ledger(settings.ledger_url) as ledger:
        before = {g.name for g in ledger.generations.list()}
    processes = [run.start(reindex=True) for _ in range(2)]
    for process in processes:
        process.join(90)
        assert process.exitcode == 0

    with open_ledger(settings.ledger_url) as ledger:
        begun = [g for g in ledger.generations.list() if g.name not in before]
        assert sum(g.state is GenerationState.LIVE for g in ledger.generations.list()) == 1
    # the second found the first one's under way, or, once that was done, made one after it: never two at a time
    assert all(g.state in (GenerationState.LIVE, GenerationState.RETIRED) for g in begun)
    check_final_state(settings, run.model)


def live_ids(run: Run) -> set[str]:
    settings = run.installation.settings()
    with open_ledger(settings.ledger_url) as ledger:
        live = ledger.generations.live()
    assert live is not None
    index = open_index(settings)
    ids = set(index.open(live.name).ids())
    index.shut()
    return ids
