"""`akin evaluate` and `akin tune`: how good the answers are, and with which settings they would be better."""

from pathlib import Path
from typing import Annotated

import typer

from ingest.commands.options import MappingOption
from ingest.settings import load_settings

app = typer.Typer()


@app.command()
def evaluate(
    items: Annotated[str, typer.Option(help="File of items, read as `akin ingest items` reads it.")],
    events: Annotated[str, typer.Option(help="File of events.")],
    mapping: MappingOption = None,
    json_: Annotated[Path | None, typer.Option("--json", help="Write the report as JSON into this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML page into this file.")] = None,
    strategies: Annotated[
        str | None, typer.Option(help="Names with commas between, scenario:NAME too; default: all.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="global (one cut in time), user (the last of each one's), random; auto: by the times.")
    ] = "auto",
    users: Annotated[int | None, typer.Option(min=1, help="Ask for this many users, drawn by the seed.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws users, ties and intervals.")] = 1,
    home: Annotated[
        Path | None,
        typer.Option(help="Data folder whose embeddings are used and added to; its console shows the report."),
    ] = None,
) -> None:
    """Measure every strategy, and baselines, on events that are held out. Needs no server and changes no data.

    Works in a temporary folder with the encoder, attributes and weights of the settings, and measures their scenarios
    as well; the baselines come with akin's extra `evaluate`.
    """
    import orjson

    from ingest.commands.output import console
    from ingest.files import file_source
    from ingest.outputs import check_output
    from ingest.progress import progress_bar
    from serving.evaluate.experiment import Options
    from serving.evaluate.experiment import evaluate as run
    from serving.evaluate.page import html_page
    from serving.evaluate.table import print_report

    names = None if strategies is None else [name.strip() for name in strategies.split(",")]
    options = Options(strategies=names, split=split, users=users, seed=seed, home=home)
    settings = load_settings(home=home)
    check_output(json_, "--json")
    check_output(html, "--html")
    if home is not None:
        check_output(settings.evaluation_report, "--home", parents=True)
    catalogue, past = (file_source(file, mapping=mapping) for file in (items, events))
    report = run(settings, catalogue, past, options, bars=progress_bar)
    print_report(report, console)
    as_json = orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2)
    if json_ is not None:
        json_.write_bytes(as_json)
    if home is not None:  # the console shows the last report of its own installation
        settings.evaluation_report.write_bytes(as_json)
    if html is not None:
        html.write_text(html_page(report), encoding="utf-8")


@app.command()
def tune(
    items: Annotated[str, typer.Option(help="File of items, read as `akin ingest items` reads it.")],
    events: Annotated[str, typer.Option(help="File of events.")],
    mapping: MappingOption = None,
    out: Annotated[Path, typer.Option(help="Where the settings are written, for AKIN_CONFIG.")] = Path("tuned.toml"),
    json_: Annotated[Path | None, typer.Option("--json", help="Write all that was tried into this file.")] = None,
    split: Annotated[
        str, typer.Option(help="As in the evaluation that follows: user, global, random or auto.")
    ] = "auto",
    users: Annotated[int, typer.Option(min=80, help="Ask at most this many users of the validation cut.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="As in the evaluation that follows.")] = 1,
    minutes: Annotated[float, typer.Option(min=0, help="Try nothing more after this long.")] = 10.0,
    home: Annotated[Path | None, typer.Option(help="Data folder to take embeddings from and keep them in.")] = None,
) -> None:
    """Search the settings that rank best, on a validation cut; what `akin evaluate` holds out is not looked at.

    Writes only settings that are surely better than the present ones, and says so when there are none.
    """
    import orjson

    from ingest.commands.output import console
    from ingest.files import file_source
    from ingest.outputs import check_output
    from ingest.progress import progress_bar
    from serving.evaluate.tune import TuneOptions, as_json, as_toml, print_tuning, tune_files

    check_output(out, "--out")
    check_output(json_, "--json")
    options = TuneOptions(split=split, users=users, seed=seed, minutes=minutes, home=home)
    catalogue, past = (file_source(file, mapping=mapping) for file in (items, events))
    found = tune_files(load_settings(home=home), catalogue, past, options, bars=progress_bar)
    print_tuning(found, console)
    out.write_text(as_toml(found), encoding="utf-8")
    if json_ is not None:
        json_.write_bytes(orjson.dumps(as_json(found), option=orjson.OPT_INDENT_2))
