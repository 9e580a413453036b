"""`akin ingest`: taking in a file of items or events."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.commands.options import (
    FileArgument,
    FormatOption,
    JsonOption,
    MapOption,
    MappingOption,
    RejectsOption,
    finish,
)
from ingest.commands.wiring import open_worker
from ingest.settings import load_settings

if TYPE_CHECKING:
    from ingest.store.ledger import Ledger

app = typer.Typer(help="Take in a file of items or events (JSON Lines, CSV, Parquet; .gz, .zst; - is stdin).")


@app.command("events")
def ingest_events(
    file: FileArgument,
    mapping: MappingOption = None,
    map_: MapOption = None,
    format_: FormatOption = None,
    rejects: RejectsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in events. Exit code 3 when a row was refused; running it again adds nothing."""
    from ingest.commands.output import show
    from ingest.files import file_source
    from ingest.store.ledger import open_ledger
    from ingest.terminal import take_events_file

    settings = load_settings()
    source = file_source(file, mapping=mapping, options=map_, format=format_, rejects=rejects)
    source.check_events(settings)
    with open_ledger(settings.ledger_url) as ledger:
        report = take_events_file(ledger, settings, source)
    show(report.as_json(), as_json=as_json)
    finish(report)


@app.command("items")
def ingest_items(
    context: typer.Context,
    file: FileArgument,
    mapping: MappingOption = None,
    map_: MapOption = None,
    format_: FormatOption = None,
    rejects: RejectsOption = None,
    wait: Annotated[bool, typer.Option(help="Wait until everything is searchable.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Take in items. Exit code 3 when a row was refused; running it again changes and embeds nothing."""
    from ingest.commands.output import show
    from ingest.files import file_source
    from ingest.queue import NoQueue
    from ingest.store.ledger import open_ledger
    from ingest.terminal import take_items_file

    settings = load_settings()
    source = file_source(file, mapping=mapping, options=map_, format=format_, rejects=rejects)
    source.check_items(settings)
    with open_ledger(settings.ledger_url) as ledger, ExitStack() as stack:

        def start() -> None:
            stack.enter_context(open_worker(context, settings, rebuilds=False))

        # Beside a running akin the ledger is enough: whoever holds the index finds what is pending there.
        alone = wait and not settings.cluster
        with saying_what_waits(ledger):
            report = take_items_file(ledger, NoQueue(), settings, source, start=start if alone else None, wait=wait)
        job = ledger.jobs.get(report.job_id or "")
    show({**report.as_json(), "failed": job.failed if job else 0}, as_json=as_json)
    finish(report)


@contextmanager
def saying_what_waits(ledger: "Ledger") -> Iterator[None]:
    """Whoever interrupts is told that nothing accepted is lost, and how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        waiting = ledger.pending.count()
        typer.echo(
            f"akin: stopped. What was accepted is kept; {waiting} items are not searchable yet. "
            "The same command goes on with them, and so does `akin up`",
            err=True,
        )
        raise
