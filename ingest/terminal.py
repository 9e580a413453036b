"""Taking in files with progress for a person who waits at a terminal."""

import time
from collections.abc import Callable
from contextlib import suppress

from ingest import readers
from ingest.errors import HomeInUseError
from ingest.files import FileReport, FileSource, take_events, take_items
from ingest.home import is_held
from ingest.progress import progress_bar, share_bar, spinner
from ingest.queue import Queue
from ingest.settings import Settings
from ingest.store.ledger import Ledger

QUIET_SECONDS = 2.0  # longer than the maintenance takes to notice that a rebuild is due


def take_items_file(
    ledger: Ledger,
    queue: Queue,
    settings: Settings,
    source: FileSource,
    *,
    start: Callable[[], object] | None = None,
    wait: bool = True,
) -> FileReport:
    """Submit a file under a bar that shows what is searchable already.

    `start` brings up a worker, once: at the first change, or when something waits that an earlier run left, and not
    before nobody else has the data folder. An unchanged file then never loads an encoder. With `wait`, returns when
    nothing is pending any more.
    """
    changed = 0
    with progress_bar("items searchable") as show:

        def see_to_a_worker() -> None:
            nonlocal start
            # Whoever has the folder may place what waits, or leave before it is placed.
            if start is not None and not is_held(settings.home):
                with suppress(HomeInUseError):  # somebody was quicker
                    start()
                    start = None

        def committed(more: int) -> None:
            nonlocal changed
            changed += more
            if changed:
                see_to_a_worker()
            show(max(0, changed - ledger.pending.count()), None)

        report = take_items(ledger, queue, settings, source, progress=readers.Progress(), committed=committed)
        total = max(changed, ledger.pending.count() if wait else 0)  # what an earlier run left is waited for as well
        while wait and (waiting := ledger.pending.count()):
            see_to_a_worker()
            show(max(0, total - waiting), total)
            time.sleep(0.05)
        show(total, total)
    return report


def take_events_file(ledger: Ledger, settings: Settings, source: FileSource) -> FileReport:
    """Submit a file of events under a bar that shows how much of it is read."""
    progress = readers.Progress()
    with share_bar("events", readers.file_size_hint(source.source, source.format)) as show:
        report = take_events(ledger, settings, source, progress=progress, committed=lambda: show(progress.done))
        show(progress.done)
    return report


def wait_for_quiet(ledger: Ledger) -> None:
    """Wait until nothing is pending and no generation is under way, the rebuild after a first ingest included."""
    with spinner("index") as say:
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < QUIET_SECONDS:
            if waiting := ledger.pending.count():
                say(f"{waiting} items to place")
                quiet_since = time.monotonic()
            elif under_way := ledger.generations.under_way():
                say(f"a new generation is {under_way.state.replace('_', ' ')}")
                quiet_since = time.monotonic()
            time.sleep(0.1)
