"""Keys, erasure and backup as an operator uses them: commands in processes of their own, the real model and index."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from test_program import Program

from ingest import sample

pytestmark = pytest.mark.slow

ITEM = "pudding-weather"


@pytest.fixture
def program(tmp_path: Path) -> Program:
    made = Program(tmp_path / "home", {n: str(t) for n, t in sample.ATTRIBUTES.items()})
    made.json("ingest", "items", str(sample.ITEMS))
    made.json("ingest", "events", str(sample.EVENTS))
    return made


def status(url: str, key: str | None = None) -> int:
    request = urllib.request.Request(url, headers={} if key is None else {"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_a_public_address_is_listened_on_with_a_key_and_commands_beside_it_need_none(program: Program) -> None:
    assert "akin keys create" in program.run("up", "--host", "0.0.0.0", code=1).stderr
    made = program.json("keys", "create", "shop", "--scope", "query")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "akin", "up", "--host", "0.0.0.0", "--port", str(port)],
        env=program.variables,
        cwd=program.home.parent,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        base = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 90
        while status(f"{base}/readyz") != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)

        assert status(f"{base}/v1/search?query=bread") == 401
        assert status(f"{base}/v1/search?query=bread", made["key"]) == 200
        assert status(f"{base}/v1/rejects", made["key"]) == 403
        assert len(program.json("search", "bread")["items"]) == 10

        program.json("keys", "revoke", made["id"])
        deadline = time.monotonic() + 10
        while status(f"{base}/v1/search?query=bread", made["key"]) != 401:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        server.terminate()
        said = server.communicate(timeout=60)[1]
    assert made["key"] not in said
    assert made["key"].encode() not in (program.home / "ledger.sqlite").read_bytes()


def test_what_was_erased_is_proved_to_be_gone(program: Program) -> None:
    user = program.json("erase", "reader-01", "--verify")
    item = program.json("erase", "--item", ITEM, "--verify")

    assert user["events"] > 0
    assert (user["clean"], item["clean"]) == (True, True)
    assert item["searched_for"][:3] == ["item id", "title", "text"]
    assert len(program.json("generations")["generations"]) == 1
    assert "no such item" in program.run("similar", ITEM, code=1).stderr
    again = program.json("erase", "--item", ITEM, "--verify")
    assert again["clean"]
    assert again["searched_for"] == ["item id"]


def test_what_is_left_in_a_file_is_named_and_exits_with_1(program: Program) -> None:
    (program.home / "export.csv").write_text("reader-02,like\n")

    report = json.loads(program.run("erase", "reader-02", "--verify", "--json", code=1).stdout)

    assert [(trace["where"], trace["times"]) for trace in report["traces"]] == [("export.csv", 1)]


def test_a_restored_backup_answers_as_before(program: Program, tmp_path: Path) -> None:
    program.json("reindex")  # words are weighed by the catalogue that an index was made with
    before = program.json("search", "a lighthouse keeper")["items"]
    made = program.json("backup", str(tmp_path / "b.zip"))
    other = Program(tmp_path / "elsewhere", {n: str(t) for n, t in sample.ATTRIBUTES.items()})

    restored = other.json("restore", str(tmp_path / "b.zip"))

    assert restored["rows"] == made["rows"]
    assert [i["item_id"] for i in other.json("search", "a lighthouse keeper")["items"]] == [
        i["item_id"] for i in before
    ]
    assert "--force" in other.run("restore", str(tmp_path / "b.zip"), code=1).stderr
