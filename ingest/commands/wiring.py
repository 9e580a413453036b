"""What commands start that only the program can wire together: it is handed to them as the object of their context."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from ingest.settings import Settings

if TYPE_CHECKING:
    from ingest.catalogue import Catalogue
    from ingest.queue import Queue
    from ingest.reindex import Reindexer

    Checks = Mapping[str, Callable[[], None]]  # whether parts of this process work, by name; each raises when not
    WriteSide = Callable[[Settings], AbstractContextManager[tuple[Catalogue, Queue, Reindexer, Checks]]]


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """How to open what a command needs beside its own package."""

    worker: "WriteSide"  # in this process


def open_worker(
    context: typer.Context, settings: Settings
) -> AbstractContextManager[tuple["Catalogue", "Queue", "Reindexer", "Checks"]]:
    """The write side in this process: an open catalogue, and a worker that keeps its index in order."""
    wiring: Wiring = context.find_root().obj
    return wiring.worker(settings)
