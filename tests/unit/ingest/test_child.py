"""A process beside the serving one says how far it is, what it came to, and ends when it is told to."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from ingest.child import Child, Failed, be_a_child_of


@dataclass(frozen=True, kw_only=True)
class Counted:
    to: int


def count(to: int, parent: int, pipe: Connection) -> None:
    be_a_child_of(parent)
    for n in range(to):
        pipe.send(n)
    pipe.send(Counted(to=to))


def give_up(parent: int, pipe: Connection) -> None:
    pipe.send(Failed(reason=f"no work for a child of {parent}"))


def die(_parent: int, _pipe: Connection) -> None:
    os._exit(3)


def never_end(_parent: int, _pipe: Connection) -> None:
    time.sleep(600)


def outcome_of(child: Child[Any], heard: Callable[[Any], None] = lambda _: None) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (outcome := child.poll(heard)) is not None:
            return outcome
        time.sleep(0.02)
    raise AssertionError("it does not end")


def test_what_is_said_on_the_way_comes_before_the_outcome() -> None:
    heard: list[int] = []

    assert outcome_of(Child("counting", Counted, count, 3), heard.append) == Counted(to=3)
    assert heard == [0, 1, 2]


def test_the_reason_of_a_failure_is_its_outcome() -> None:
    assert outcome_of(Child("lazy", Counted, give_up)) == Failed(reason=f"no work for a child of {os.getpid()}")


def test_a_process_that_ends_without_a_word_has_failed() -> None:
    reason = "the dying process ended with exit code 3"

    assert outcome_of(Child("dying", Counted, die)) == Failed(reason=reason, lost=True)


def test_one_that_is_not_wanted_any_more_is_ended() -> None:
    child = Child("endless", Counted, never_end)
    assert child.poll() is None

    started = time.monotonic()
    child.stop()

    assert time.monotonic() - started < 10
