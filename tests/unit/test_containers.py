"""Servers in containers, with an engine that runs a plain program instead."""

import os
import signal
import sys

import pytest

from tests.containers import container, container_engine
from tests.processes import answers, soon

ENGINE = """#!{python}
import os, subprocess, sys, pathlib

folder = pathlib.Path(__file__).parent
listener = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); " \\
    "print(s.getsockname()[1], flush=True); time.sleep(60)"
with (folder / "calls").open("a") as calls:
    print(*sys.argv[1:], file=calls)
match sys.argv[1]:
    case "info":
        sys.exit({info})
    case "run":
        process = subprocess.Popen([sys.executable, "-c", listener], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        (folder / "port").write_text(process.stdout.readline())
        (folder / "pid").write_text(str(process.pid))
        print("c0ffee")
    case "port":
        print("127.0.0.1:" + (folder / "port").read_text())
    case "rm":
        os.kill(int((folder / "pid").read_text()), {signal})
"""


@pytest.fixture
def engine(tmp_path, monkeypatch):
    def make(name="docker", info=0):
        program = tmp_path / name
        program.write_text(ENGINE.format(python=sys.executable, info=info, signal=int(signal.SIGKILL)))
        program.chmod(0o755)
        return program

    monkeypatch.setenv("PATH", str(tmp_path))
    container_engine.cache_clear()
    yield make
    container_engine.cache_clear()


def test_a_container_answers_on_a_port_of_this_machine_and_is_gone_afterwards(engine, tmp_path):
    made = engine()
    with container("image:1", 5432, {"METHOD": "trust"}) as port:
        assert answers(port)
    assert soon(lambda: not answers(port), 10)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[1] == "run --detach --rm --publish=127.0.0.1::5432 --env=METHOD=trust image:1"
    assert calls[-1] == "rm --force --volumes c0ffee"
    assert container_engine() == str(made)


def test_it_is_gone_also_when_the_test_fails(engine):
    engine()
    with pytest.raises(ZeroDivisionError), container("image:1", 1) as port:
        raise ZeroDivisionError
    assert soon(lambda: not answers(port), 10)


def test_an_engine_that_cannot_run_is_none(engine):
    engine("docker", info=1)
    assert container_engine() is None
    container_engine.cache_clear()
    podman = engine("podman")
    assert container_engine() == os.fspath(podman)
