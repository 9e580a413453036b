"""Processes that work beside the serving one: they are polite, do not outlive it, and say what they came to."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

Outcome = TypeVar("Outcome")

NICENESS = 10
GRACE_SECONDS = 5.0  # for a process that is done to leave by itself
_PR_SET_PDEATHSIG = 1  # of prctl(2)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """What a process sends in place of its outcome, or is found to have come to without a word."""

    reason: str
    away: bool = False  # a dependency did not answer: the same may succeed later
    lost: bool = False  # it ended without a word


class Child(Generic[Outcome]):
    """Work in a spawned process. It may send messages while it works, and ends with an `Outcome` or Failed."""

    def __init__(self, what: str, outcome: type[Outcome], main: Callable[..., None], *arguments: Any) -> None:
        """Start `main` with the arguments, the id of this process, and its end of the pipe."""
        self._what = what
        self._outcome = outcome
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe(duplex=False)
        self._process: BaseProcess = context.Process(target=main, args=(*arguments, os.getpid(), theirs), daemon=True)
        self._process.start()
        theirs.close()

    def poll(self, heard: Callable[[Any], None] = lambda _: None) -> Outcome | Failed | None:
        """What the work came to, or None while it goes on; `heard` is told of every message before that."""
        try:
            while self._pipe.poll():
                message = self._pipe.recv()
                if isinstance(message, (self._outcome, Failed)):
                    self.stop(grace=GRACE_SECONDS)
                    return message
                heard(message)
        except EOFError:
            self._process.join()
            self.stop()
            reason = f"the {self._what} process ended with exit code {self._process.exitcode}"
            return Failed(reason=reason, lost=True)
        return None

    def stop(self, grace: float = 0.0) -> None:
        """End the process, which is done (give it some grace to leave) or not wanted any more."""
        self._process.join(timeout=grace)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()


def be_a_child_of(parent: int) -> None:
    """Let the serving process go first, and end with it: an orphan would hold for minutes what the next start wants.

    On Linux it also ends with the thread that started it, which must therefore be the one that waits for it.
    """
    if sys.platform == "linux":
        # A thread here would not be let run while an index is optimised; the kernel asks nobody.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()  # it may have died before that
    os.nice(NICENESS)


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
