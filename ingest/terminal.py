"""Long work with its progress on standard error, for a person who waits at a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ingest import readers
from ingest.encoder_report import EncoderReport, Sample, draw_sample, examine_encoder
from ingest.files import FileReport, FileSource, take_events, take_items
from ingest.queue import Queue
from ingest.settings import Settings
from ingest.store.ledger import Ledger

QUIET_SECONDS = 2.0  # longer than the maintenance takes to notice that a rebuild is due

stderr = Console(stderr=True)


@contextmanager
def spinner(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner for work whose length is not known; call what it gives with the present step."""
    with stderr.status(what) as status:
        yield lambda step: status.update(f"{what}: {step}")


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

    `start` is called at the first change: an unchanged file then never loads an encoder. With `wait`, returns when
    nothing is pending any more.
    """
    changed = 0
    with progress_bar("items searchable") as show:

        def committed(more: int) -> None:
            nonlocal changed, start
            changed += more
            if changed and start is not None:
                start()
                start = None
            show(max(0, changed - ledger.pending.count()), None)

        report = take_items(ledger, queue, settings, source, progress=readers.Progress(), committed=committed)
        while wait and (waiting := ledger.pending.count()):
            show(max(0, changed - waiting), changed)
            time.sleep(0.05)
        show(changed, changed)
    return report


def take_events_file(ledger: Ledger, settings: Settings, source: FileSource) -> FileReport:
    """Submit a file of events under a spinner."""
    with spinner("events"):
        return take_events(ledger, settings, source, progress=readers.Progress())


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


def export(source: str | None, folder: Path, **chosen: Any) -> dict[str, Any]:
    """Export an encoder under a spinner, with the options of `export_model`; returns what its manifest says."""
    from ingest.encoder.export import export_model  # noqa: PLC0415 - only an export needs the exporter's libraries

    with spinner("export") as say:
        return asdict(export_model(source, folder, progress=say, **chosen))


def sample_texts(settings: Settings, source: FileSource) -> Sample:
    """Texts of an items file as they would be embedded."""
    with spinner("reading"):
        return draw_sample(source.items(settings, readers.Progress()), settings.text_template)


def examine(folder: Path, sample: Sample) -> EncoderReport:
    """How an encoder does on these texts, under a spinner."""
    with spinner("encoder") as say:
        return examine_encoder(folder, sample, say)
