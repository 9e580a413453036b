"""What commands start that only the program can wire together: it is handed to them as the object of their context."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import typer

from ingest.settings import Settings

if TYPE_CHECKING:
    from ingest.catalogue import Catalogue
    from ingest.queue import Queue
    from ingest.reindex import Reindexer

    Checks = Mapping[str, Callable[[], None]]  # whether parts of this process work, by name; each raises when not
    OpenedWriteSide = AbstractContextManager[tuple[Catalogue, Queue, Reindexer, Checks]]
    WriteSide = Callable[[Settings], OpenedWriteSide]


class Worker(Protocol):
    """The write side in this process; `rebuilds`: whether it stays for long enough to build an index anew."""

    def __call__(self, settings: Settings, *, rebuilds: bool) -> "OpenedWriteSide":
        """Open it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """How to open what a command needs beside its own package."""

    worker: Worker


def open_worker(context: typer.Context, settings: Settings, *, rebuilds: bool) -> "OpenedWriteSide":
    """The write side in this process: an open catalogue, and a worker that keeps its index in order."""
    wiring: Wiring = context.find_root().obj
    return wiring.worker(settings, rebuilds=rebuilds)
