"""API, workers and clocks as processes of their own, over PostgreSQL, either broker and a shared Qdrant."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest.store.ledger import Ledger, open_ledger
from ingest.store.records import GenerationState
from tests.artifacts import default_artifact, tiny_artifact
from tests.cluster import Cluster, cluster
from tests.processes import ROOT, environment_with, soon
from tests.services import empty, postgres_database, redis_url
from workers.app import make_app

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_broker"))


@pytest.fixture(scope="module")
def running(broker: str, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One API, two workers and two clocks, ready."""
    folder = tmp_path_factory.mktemp("cluster")
    with cluster(folder, encoder=default_artifact(), database_url=postgres_url, broker_url=broker) as made:
        made.start_beat()
        made.start_beat()
        made.start_worker("--concurrency", "1")
        made.start_worker("--concurrency", "1")
        made.start_api()
        made.wait_until_ready()
        yield made
    empty(postgres_url)


@pytest.fixture
def api(running: Cluster) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{running.urls[0]}/v1", timeout=30) as client:
        yield client


@pytest.fixture
def ledger(running: Cluster) -> Iterator[Ledger]:
    with open_ledger(running.environment["AKIN_DATABASE_URL"]) as ledger:
        yield ledger


def found(api: httpx.Client, query: str) -> list[str]:
    answer = api.get("/search", params={"query": query, "limit": 3})
    return [hit["item_id"] for hit in answer.json()["items"]] if answer.status_code == 200 else []


def put(api: httpx.Client, *items: dict[str, Any]) -> None:
    assert api.post("/items:batch", json={"items": list(items)}).status_code == 202


def test_what_is_written_over_http_is_found_and_what_is_deleted_is_not(api: httpx.Client) -> None:
    put(api, {"item_id": "ferry", "title": "Night Ferry"}, {"item_id": "bread", "title": "Sourdough for beginners"})

    assert soon(lambda: found(api, "a ship at night")[:1] == ["ferry"])
    assert api.delete("/items/ferry").status_code == 202
    assert soon(lambda: "ferry" not in found(api, "a ship at night"))


def test_a_program_that_knows_only_celery_reaches_the_catalogue(
    running: Cluster, broker: str, api: httpx.Client, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "how-to" / "producers.md").read_text()
    script = tmp_path / "producer.py"
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    script.write_text(code)
    assert set(re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE)) == {"sys", "celery"}
    assert len([line for line in code.splitlines() if line.strip()]) <= 10

    environment = {k: v for k, v in environment_with({}).items() if k != "PYTHONPATH"}
    sent = subprocess.run([sys.executable, str(script), broker], cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False)  # fmt: skip

    assert sent.returncode == 0, sent.stderr
    assert soon(lambda: "from-elsewhere" in found(api, "sent by a program that knows only the queue")), running.said()


def test_a_reindex_goes_through_all_workers_and_the_nightly_one_runs_once_a_day(
    running: Cluster, ledger: Ledger, api: httpx.Client
) -> None:
    put(api, *({"item_id": f"n{n}", "title": f"story number {n}", "attributes": {"year": n}} for n in range(60)))
    running.wait_until_quiet()
    before = ledger.generations.live()

    app = make_app(running.settings())
    for _ in range(3):  # two clocks, and a message that came twice
        app.send_task("akin.reindex")

    assert soon(lambda: len(ledger.generations.list()) == 2 and ledger.generations.under_way() is None, 60)
    time.sleep(1)
    live = ledger.generations.live()
    assert len(ledger.generations.list()) == 2
    assert live is not None
    assert live != before
    assert live.mean is not None  # taken from a sample
    assert live.items >= 60
    assert soon(lambda: "n7" in found(api, "story number 7"))

    # and one that somebody asks for runs whenever it is asked for, and can be gone back from
    assert api.post("/generations").status_code == 202
    assert soon(lambda: sum(g.state is GenerationState.RETIRED for g in ledger.generations.list()) >= 1, 60)
    assert soon(lambda: ledger.generations.under_way() is None, 60)
    assert api.post(f"/generations/{live.name}:activate").status_code == 200
    assert soon(lambda: api.get("/search", params={"query": "story"}).json()["generation"] == live.name, 5)


