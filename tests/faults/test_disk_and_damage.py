"""One process, everything embedded: a disk that fills up, and files that were damaged while nobody looked."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.artifacts import tiny_artifact
from tests.processes import Program, akin_program, environment_with, free_port, soon

MIB = 1024 * 1024
DISK, WATERMARK = 96 * MIB, 24 * MIB


class Embedded:
    """`akin up` on a folder."""

    def __init__(self, home: Path, folder: Path, **variables: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.home = home
        self.environment = environment_with(
            {
                "AKIN_HOME": str(home),
                "AKIN_PORT": str(port),
                "AKIN_ENCODER": str(tiny_artifact()),
                "AKIN_ENCODER_THREADS": "1",
                "AKIN_ATTRIBUTES": json.dumps({"year": "integer"}),
                "AKIN_MIN_FREE_BYTES": "0",
                **variables,
            }
        )
        self.program: Program = akin_program(folder, "up", ["up"], self.environment)

    def start(self) -> None:
        self.program.start()
        assert soon(self.ready, 60), self.program.said()

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def put(self, *ids: str, text: str = "red bird") -> int:
        items = [{"item_id": i, "title": f"{i} {text}"} for i in ids]
        return httpx.post(f"{self.url}/v1/items:batch", json={"items": items}, timeout=30).status_code

    def found(self, limit: int = 200) -> set[str]:
        answer = httpx.get(f"{self.url}/v1/search", params={"query": "red bird", "limit": limit}, timeout=30)
        assert answer.status_code == 200, answer.text
        return {hit["item_id"] for hit in answer.json()["items"]}

    def refuses_to_start(self) -> str:
        """The one line it says instead."""
        done = subprocess.run(self.program.command, env=self.environment, cwd=self.home.parent, capture_output=True, timeout=60, check=False)  # fmt: skip
        assert done.returncode == 1, done.stderr
        [line] = [line for line in done.stderr.decode().splitlines() if line.startswith("akin: ")]
        assert "Traceback" not in done.stderr.decode()
        return line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, with little room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)], capture_output=True, check=False)  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip(f"a small disk can be mounted only as root: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    made = Embedded(tmp_path / "home", tmp_path)
    made.start()
    yield made
    made.program.kill()


@pytest.mark.timeout(200)
def test_on_a_full_disk_writes_are_refused_reads_go_on_and_room_ends_it(small_disk: Path, tmp_path: Path) -> None:
    akin = Embedded(small_disk / "home", tmp_path, AKIN_MIN_FREE_BYTES=str(WATERMARK))
    akin.start()
    try:
        assert akin.put("a", "b") == 202
        assert soon(lambda: akin.found() == {"a", "b"})

        ballast = small_disk / "ballast"
        ballast.write_bytes(os.urandom(MIB) * ((shutil.disk_usage(small_disk).free - WATERMARK // 2) // MIB))
        assert akin.put("c") == 507
        assert akin.found() == {"a", "b"}
        assert akin.program.runs

        ballast.unlink()
        assert akin.put("c") == 202
        assert soon(lambda: akin.found() == {"a", "b", "c"}), akin.program.said()
        assert akin.program.terminate() == 0
    finally:
        akin.program.kill()


@pytest.mark.timeout(200)
def test_a_flipped_byte_in_the_model_is_a_refusal_to_start(embedded: Embedded) -> None:
    embedded.program.terminate()
    for model in (embedded.home / "encoders").glob("*/model.onnx"):
        flip(model)
    elsewhere = embedded.home.parent / "encoder"
    shutil.copytree(tiny_artifact(), elsewhere)
    flip(elsewhere / "model.onnx")
    embedded.environment["AKIN_ENCODER"] = str(elsewhere)

    assert "model.onnx" in embedded.refuses_to_start()


@pytest.mark.timeout(200)
def test_a_damaged_shard_is_set_aside_and_filled_again(embedded: Embedded) -> None:
    embedded.put(*(f"i{n}" for n in range(50)))
    assert soon(lambda: len(embedded.found()) == 50)
    embedded.program.kill()
    for file in (embedded.home / "index").rglob("*"):
        if file.is_file() and file.stat().st_size and "spec" not in file.name:
            file.write_bytes(b"\xff" * file.stat().st_size)

    embedded.start()

    assert soon(lambda: len(embedded.found()) == 50), embedded.program.said()
    assert any(".unreadable-" in path.name for path in (embedded.home / "index").iterdir())


@pytest.mark.timeout(200)
def test_a_damaged_ledger_is_a_refusal_to_start(embedded: Embedded) -> None:
    embedded.program.terminate()
    for left in embedded.home.glob("ledger.sqlite-*"):
        left.unlink()
    flip(embedded.home / "ledger.sqlite", at=0, length=4096)

    assert "ledger" in embedded.refuses_to_start()


def flip(file: Path, *, at: int | None = None, length: int = 1) -> None:
    content = bytearray(file.read_bytes())
    start = len(content) // 2 if at is None else at
    for place in range(start, start + length):
        content[place] ^= 0xFF
    file.write_bytes(content)


if sys.platform != "linux":
    pytest.skip("kills and mounts are those of Linux", allow_module_level=True)
