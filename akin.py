"""akin's command line, and the only place that wires the programs together. Nothing imports this module."""

import gc
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.errors import AkinError, SettingsError
from ingest.settings import Settings, load_settings

if TYPE_CHECKING:
    import uvicorn

    from ingest.catalogue import Catalogue
    from ingest.files import FileReport
    from ingest.queue import Queue
    from ingest.reindex import Reindexer
    from ingest.store.ledger import Ledger
    from serving.remote import Remote
    from serving.services import Services

EXIT_ERROR = 1
EXIT_REJECTS = 3
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

app = typer.Typer(
    name="akin",
    help="Search and recommendations for a text catalogue, in one process.\n\n"
    "Settings come from AKIN_* variables or the TOML file in AKIN_CONFIG; `akin doctor` shows what is in force. "
    "Commands work beside a running `akin up` on the same AKIN_HOME, and without one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
ingest_app = typer.Typer(help="Take in a file of items or events (JSON Lines, CSV, Parquet; .gz, .zst; - is stdin).")
app.add_typer(ingest_app, name="ingest", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
FileArgument = Annotated[str, typer.Argument(help="The file, or - for standard input.")]
MappingOption = Annotated[Path | None, typer.Option("--mapping", help="TOML file that maps columns to fields.")]
MapOption = Annotated[list[str] | None, typer.Option("--map", help="field=column, repeatable; wins over --mapping.")]
FormatOption = Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; default: by the name.")]
RejectsOption = Annotated[
    Path | None, typer.Option("--rejects", help="Where refused rows are listed; default FILE.rejects.jsonl here.")
]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="How many items.")]
FilterOption = Annotated[str | None, typer.Option("--filter", help='JSON, e.g. {"gte": {"year": 1990}}.')]


# --- Wiring -----------------------------------------------------------------------------------------------------------


@contextmanager
def worker(settings: Settings) -> Iterator[tuple["Catalogue", "Queue", "Reindexer"]]:
    """The write side in this process: an open catalogue, and a Celery worker that keeps its index in order."""
    from ingest.catalogue import open_catalogue
    from ingest.reindex import Reindexer
    from ingest.trainer import Trainer
    from serving.evaluate.recent import recent_ndcg
    from workers.app import CeleryQueue, make_app
    from workers.embedded import embedded_worker
    from workers.resources import Resources

    with open_catalogue(settings) as catalogue:
        ledger, index = catalogue.ledger, catalogue.index
        trainer = Trainer(settings, ledger, index)
        reindexer = Reindexer(
            settings,
            ledger,
            index,
            catalogue.encoders,
            evaluate=lambda generation: recent_ndcg(ledger, index.open(generation.name), generation, settings),
            # Embedded, a build has trained already.
            **({"went_live": trainer.request} if settings.train_taste and not settings.embedded else {}),
        )
        celery = make_app(settings)
        resources = Resources(
            settings=settings,
            ledger=ledger,
            reconciler=catalogue.reconciler,
            reindexer=reindexer,
            trainer=trainer,
        )
        with embedded_worker(celery, resources):
            yield catalogue, CeleryQueue(celery), reindexer


@contextmanager
def query_services(catalogue: "Catalogue", queue: "Queue", reindexer: "Reindexer") -> Iterator["Services"]:
    """The query layer over an open catalogue."""
    from serving.live import LiveIndex
    from serving.log_writer import LogWriter
    from serving.recommend import Recommender
    from serving.search import Searcher
    from serving.services import Services
    from serving.similar import SimilarItems
    from serving.tastes import Tastes
    from serving.users import Users

    settings, ledger = catalogue.settings, catalogue.ledger
    live = LiveIndex(ledger, catalogue.index, catalogue.encoders)
    tastes = Tastes(ledger, settings)
    with LogWriter(ledger) as log:
        recommender = Recommender(ledger, live, settings, tastes=tastes, log=log)
        yield Services(
            settings=settings,
            ledger=ledger,
            live=live,
            encoders=catalogue.encoders,
            queue=queue,
            recommender=recommender,
            searcher=Searcher(ledger, live, settings, tastes=tastes, log=log),
            similar=SimilarItems(ledger, live, settings, tastes=tastes, log=log),
            users=Users(ledger, live, settings, recommender, log),
            reindex=reindexer.request,
            activate=reindexer.activate,
        )