def test_a_clock_that_is_killed_is_replaced_by_the_one_that_stands_by(
    running: Cluster, ledger: Ledger, api: httpx.Client
) -> None:
    clocks = [program for program in running.programs if program.name.startswith("beat")]
    [holder] = [clock for clock in clocks if "upkeep is ours" in clock.said()]
    [other] = [clock for clock in clocks if clock is not holder]

    holder.kill()

    assert soon(lambda: "upkeep is ours" in other.said(), 30)
    holder.start()


def test_without_qdrant_queries_say_when_to_come_back_and_writes_are_kept(running: Cluster, api: httpx.Client) -> None:
    put(api, {"item_id": "before", "title": "written before the outage"})
    assert soon(lambda: "before" in found(api, "written before the outage"))

    running.qdrant.kill()

    answers = [api.get("/search", params={"query": "anything"}) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
    assert answers[-1].elapsed.total_seconds() < 1
    put(api, {"item_id": "meanwhile", "title": "written in the dark"})

    running.start_qdrant()

    assert soon(lambda: "before" in found(api, "written before the outage"), 10)
    assert soon(lambda: "meanwhile" in found(api, "written in the dark"), 30)


def test_a_lost_qdrant_is_filled_again_from_the_ledger(running: Cluster, ledger: Ledger, api: httpx.Client) -> None:
    put(api, {"item_id": "kept", "title": "kept in the ledger"})
    running.wait_until_quiet()

    running.qdrant.kill()
    for file in sorted((running.folder / "qdrant").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    running.start_qdrant()

    assert soon(lambda: "kept" in found(api, "kept in the ledger"), 60), running.said()
    assert ledger.pending.set_aside() == []


def test_no_generation_goes_live_without_what_is_found_while_workers_are_away(
    running: Cluster, ledger: Ledger, api: httpx.Client
) -> None:
    # given a catalogue that changed as a whole while no worker runs
    put(api, *({"item_id": f"w{n}", "title": f"widget number {n}"} for n in range(30)))
    running.wait_until_quiet()
    before = _live(ledger)
    workers = [program for program in running.programs if program.name.startswith("worker")]
    for worker in workers:
        assert worker.terminate() == 0, worker.said()
    put(api, *({"item_id": f"w{n}", "title": f"widget number {n}, improved"} for n in range(30)))

    # when a reindex is asked for
    assert api.post("/generations").status_code == 202
    assert soon(lambda: _is(ledger, GenerationState.CATCHING_UP), 60), running.said()
    time.sleep(5)

    # then answers go on as before, and the switch waits for a worker
    assert _live(ledger) == before
    assert "w7" in found(api, "widget number 7")
    for worker in workers:
        worker.start()
    assert soon(lambda: ledger.generations.under_way() is None, 90), running.said()
    assert _live(ledger) != before
    assert "w7" in found(api, "widget number 7")


def _live(ledger: Ledger) -> str:
    live = ledger.generations.live()
    assert live is not None
    return live.name


def _is(ledger: Ledger, state: GenerationState) -> bool:
    under_way = ledger.generations.under_way()
    return under_way is not None and under_way.state is state


def test_a_program_that_is_told_to_stop_ends_well(running: Cluster, api: httpx.Client) -> None:
    for kind in ("worker", "beat", "serve"):
        program = next(program for program in running.programs if program.name.startswith(kind))
        started = time.monotonic()
        assert program.terminate() == 0, program.said()
        assert time.monotonic() - started < 30


def test_programs_that_wait_for_the_index_say_so_and_say_when_they_go_on(
    tmp_path: Path,
) -> None:
    with (
        postgres_database() as database,
        redis_url() as broker,
        cluster(tmp_path, encoder=tiny_artifact(), database_url=database, broker_url=broker) as made,
    ):
        # given a server that is away
        made.qdrant.kill()
        programs = [made.start_worker("--concurrency", "1"), made.start_api()]
        for program in programs:
            assert soon(lambda program=program: "not ready; waiting" in program.said(), 60), program.said()

        # when it comes, and a clock that makes the first generation
        made.start_qdrant()
        made.start_beat()
        made.wait_until_ready()

        # then each says that it goes on, and has said once that it waits
        for program in programs:
            assert soon(lambda program=program: '"event":"ready"' in program.said(), 60), program.said()
            assert program.said(1_000_000).count("not ready; waiting") == 1
