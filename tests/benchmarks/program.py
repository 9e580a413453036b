"""A real `akin up` of its own for a measurement: another process, a fresh data folder, a free port."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.reference import MOVIE_ATTRIBUTES

REPOSITORY = Path(__file__).resolve().parents[2]


def environment(home: Path, encoder: Path, port: int, attributes: dict[str, str]) -> dict[str, str]:
    """The variables of one installation."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AKIN_")},
        "AKIN_HOME": str(home),
        "AKIN_ENCODER": str(encoder),
        "AKIN_PORT": str(port),
        "AKIN_ATTRIBUTES": json.dumps(attributes),
        "PYTHONPATH": str(REPOSITORY),
    }


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Running:
    """A started akin."""

    url: str
    port: int
    process: "subprocess.Popen[bytes]"
    variables: dict[str, str]

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def memory_mb(self) -> float:
        """Resident memory of the whole process at its highest, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


@contextmanager
def running(home: Path, encoder: Path, attributes: dict[str, str] = MOVIE_ATTRIBUTES) -> Iterator[Running]:
    """`akin up`, ready to answer; stopped at the end."""
    port = free_port()
    variables = environment(home, encoder, port, attributes)
    process = subprocess.Popen([sys.executable, "-m", "akin", "up"], env=variables, stderr=subprocess.DEVNULL)
    akin = Running(url=f"http://127.0.0.1:{port}", port=port, process=process, variables=variables)
    try:
        _wait_until_ready(akin)
        yield akin
    finally:
        process.terminate()
        process.wait(60)


def command(akin: Running, *arguments: str) -> float:
    """Run an `akin` command beside it; returns the seconds of the whole process."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "akin", *arguments],
        env=akin.variables,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def wait_for_quiet(akin: Running) -> None:
    """Wait until the rebuild that a first ingest causes is over."""
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 3:
        states = {g["state"] for g in akin.get("/v1/generations")["generations"]}
        if states & {"building", "catching_up"}:
            quiet_since = time.monotonic()
        time.sleep(0.2)


def _wait_until_ready(akin: Running) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            akin.get("/readyz")
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("akin did not become ready within 60 s")
