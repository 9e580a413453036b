"""A Qdrant that is slow, busy or refuses: writes wait and arrive, questions are answered with 503 in time."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from ingest.encoder.library import EncoderLibrary
from ingest.errors import UnavailableError
from ingest.index.protocol import Collection, CollectionSpec, Index, Point, Query
from ingest.index.server import connect
from ingest.index.server_calls import OPEN_SECONDS
from ingest.reindex import configured_encoder
from ingest.settings import Settings
from ingest.store.generations import NewGeneration
from ingest.store.ledger import open_ledger
from ingest.store.records import GenerationState
from tests.artifacts import tiny_artifact
from tests.processes import ROOT, Program, answers, environment_with, free_port, soon

SPEC = CollectionSpec(dimensions=4, attributes={})
VECTOR = np.array([1, 0, 0, 0], np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("qdrant")
    port = free_port()
    command = [sys.executable, "-m", "tests.qdrant_stand_in", str(port)]
    program = Program("qdrant", command, environment_with({}), folder / "qdrant.log")
    program.start()
    assert soon(lambda: answers(port)), program.said()
    yield f"http://127.0.0.1:{port}"
    program.kill()


@pytest.fixture
def index(server: str) -> Iterator[Index]:
    made = connect(Settings(qdrant_url=server, qdrant_timeout_seconds=1, qdrant_write_seconds=8))
    yield made
    trouble(server)
    made.shut()


@pytest.fixture
def collection(index: Index, server: str) -> Iterator[Collection]:
    made = index.create("trouble", SPEC)
    made.upsert([point("there")])
    yield made
    trouble(server)
    time.sleep(OPEN_SECONDS)  # the circuit may be open still
    index.drop("trouble")


def trouble(server: str, **wanted: Any) -> None:
    httpx.post(f"{server}/faults", json=wanted, timeout=10)


def point(item_id: str) -> Point:
    return Point(item_id=item_id, text=VECTOR, attributes={})


def ask(collection: Collection) -> list[str]:
    return [hit.item_id for hit in collection.query(Query(text=VECTOR, limit=5))]


def test_a_command_that_asks_in_its_own_process_says_in_one_sentence_that_the_server_is_away(tmp_path: Path) -> None:
    # given an installation whose server went away
    settings = Settings(home=tmp_path, encoder=tiny_artifact(), qdrant_url=f"http://127.0.0.1:{free_port()}")
    with open_ledger(settings.ledger_url) as ledger, EncoderLibrary(tmp_path) as encoders:
        fingerprint, dimensions = configured_encoder(settings, ledger, encoders)
        new = NewGeneration(name="g", fingerprint=fingerprint, dimensions=dimensions, attributes=settings.attributes)
        ledger.generations.begin(new, GenerationState.LIVE)
    variables = {
        "AKIN_HOME": str(tmp_path), "AKIN_ENCODER": str(tiny_artifact()), "AKIN_QDRANT_URL": str(settings.qdrant_url)
    }  # fmt: skip

    # when somebody searches
    command = [sys.executable, "-m", "akin", "search", "sea"]
    asked = subprocess.run(
        command, env=environment_with(variables), cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )

    # then one line says what is the matter
    assert asked.returncode == 1
    [line] = asked.stderr.splitlines()
    assert line.startswith("akin: ")
    assert "Qdrant" in line


def test_a_slow_server_is_not_waited_for(collection: Collection, server: str) -> None:
    trouble(server, slow=3.0, only="/points/query")
    began = time.monotonic()

    with pytest.raises(UnavailableError):
        ask(collection)

    assert time.monotonic() - began < 2.5
    trouble(server)
    assert soon(lambda: answered(collection), 5)


def answered(collection: Collection) -> bool:
    try:
        return ask(collection) == ["there"]
    except UnavailableError:
        return False


@pytest.mark.parametrize(
    "fault", [{"status": 429}, {"status": 503}, {"status": 429, "retry_after": 1}, {"hang_up": True}]
)
def test_a_write_outlasts_a_server_that_is_busy_for_a_while(
    collection: Collection, server: str, fault: dict[str, Any]
) -> None:
    trouble(server, **fault, calls=2)

    collection.upsert([point("late")])

    assert set(collection.ids()) == {"there", "late"}


def test_retry_after_is_honoured(collection: Collection, server: str) -> None:
    trouble(server, status=429, retry_after=2, calls=1)
    began = time.monotonic()

    collection.upsert([point("late")])

    assert time.monotonic() - began >= 2


def test_a_write_gives_up_in_the_end(collection: Collection, server: str) -> None:
    trouble(server, status=503)
    began = time.monotonic()

    with pytest.raises(UnavailableError):
        collection.upsert([point("never")])

    assert time.monotonic() - began < 10


def test_a_server_that_hangs_up_is_soon_not_asked_any_more(collection: Collection, server: str) -> None:
    trouble(server, hang_up=True)
    for _ in range(4):
        with pytest.raises(UnavailableError):
            ask(collection)

    began = time.monotonic()
    with pytest.raises(UnavailableError):
        ask(collection)

    assert time.monotonic() - began < 0.2
    trouble(server)
    assert soon(lambda: answered(collection), 5)


def test_a_loading_collection_has_no_graph_until_it_is_asked_for(index: Index, server: str) -> None:
    collection = index.create("loading", SPEC, loading=True)
    links = lambda: httpx.get(f"{server}/collections/akin-loading").json()["result"]["config"]["hnsw_config"]["m"]  # noqa: E731
    assert links() == 0

    collection.optimise()
    collection.optimise()

    assert links() == 16
    assert collection.unindexed() == 0
    index.drop("loading")
