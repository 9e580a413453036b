"""A process that works beside the serving one ends with it, even while it can run no Python."""

import ctypes
import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from ingest.child import be_a_child_of

context = multiprocessing.get_context("spawn")


def hold_the_interpreter(parent: int, pipe: Connection) -> None:
    """What optimising an index does: nothing else of this process runs meanwhile."""
    be_a_child_of(parent)
    pipe.send(os.getpid())
    ctypes.PyDLL(None).sleep(30)


def serve(pipe: Connection) -> None:
    child = context.Process(target=hold_the_interpreter, args=(os.getpid(), pipe))
    child.start()
    child.join()


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread of the child looks, which must be let run")
def test_a_child_that_holds_its_interpreter_does_not_outlive_its_parent() -> None:
    ours, theirs = context.Pipe(duplex=False)
    parent = context.Process(target=serve, args=(theirs,))
    parent.start()
    child = ours.recv()
    time.sleep(0.5)
    assert lives(child)

    parent.kill()
    parent.join()

    until = time.monotonic() + 5
    while lives(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not lives(child)


def be_orphaned_at_once(pipe: Connection) -> None:
    be_a_child_of(1 if os.getppid() != 1 else 2)  # the parent was gone before we could ask to die with it
    time.sleep(5)
    pipe.send("still here")


def test_a_child_whose_parent_is_gone_already_ends() -> None:
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=be_orphaned_at_once, args=(theirs,))
    child.start()
    child.join(20)

    assert child.exitcode == 1
    assert not ours.poll()
