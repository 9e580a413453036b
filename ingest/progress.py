"""How far long work has come, on standard error, for a person who waits at a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

LINE_SECONDS = 10.0  # between two lines where nobody watches

stderr = Console(stderr=True)


@contextmanager
def spinner(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner for work whose length is not known; call what it gives with the present step.

    Where standard error is no terminal, a line at the first step and one now and then.
    """
    if not stderr.is_terminal:
        yield _lines(what)
        return
    with stderr.status(what) as status:
        yield lambda step: status.update(f"{what}: {step}")


def _lines(what: str) -> Callable[[str], None]:
    next_at = 0.0

    def say(step: str) -> None:
        nonlocal next_at
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + LINE_SECONDS
            stderr.print(f"{what}: {step}", markup=False, highlight=False)

    return say


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar; call what it gives with how much is done and, once it is known, the total."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr) as bars:
        task = bars.add_task(what, total=None)

        def show(done: int, total: int | None) -> None:
            bars.update(task, completed=done, total=total)

        yield show


@contextmanager
def share_bar(what: str, whole: int | None) -> Iterator[Callable[[int], None]]:
    """A bar in per cent; call what it gives with how much of the whole is done, which is None where nobody knows it."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr) as bars:
        task = bars.add_task(what, total=whole)
        yield lambda done: bars.update(task, completed=done)
