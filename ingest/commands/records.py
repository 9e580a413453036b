"""Commands that read and write the ledger, and those that make again what is derived from it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ingest.commands.options import (
    FileArgument,
    FormatOption,
    JsonOption,
    MapOption,
    MappingOption,
    RejectsOption,
    finish,
    settings_of_what_is_there,
)
from ingest.commands.wiring import open_worker
from ingest.settings import load_settings

app = typer.Typer()


@app.command("validate")
def validate_command(
    file: FileArgument,
    events: Annotated[bool, typer.Option("--events", help="The file holds events; default: items.")] = False,
    mapping: MappingOption = None,
    map_: MapOption = None,
    format_: FormatOption = None,
    rejects: RejectsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what taking in a file would do, without doing it. Exit code 3 when a row would be refused."""
    from ingest.commands.output import show
    from ingest.files import file_source, validate
    from ingest.readers import Progress

    settings = load_settings()
    source = file_source(file, mapping=mapping, options=map_, format=format_, rejects=rejects)
    progress = Progress()
    rows = source.events(settings, progress) if events else source.items(settings, progress)
    report = validate(rows, source, progress)
    show(report.as_json(), as_json=as_json)
    finish(report)


@app.command("set-aside")
def set_aside(
    retry: Annotated[bool, typer.Option("--retry", help="Try all of them again.")] = False, as_json: JsonOption = False
) -> None:
    """List the items that could not be placed, with the reason; or try them again."""
    from ingest.commands.output import show
    from ingest.store.ledger import open_ledger

    with open_ledger(settings_of_what_is_there().ledger_url) as ledger:
        if retry:
            show({"retried": ledger.pending.retry()}, as_json=as_json)
            return
        found = ledger.pending.set_aside()
    show({one.item_id: one.reason for one in found}, as_json=as_json)


@app.command()
def rejects(as_json: JsonOption = False) -> None:
    """List what came through the queue and was refused, newest first."""
    from ingest.commands.output import show_rejects
    from ingest.store.journal import KEPT_REJECTS
    from ingest.store.ledger import open_ledger

    with open_ledger(settings_of_what_is_there().ledger_url) as ledger:
        found = ledger.rejects.list(KEPT_REJECTS)
    show_rejects([asdict(one) for one in found], as_json=as_json)


@app.command("migrate")
def migrate_command(as_json: JsonOption = False) -> None:
    """Bring the ledger's tables to what this akin needs. A ledger in SQLite does so by itself."""
    from ingest.commands.output import show
    from ingest.store.schema import migrate

    before, after = migrate(load_settings().ledger_url)
    show({"before": before or "empty", "after": after}, as_json=as_json)


@app.command("train-taste")
def train_taste(as_json: JsonOption = False) -> None:
    """Learn from all events which items go together. Beside a running akin, that one places it in its index."""
    import resource

    from ingest.catalogue import open_catalogue
    from ingest.commands.output import show
    from ingest.home import is_held
    from ingest.progress import spinner
    from ingest.store.ledger import open_ledger
    from ingest.train import place_taste, train_live

    settings = settings_of_what_is_there()
    if settings.embedded and is_held(settings.home):
        with open_ledger(settings.ledger_url) as ledger, spinner("taste") as say:
            say("learning from events")
            report = train_live(settings, ledger)
    else:
        with open_catalogue(settings) as catalogue, spinner("taste") as say:
            say("learning from events")
            report = train_live(settings, catalogue.ledger)
            say("bringing the weights into the index")
            # Embedded, a build that is begun goes on with the next `akin up`, and until then nobody is at work on it.
            place_taste(catalogue.ledger, catalogue.index, beside_a_build=settings.embedded)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    show({**report.as_json(), "peak_megabytes": peak}, as_json=as_json)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write, such as akin.backup.zip.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file when it is there already.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write everything that cannot be made again into one file, beside whatever runs: the ledger, and the encoders.

    The file is the same from SQLite and PostgreSQL and goes back into either. Keep it as you keep the data itself.
    """
    from ingest.backup import back_up
    from ingest.commands.output import show

    show(back_up(settings_of_what_is_there(), file, force=force).as_json(), as_json=as_json)


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that `akin backup` wrote.")],
    force: Annotated[bool, typer.Option("--force", help="Put what is there aside, or replace it.")] = False,
    wait: Annotated[bool, typer.Option(help="Build the index again now; else the next start does.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Put a backup in place of the ledger; stop every akin first. The index is built again from it.

    What was written, deleted or erased after the backup was made is as it was then.
    """
    from ingest.backup import restore as put_back
    from ingest.commands.output import show
    from ingest.terminal import wait_for_quiet

    settings = load_settings()
    report = put_back(settings, file, force=force)
    if wait and settings.embedded:
        with open_worker(context, settings, rebuilds=True) as (catalogue, _, _, _):
            wait_for_quiet(catalogue.ledger)
    show(report.as_json(), as_json=as_json)
