"""A whole installation as processes of its own: API, workers, clocks, and the stand-in for a Qdrant server."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ingest.settings import Settings
from ingest.store.ledger import open_ledger
from ingest.store.schema import migrate
from tests.processes import Program, akin_program, answers, environment_with, free_port, soon


@dataclass
class Cluster:
    """What a test starts, kills and asks."""

    folder: Path
    environment: dict[str, str]
    qdrant_port: int
    qdrant: Program
    programs: list[Program] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    def settings(self) -> Settings:
        names = {f"AKIN_{name.upper()}": name for name in Settings.model_fields}
        given = {names[key]: value for key, value in self.environment.items() if key in names}
        attributes = {k: json.loads(v) if v.startswith(("{", "[")) else v for k, v in given.items()}
        return Settings(**attributes)

    def start_api(self, **variables: str) -> Program:
        port = free_port()
        program = self._start("serve", {"AKIN_PORT": str(port), **variables})
        self.urls.append(f"http://127.0.0.1:{port}")
        return program

    def start_worker(self, *options: str, **variables: str) -> Program:
        return self._start("worker", variables, *options)

    def start_with_fault(self, kind: str, *options: str, **variables: str) -> Program:
        """A program with a fault built in; see `tests.faults.akin_with`."""
        return self._start(kind, variables, *options, module="tests.faults.akin_with")

    def start_beat(self, **variables: str) -> Program:
        return self._start("beat", variables)

    def start_qdrant(self) -> None:
        self.qdrant.start()
        assert soon(lambda: answers(self.qdrant_port)), self.qdrant.said()

    def wait_until_ready(self, seconds: float = 60) -> None:
        for url in self.urls:
            assert soon(lambda url=url: ready(url), seconds), self.said()

    def wait_until_quiet(self, seconds: float = 90) -> None:
        """Nothing pending and no generation under way."""
        with open_ledger(self.environment["AKIN_DATABASE_URL"]) as ledger:
            quiet = lambda: ledger.pending.count() == 0 and ledger.generations.under_way() is None  # noqa: E731
            assert soon(quiet, seconds, every=0.2), f"{ledger.pending.count()} pending; {self.said()}"

    @contextmanager
    def supervised(self) -> Iterator[list[str]]:
        """Start again whatever ends, as systemd or Kubernetes do; gives the names of what ended."""
        ended: list[str] = []
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.2):
                for program in self.programs:
                    if not program.runs:
                        ended.append(program.name)
                        program.start()

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield ended
        finally:
            stop.set()
            watching.join()

    def said(self) -> str:
        return "\n".join(f"--- {program.name}\n{program.said(1_500)}" for program in self.programs)

    def stop(self) -> None:
        for program in [*self.programs, self.qdrant]:
            program.kill()

    def _start(self, kind: str, variables: dict[str, str], *options: str, module: str = "akin") -> Program:
        name = f"{kind}-{sum(program.name.startswith(kind) for program in self.programs)}"
        environment = {**self.environment, **variables}
        program = akin_program(self.folder, name, [kind, *options], environment, module=module)
        program.start()
        self.programs.append(program)
        return program


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def cluster(
    folder: Path, *, encoder: Path, database_url: str, broker_url: str, keeps_points: bool = True, **variables: str
) -> Iterator[Cluster]:
    """An installation whose ledger has its tables and whose Qdrant stand-in runs; the rest is for the test to start."""
    migrate(database_url)
    port = free_port()
    environment = environment_with(
        {
            "AKIN_HOME": str(folder / "home"),
            "AKIN_ENCODER": str(encoder),
            "AKIN_ATTRIBUTES": json.dumps({"year": "integer"}),
            "AKIN_MIN_FREE_BYTES": "0",
            "AKIN_DATABASE_URL": database_url,
            "AKIN_BROKER_URL": broker_url,
            "AKIN_QDRANT_URL": f"http://127.0.0.1:{port}",
            **variables,
        }
    )
    command = [
        sys.executable,
        "-m",
        "tests.qdrant_stand_in",
        str(port),
        *([str(folder / "qdrant")] if keeps_points else []),
    ]
    made = Cluster(folder, environment, port, Program("qdrant", command, environment, folder / "qdrant.log"))
    try:
        made.start_qdrant()
        yield made
    finally:
        made.stop()