@contextmanager
def everything(settings: Settings) -> Iterator[tuple["Catalogue", "Queue", "uvicorn.Server"]]:
    """The whole of akin in this process: write side, query layer, and an API server that is not started yet."""
    import uvicorn

    from serving.api.app import create_app

    with (
        worker(settings) as (catalogue, queue, reindexer),
        query_services(catalogue, queue, reindexer) as services,
    ):
        config = uvicorn.Config(
            create_app(services),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            date_header=False,
            timeout_graceful_shutdown=20,
        )
        yield catalogue, queue, uvicorn.Server(config)


@contextmanager
def serving_in_background(settings: Settings) -> Iterator[tuple["Catalogue", "Queue", str]]:
    """Everything, with the API answering from a thread; gives its URL."""
    from ingest.home import announce_server

    check_port(settings)
    with everything(settings) as (catalogue, queue, server):
        thread = threading.Thread(target=server.run, name="api", daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        url = f"http://{settings.host}:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            with announce_server(settings.home, url):
                yield catalogue, queue, url
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def remote(settings: Settings) -> Iterator["Remote"]:
    """The akin that serves this data folder, or one started here for the length of a command."""
    from ingest.home import running_server
    from serving.remote import Remote

    if there := running_server(settings.home):
        yield Remote(there.url)
        return
    with serving_in_background(settings.model_copy(update={"port": 0, "host": "127.0.0.1"})) as (_, _, url):
        yield Remote(url)


def check_port(settings: Settings) -> None:
    """Raise SettingsError when the address cannot be listened on, before anything is opened."""
    import socket

    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise SettingsError(
                f"akin cannot listen on {settings.host}:{settings.port} ({error.strerror}); set AKIN_PORT to a free one"
            ) from error


# --- Programs ---------------------------------------------------------------------------------------------------------


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on (AKIN_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (AKIN_PORT).")] = None,
) -> None:
    """Run everything in one process: API, queue, worker, index and schedule."""
    from ingest.home import announce_server
    from ingest.logs import configure_logging

    configure_logging()
    settings = load_settings(host=host, port=port)
    if settings.host not in LOOPBACK:
        raise SettingsError(
            f"akin does not listen on {settings.host}: it has no keys yet, so anybody could write to it; "
            "listen on 127.0.0.1 and put a proxy that authenticates in front"
        )
    check_port(settings)
    # uvicorn raises the signal again once it has stopped; this way it unwinds what is below instead of ending it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with everything(settings) as (_, _, server):
        # What lives as long as the process need not be looked at again by every collection, nor what one request made.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        # A thread that writes or embeds would keep an answer waiting for ten times as long as the answer takes.
        sys.setswitchinterval(0.0005)
        url = f"http://{settings.host}:{settings.port}"
        with announce_server(settings.home, url):
            typer.echo(f"akin is at {url} (documentation at {url}/docs); Ctrl-C stops it", err=True)
            server.run()


@app.command()
def demo(
    encoder: Annotated[Path | None, typer.Option(help="Encoder artifact; exported when it is missing.")] = None,
    items: Annotated[str | None, typer.Option(help="Your own items file instead of the sample catalogue.")] = None,
    events: Annotated[str | None, typer.Option(help="Your own events file.")] = None,
    mapping: MappingOption = None,
    once: Annotated[bool, typer.Option("--once", help="End after the tables instead of serving the API.")] = False,
) -> None:
    """Ingest a catalogue through the queue, show one reader's recommendations with reasons, and serve the API."""
    from ingest import sample, terminal
    from ingest.files import file_source
    from serving.remote import Remote

    settings = demo_settings(encoder, own=items is not None)
    if not settings.encoder_folder.exists():
        terminal.export(None, settings.encoder_folder)
    if once:
        settings = settings.model_copy(update={"port": 0})
    if items is None:
        items, events = str(sample.ITEMS), events or str(sample.EVENTS)
    with serving_in_background(settings) as (catalogue, queue, url):
        source = file_source(items, mapping=mapping)
        reports = [terminal.take_items_file(catalogue.ledger, queue, settings, source)]
        if events is not None:
            source = file_source(events, mapping=mapping)
            reports.append(terminal.take_events_file(catalogue.ledger, settings, source))
        terminal.wait_for_quiet(catalogue.ledger)
        show_somebody(catalogue.ledger, Remote(url))
        if not once:
            typer.echo(f"\nThe API is at {url}, its documentation at {url}/docs. Ctrl-C stops it.")
            threading.Event().wait()
    finish(*reports)


@app.command("export-model")
def export_model_command(
    source: Annotated[str | None, typer.Option(help="Hub id or folder; default all-MiniLM-L6-v2.")] = None,
    out: Annotated[Path | None, typer.Option(help="Artifact folder; default AKIN_ENCODER.")] = None,
    revision: Annotated[str | None, typer.Option(help="Pinned revision of a hub model.")] = None,
    recipe: Annotated[str, typer.Option(help="int8, fast or fp32.")] = "int8",
    force: Annotated[bool, typer.Option("--force", help="Write it even when it is below its fidelity floor.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Export a BERT-type model to ONNX, quantize it, verify it against fp32, and write an encoder artifact."""
    from ingest import terminal
    from serving.terminal import show

    folder = out or load_settings().encoder_folder
    manifest = terminal.export(source, folder, revision=revision, recipe=recipe, force=force)
    show({"folder": folder, **manifest}, as_json=as_json)


# --- Files ------------------------------------------------------------------------------------------------------------


@ingest_app.command("items")
def ingest_items(
    file: FileArgument,
    mapping: MappingOption = None,
    map_: MapOption = None,
    format_: FormatOption = None,
    rejects: RejectsOption = None,
    wait: Annotated[bool, typer.Option(help="Wait until everything is searchable.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Take in items. Exit code 3 when a row was refused; running it again changes and embeds nothing."""
    from ingest.files import file_source
    from ingest.home import is_held
    from ingest.queue import NoQueue
    from ingest.store.ledger import open_ledger
    from ingest.terminal import take_items_file
    from serving.terminal import show

    settings = load_settings()
    source = file_source(file, mapping=mapping, options=map_, format=format_, rejects=rejects)
    with open_ledger(settings.ledger_url) as ledger, ExitStack() as stack:
        # Beside a running akin the ledger is enough: whoever holds the index finds what is pending there.
        start = None if is_held(settings.home) or not wait else lambda: stack.enter_context(worker(settings))
        report = take_items_file(ledger, NoQueue(), settings, source, start=start, wait=wait)
        job = ledger.jobs.get(report.job_id or "")
    show({**report.as_json(), "failed": job.failed if job else 0}, as_json=as_json)
    finish(report)


@ingest_app.command("events")
def ingest_events(
    file: FileArgument,
    mapping: MappingOption = None,
    map_: MapOption = None,
    format_: FormatOption = None,
    rejects: RejectsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in events. Exit code 3 when a row was refused; running it again adds nothing."""
    from ingest.files import file_source
    from ingest.store.ledger import open_ledger
    from ingest.terminal import take_events_file
    from serving.terminal import show

    settings = load_settings()
    source = file_source(file, mapping=mapping, options=map_, format=format_, rejects=rejects)
    with open_ledger(settings.ledger_url) as ledger:
        report = take_events_file(ledger, settings, source)
    show(report.as_json(), as_json=as_json)
    finish(report)


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
    from ingest.files import file_source, validate
    from ingest.readers import Progress
    from serving.terminal import show

    settings = load_settings()
    source = file_source(file, mapping=mapping, options=map_, format=format_, rejects=rejects)
    rows = source.events(settings, Progress()) if events else source.items(settings, Progress())
    report = validate(rows, source)
    show(report.as_json(), as_json=as_json)
    finish(report)


# --- Questions --------------------------------------------------------------------------------------------------------


@app.command()
def recommend(user: str, limit: LimitOption = 10, filter_: FilterOption = None, as_json: JsonOption = False) -> None:
    """Recommend items to a user, with reasons."""
    from serving.remote import segment
    from serving.terminal import show_answer

    with remote(load_settings()) as akin:
        path = f"/users/{segment(user)}/recommendations"
        answer = akin.get(path, limit=limit, filter=filter_, explain="true", fields="title")
    show_answer(f"for {user}", answer, as_json=as_json)


@app.command()
def similar(item: str, limit: LimitOption = 10, filter_: FilterOption = None, as_json: JsonOption = False) -> None:
    """Items like an item."""
    from serving.remote import segment
    from serving.terminal import show_answer

    with remote(load_settings()) as akin:
        answer = akin.get(f"/items/{segment(item)}/similar", limit=limit, filter=filter_, fields="title")
    show_answer(f"like {item}", answer, as_json=as_json)


@app.command()
def search(query: str, limit: LimitOption = 10, filter_: FilterOption = None, as_json: JsonOption = False) -> None:
    """Items whose texts mean what the query means."""
    from serving.terminal import show_answer

    with remote(load_settings()) as akin:
        answer = akin.get("/search", query=query, limit=limit, filter=filter_, fields="title")
    show_answer(query, answer, as_json=as_json)


# --- Operations -------------------------------------------------------------------------------------------------------


@app.command()
def reindex(as_json: JsonOption = False) -> None:
    """Build a new generation beside the live one, put it through the gate, and switch over."""
    from ingest.terminal import spinner
    from serving.terminal import show_generations

    with remote(load_settings()) as akin:
        name = akin.post("/generations")["name"]
        with spinner(f"generation {name}") as say:
            while (found := generation_of(akin, name))["state"] in {"building", "catching_up"}:
                say(found["state"].replace("_", " "))
                time.sleep(0.2)
    show_generations([found], as_json=as_json)
    if found["state"] != "live":
        raise typer.Exit(EXIT_ERROR)


@app.command("train-taste")
def train_taste(as_json: JsonOption = False) -> None:
    """Learn from all events which items go together. Beside a running akin, that one places it in its index."""
    import resource

    from ingest.catalogue import open_catalogue
    from ingest.home import is_held
    from ingest.store.ledger import open_ledger
    from ingest.train import place_taste, train_live
    from serving.terminal import show

    settings = load_settings()
    if settings.embedded and is_held(settings.home):
        with open_ledger(settings.ledger_url) as ledger:
            report = train_live(settings, ledger)
    else:
        with open_catalogue(settings) as catalogue:
            report = train_live(settings, catalogue.ledger)
            place_taste(catalogue.ledger, catalogue.index)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    show({**report.as_json(), "peak_megabytes": peak}, as_json=as_json)


@app.command()
def generations(as_json: JsonOption = False) -> None:
    """List the generations, newest first, with what their gate said."""
    from serving.terminal import show_generations

    with remote(load_settings()) as akin:
        show_generations(akin.get("/generations")["generations"], as_json=as_json)


@app.command()
def rollback(
    to: Annotated[str | None, typer.Option(help="Generation to go back to; default: the one before.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make an earlier generation live again."""
    from serving.terminal import show_generations

    with remote(load_settings()) as akin:
        retired = [g for g in akin.get("/generations")["generations"] if g["state"] == "retired"]
        if to is None and not retired:
            raise SettingsError("there is no earlier generation to go back to; `akin generations` lists them")
        name = to or max(retired, key=lambda g: g["live_at"])["name"]
        show_generations([akin.post(f"/generations/{name}:activate")], as_json=as_json)


@app.command("set-aside")
def set_aside(
    retry: Annotated[bool, typer.Option("--retry", help="Try all of them again.")] = False, as_json: JsonOption = False
) -> None:
    """List the items that could not be placed, with the reason; or try them again."""
    from ingest.store.ledger import open_ledger
    from serving.terminal import show

    with open_ledger(load_settings().ledger_url) as ledger:
        if retry:
            show({"retried": ledger.pending.retry()}, as_json=as_json)
            return
        found = ledger.pending.set_aside()
    show({one.item_id: one.reason for one in found}, as_json=as_json)


@app.command()
def rejects(as_json: JsonOption = False) -> None:
    """List what came through the queue and was refused."""
    from ingest.store.ledger import open_ledger
    from serving.terminal import show

    with open_ledger(load_settings().ledger_url) as ledger:
        found = ledger.rejects.list()
    show({f"{r.source} {r.position}": f"{r.code}: {r.detail}" for r in found}, as_json=as_json)


@app.command()
def evaluate(
    items: Annotated[str, typer.Option(help="File of items, read as `akin ingest items` reads it.")],
    events: Annotated[str, typer.Option(help="File of events.")],
    mapping: MappingOption = None,
    json_: Annotated[Path | None, typer.Option("--json", help="Write the report as JSON into this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML page into this file.")] = None,
    strategies: Annotated[str | None, typer.Option(help="Names with commas between; default: all there are.")] = None,
    split: Annotated[
        str, typer.Option(help="user (the last of each one's events), global (one cut in time), random; auto: user.")
    ] = "auto",
    users: Annotated[int | None, typer.Option(min=1, help="Ask for this many users, drawn by the seed.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws users, ties and intervals.")] = 1,
    home: Annotated[Path | None, typer.Option(help="Data folder to take embeddings from and keep them in.")] = None,
) -> None:
    """Measure every strategy, and baselines, on events that are held out. Needs no server and changes no data.

    Works in a temporary folder with the encoder, attributes and weights of the settings; the baselines come with
    `pip install 'akin[evaluate]'`.
    """
    import orjson

    from ingest.files import file_source
    from ingest.terminal import progress_bar
    from serving.evaluate.experiment import Options
    from serving.evaluate.experiment import evaluate as run
    from serving.evaluate.page import html_page
    from serving.evaluate.table import print_report
    from serving.terminal import console

    names = None if strategies is None else [name.strip() for name in strategies.split(",")]
    options = Options(strategies=names, split=split, users=users, seed=seed, home=home)
    catalogue, past = (file_source(file, mapping=mapping) for file in (items, events))
    report = run(load_settings(home=home), catalogue, past, options, bars=progress_bar)
    print_report(report, console)
    if json_ is not None:
        json_.write_bytes(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2))
    if html is not None:
        html.write_text(html_page(report), encoding="utf-8")


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Show the settings in force, secrets hidden, and check what akin depends on."""
    from ingest.doctor import examine
    from serving.terminal import show

    settings = load_settings()
    findings = examine(settings)
    shown: dict[str, Any] = {name: str(value) for name, value in settings.model_dump(mode="json").items()}
    show(shown | {f"check {f.name}": ("ok" if f.ok else "FAILED") + f": {f.detail}" for f in findings}, as_json=as_json)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(EXIT_ERROR)


# --- What the commands share ------------------------------------------------------------------------------------------


def demo_settings(encoder: Path | None, *, own: bool) -> Settings:
    """Settings of a demonstration: a data folder of its own, and the sample's attributes unless the files are yours."""
    from ingest import sample

    settings = load_settings(encoder=encoder)
    given = settings.model_fields_set
    return load_settings(
        encoder=encoder,
        home=None if "home" in given else Path("build/demo-own" if own else "build/demo"),
        attributes=None if own or "attributes" in given else sample.ATTRIBUTES,
    )


def show_somebody(ledger: "Ledger", akin: "Remote") -> None:
    """One user's history and ten recommendations with their reasons."""
    from serving import terminal
    from serving.remote import segment

    users = ledger.events.recent_users(1)
    if not users:
        answer = akin.post("/recommendations", {"history": [], "fields": ["title"]})
        terminal.show_answer("There are no events yet, so this is simply what there is", answer, as_json=False)
        return
    path = f"/users/{segment(users[0])}"
    events = akin.get(f"{path}/history")["events"][:10]
    titles = {i: row.item.title for i, row in ledger.items.get_many(event["item_id"] for event in events).items()}
    terminal.show_history(f"What {users[0]} did last", events, titles)
    answer = akin.get(f"{path}/recommendations", limit=10, explain="true", fields="title")
    terminal.show_answer(f"Recommended to {users[0]}", answer, as_json=False)


def generation_of(akin: "Remote", name: str) -> dict[str, Any]:
    """One generation of the list."""
    found: dict[str, Any] = next(g for g in akin.get("/generations")["generations"] if g["name"] == name)
    return found


def finish(*reports: "FileReport") -> None:
    """Name the files that list refused rows; exit with 3 when there are any."""
    for report in reports:
        if report.rejected:
            typer.echo(f"{report.rejected} rows of {report.file} were refused: see {report.rejects_file}", err=True)
    if any(report.rejected for report in reports):
        raise typer.Exit(EXIT_REJECTS)


def main() -> None:
    """The `akin` program: errors akin raises on purpose become one line, everything else a traceback."""
    try:
        app()
    except AkinError as error:
        typer.echo(f"akin: {error}", err=True)
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
