"""The kill test: what was acknowledged survives `kill -9` at any moment, and becomes searchable without anyone's help.

A server is killed again and again while two writers feed it over HTTP and through files. Whatever was acknowledged goes
into a dictionary, whatever was not is repeated. In the end the index must hold what the dictionary holds.
AKIN_KILLS raises the number of kills, AKIN_SEED repeats a run.
"""

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest.documents import document
from ingest.items import Item
from ingest.settings import Settings
from tests.artifacts import default_artifact
from tests.final_state import check_final_state

KILLS = int(os.environ.get("AKIN_KILLS", "20"))
SEED = int(os.environ.get("AKIN_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
ITEMS_PER_WRITER = 300
QUIET_SECONDS = 90.0
VOCABULARY = (
    "amber anchor apple arrow autumn basket beacon birch bramble bridge candle canyon castle cedar cider clover comet "
    "copper coral cotton cradle crystal desert dragon ember falcon feather fiddle forest garden glacier granite harbor "
    "hazel hermit island ivory jasmine kettle lantern lemon linen marble meadow mirror nectar needle ocean orchard otter "
    "paper pearl pepper pigeon pilgrim prairie quarry rabbit raven river saddle saffron sailor shadow silver sparrow "
    "spindle summer temple thunder timber tunnel valley velvet violet walnut willow winter wizard"
)


@dataclass
class Server:
    """`akin up` in a process group of its own, which is killed and started again."""

    environment: dict[str, str]
    log: Path
    url: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "akin", "up"]
            self.process = subprocess.Popen(
                command, env=self.environment, cwd=self.log.parent, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, *, alone: bool = False) -> None:
        """Kill -9 the group; `alone` only the server, as the kernel does when memory runs out."""
        assert self.process is not None
        if alone:
            self.process.kill()
        else:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(60)

    def wait_until_ready(self) -> None:
        for _ in range(600):
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError(f"the server does not become ready: {self.log.read_text()[-3_000:]}")


@dataclass
class Writer:
    """Feeds its own range of ids, one operation after the other; `model` is what was acknowledged (None: deleted)."""

    name: str
    url: str
    environment: dict[str, str]
    folder: Path
    random: random.Random
    model: dict[str, str | None] = field(default_factory=dict)
    acknowledged: int = 0
    repeated: int = 0

    def run(self, stop: threading.Event) -> None:
        operations = [self.post_batch] * 6 + [self.put] * 6 + [self.delete] * 5 + [self.ingest_file, self.reindex]
        with httpx.Client(base_url=f"{self.url}/v1", timeout=10) as client:
            while not stop.is_set() or len(self.model) < ITEMS_PER_WRITER:
                self.random.choice(operations)(client)
                time.sleep(self.random.uniform(0, 0.05))

    def post_batch(self, client: httpx.Client) -> None:
        texts = self.some_texts(40)
        items = [{"item_id": i, "title": text, "attributes": {"year": len(text)}} for i, text in texts.items()]
        answer = self.until_acknowledged(client, "POST", "/items:batch", {"items": items})
        refused = {error["item_id"] for error in answer["errors"]}
        deleted = {i for i in texts if i in self.model and self.model[i] is None}
        assert refused == deleted, answer["errors"]
        self.model |= {i: text for i, text in texts.items() if i not in refused}

    def put(self, client: httpx.Client) -> None:
        [(i, text)] = self.some_texts(1).items()
        self.until_acknowledged(client, "PUT", f"/items/{i}", {"title": text, "attributes": {"year": 1}})
        self.model[i] = text

    def delete(self, client: httpx.Client) -> None:
        known = [i for i, text in self.model.items() if text is not None]
        if known:
            i = self.random.choice(known)
            self.until_acknowledged(client, "DELETE", f"/items/{i}", None)
            self.model[i] = None

    def ingest_file(self, _: httpx.Client) -> None:
        texts = self.some_texts(80)
        file = self.folder / f"{self.name}.jsonl"
        lines = [json.dumps({"item_id": i, "title": text}) for i, text in texts.items()]
        file.write_text("\n".join(lines) + "\n")
        while not self.ingested(file):
            self.repeated += 1
        self.acknowledged += 1
        self.model |= {i: text for i, text in texts.items() if i not in self.model or self.model[i] is not None}

    def ingested(self, file: Path) -> bool:
        """Run `akin ingest items`, which is killed now and then, too."""
        command = [sys.executable, "-m", "akin", "ingest", "items", str(file), "--no-wait", "--json"]
        command += ["--rejects", str(file.with_suffix(".rejects"))]
        process = subprocess.Popen(
            command, env=self.environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        with process:
            try:
                patience = self.random.uniform(0.3, 2.5) if self.random.random() < 0.3 else 60
                _, said = process.communicate(timeout=patience)
            except subprocess.TimeoutExpired:
                process.kill()
                return False
        assert process.returncode in (0, 3), said  # 3: rows of deleted items were refused
        return True

    def reindex(self, client: httpx.Client) -> None:
        self.until_acknowledged(client, "POST", "/generations", None)

    def some_texts(self, at_most: int) -> dict[str, str]:
        ids = [f"{self.name}-{n}" for n in range(ITEMS_PER_WRITER)]
        chosen = self.random.sample(ids, self.random.randint(1, at_most))
        return {i: " ".join(self.random.choices(VOCABULARY.split(), k=self.random.randint(5, 10))) for i in chosen}

    def until_acknowledged(self, client: httpx.Client, method: str, path: str, body: Any) -> Any:
        while True:
            try:
                answer = client.request(method, path, json=body)
            except httpx.TransportError:
                self.repeated += 1
                time.sleep(0.05)
                continue
            every_item_refused = answer.status_code == 422 and "errors" in answer.json()
            assert answer.status_code == 202 or every_item_refused, answer.text
            self.acknowledged += 1
            return answer.json()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home",
        encoder=default_artifact(),
        port=free_port(),
        attributes={"year": "integer"},
        min_free_bytes=0,
        encoder_threads=1,
    )


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AKIN_")}
    return inherited | {
        "AKIN_HOME": str(settings.home),
        "AKIN_PORT": str(settings.port),
        "AKIN_ENCODER": str(settings.encoder),
        "AKIN_ATTRIBUTES": json.dumps({"year": "integer"}),
        "AKIN_MIN_FREE_BYTES": "0",
        "AKIN_ENCODER_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


@pytest.fixture
def server(tmp_path: Path, settings: Settings, environment: dict[str, str]) -> Iterator[Server]:
    server = Server(environment=environment, log=tmp_path / "server.log", url=f"http://127.0.0.1:{settings.port}")
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.timeout(200 + 12 * KILLS)
def test_nothing_acknowledged_is_lost_and_nothing_deleted_comes_back(
    server: Server, settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    print(f"AKIN_SEED={SEED} AKIN_KILLS={KILLS}")
    chance = random.Random(SEED)

    # given writers that repeat whatever is not acknowledged
    stop = threading.Event()
    writers = [Writer(n, server.url, environment, tmp_path, random.Random(f"{SEED}{n}")) for n in ("p", "q")]
    failures: list[BaseException] = []
    threads = [threading.Thread(target=guarded, args=(writer, stop, failures)) for writer in writers]
    for thread in threads:
        thread.start()

    # when the server is killed at any moment: while it starts, takes in, embeds, places, or builds a generation
    for n in range(KILLS):
        if n % 4 == 0:
            server.wait_until_ready()  # else a slow machine would only ever be killed while starting
        time.sleep(chance.uniform(0.1, 4.0))
        server.kill(alone=chance.random() < 0.3)
        server.start()
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures

    # then all is in order soon, by itself
    wait_until_quiet(settings.home / "ledger.sqlite", server)
    model = {i: text for writer in writers for i, text in writer.model.items()}
    standing = {i: text for i, text in model.items() if text is not None}
    assert len(model) == 2 * ITEMS_PER_WRITER
    check_search(server, settings, chance.sample(sorted(standing.items()), 25))
    check_deleted(server, chance.sample(sorted(model.keys() - standing), min(25, len(model) - len(standing))))
    server.stop()
    check_final_state(settings, model)
    counts = {"acknowledged": sum(w.acknowledged for w in writers), "repeated": sum(w.repeated for w in writers)}
    print(f"{KILLS} kills, {counts}, {len(standing)} items, {len(model) - len(standing)} deleted: nothing lost")


def guarded(writer: Writer, stop: threading.Event, failures: list[BaseException]) -> None:
    try:
        writer.run(stop)
    except BaseException as error:  # noqa: BLE001 - told to the test's own thread
        failures.append(error)


def wait_until_quiet(ledger: Path, server: Server) -> None:
    """Nothing pending and no generation under way, seen without writing to the ledger."""
    server.wait_until_ready()
    unrest = (
        "SELECT (SELECT count(*) FROM pending), "
        "(SELECT count(*) FROM generations WHERE state IN ('building', 'catching_up'))"
    )
    quiet_since = time.monotonic()
    deadline = time.monotonic() + QUIET_SECONDS
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        while time.monotonic() - quiet_since < 2:
            if (waiting := connection.execute(unrest).fetchone()) != (0, 0):
                quiet_since = time.monotonic()
            assert time.monotonic() < deadline, (
                f"still pending, under way: {waiting}; {server.log.read_text()[-3_000:]}"
            )
            time.sleep(0.1)


def check_search(server: Server, settings: Settings, sample: list[tuple[str, str]]) -> None:
    for item_id, text in sample:
        query = document(Item(item_id=item_id, title=text), 1, settings.text_template).text
        answer = httpx.get(f"{server.url}/v1/search", params={"query": query, "limit": 3}, timeout=10)
        assert item_id in [hit["item_id"] for hit in answer.json()["items"]], (item_id, text)


def check_deleted(server: Server, sample: list[str]) -> None:
    for item_id in sample:
        assert httpx.get(f"{server.url}/v1/items/{item_id}", timeout=10).status_code == 404
