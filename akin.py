"""akin's command line, and the only place that wires the programs together. Nothing imports this module."""

import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.benchmark.command import app as bench_app
from ingest.commands import ingesting, records
from ingest.commands.encoder import export_model_command, show_encoder
from ingest.commands.keys import app as keys_app
from ingest.commands.options import EXIT_ERROR, JsonOption, MappingOption, say_what_was_not_taken
from ingest.errors import AkinError, HomeInUseError, SettingsError
from ingest.logs import configure_logging, errors_only, show_warnings
from ingest.settings import Settings, check_cluster, load_settings
from serving.commands import asking, demonstration, erasing, measuring
from serving.commands.options import AskingWiring

if TYPE_CHECKING:
    import uvicorn

    from ingest.catalogue import Catalogue
    from ingest.commands.wiring import Checks, WriteSide
    from ingest.queue import Queue
    from ingest.reindex import Reindexer
    from serving.remote import Remote
    from serving.services import Services
    from workers.app import CeleryQueue
    from workers.resources import Intake, Resources
    from workers.upkeep import Upkeep

FOLDER_PATIENCE_SECONDS = 30.0  # of commands for each other

app = typer.Typer(
    name="akin",
    help="Search and recommendations for a text catalogue, in one process.\n\n"
    "Settings come from AKIN_* variables or the TOML file in AKIN_CONFIG; `akin doctor` shows what is in force. "
    "Commands work beside a running `akin up` on the same AKIN_HOME, and without one.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",  # else a docstring's line ends are those of the terminal
    pretty_exceptions_enable=False,
)


def show_version(wanted: bool) -> None:
    """Say which akin this is, and end."""
    if wanted:
        typer.echo(f"akin {version('akin')}")
        raise typer.Exit


@app.callback()
def elsewhere(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(envvar="AKIN_URL", help="Ask the akin at this URL.")] = None,
    key: Annotated[str | None, typer.Option(envvar="AKIN_KEY", help="The API key to show there.")] = None,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Say which akin this is.")
    ] = False,
) -> None:
    """Remember which akin is to be asked; refuse commands that ask none, instead of letting them work here."""
    command = context.invoked_subcommand
    if url is not None and command not in asking.names():
        raise SettingsError(f"`akin {command}` works on this machine and takes no --url (AKIN_URL)")
    context.obj = AskingWiring(worker=worker, remote=partial(remote, at=None if url is None else (url, key)))


# --- Wiring -----------------------------------------------------------------------------------------------------------


def resources_of(catalogue: "Catalogue") -> "Resources":
    """What tasks and the upkeep need, over an open catalogue."""
    from ingest.reindex import Reindexer
    from ingest.trainer import Trainer
    from serving.evaluate.recent import recent_ndcg
    from workers.resources import Resources

    settings, ledger, index = catalogue.settings, catalogue.ledger, catalogue.index
    trainer = Trainer(settings, ledger, index)

    def train() -> None:
        if settings.train_taste and not settings.embedded:  # embedded, the build has trained already
            trainer.request()

    reindexer = Reindexer(
        settings,
        ledger,
        index,
        catalogue.encoders,
        evaluate=lambda generation: recent_ndcg(ledger, index.open(generation.name), generation, settings),
        went_live=train,
    )
    return Resources(
        settings=settings,
        ledger=ledger,
        reconciler=catalogue.reconciler,
        reindexer=reindexer,
        trainer=trainer,
    )


@contextmanager
def open_resources(settings: Settings) -> Iterator["Resources"]:
    """The same, opened for a process of its own."""
    from ingest.catalogue import open_catalogue

    with open_catalogue(settings) as catalogue:
        yield resources_of(catalogue)


@contextmanager
def open_intake(settings: Settings) -> Iterator["Intake"]:
    """What taking in needs, opened for a process of its own."""
    from ingest.store.ledger import open_ledger
    from workers.resources import Intake

    with open_ledger(settings.ledger_url) as ledger:
        yield Intake(settings=settings, ledger=ledger)


def upkeep_of(
    catalogue: "Catalogue", resources: "Resources", queue: "CeleryQueue", *, rebuilds: bool = True
) -> "Upkeep":
    """The upkeep of an installation: of the only process there is, or of one of several that hold a lease in turn."""
    from ingest.catalogue import put_in_order
    from workers.upkeep import Alone, Leased, Upkeep

    if catalogue.settings.embedded:
        return Upkeep(resources, queue, Alone(), rebuilds=rebuilds)
    return Upkeep(resources, queue, Leased(catalogue.ledger.leases), lambda: put_in_order(catalogue))


@contextmanager
def worker(
    settings: Settings, *, rebuilds: bool = True
) -> Iterator[tuple["Catalogue", "Queue", "Reindexer", "Checks"]]:
    """The write side in this process: an open catalogue, and a Celery worker that keeps its index in order.

    A command that ends in seconds begins no rebuilds: it would leave one behind, unfinished.
    """
    from ingest.catalogue import open_catalogue
    from workers.app import CeleryQueue, make_app
    from workers.embedded import embedded_worker

    with open_catalogue(settings) as catalogue:
        resources, celery = resources_of(catalogue), make_app(settings)
        queue = CeleryQueue(celery)
        upkeep = upkeep_of(catalogue, resources, queue, rebuilds=rebuilds)
        with embedded_worker(celery, resources, upkeep) as checks:
            yield catalogue, queue, resources.reindexer, checks


@contextmanager
def watched(settings: Settings, queue: "Queue") -> Iterator[None]:
    """Traces, and metrics on a port of their own, of a program that has no API."""
    from ingest.ledger_metrics import LedgerMetrics
    from ingest.metrics_server import metrics_server
    from ingest.store.ledger import open_ledger
    from ingest.traces import tracing

    with (
        tracing("worker"),
        open_ledger(settings.ledger_url) as ledger,
        metrics_server(settings, LedgerMetrics(ledger, queue)),
    ):
        yield


def ask_index(settings: Settings) -> None:
    """Raises UnavailableError when the index does not answer."""
    from ingest.index.engines import open_index

    index = open_index(settings)
    try:
        index.names()
    finally:
        index.shut()


@contextmanager
def producer(settings: Settings) -> Iterator[tuple["Catalogue", "Queue", "Reindexer", "Checks"]]:
    """An open catalogue whose work other processes do: `akin worker` and `akin beat`."""
    from ingest.catalogue import open_catalogue
    from workers.app import CeleryQueue, make_app

    with open_catalogue(settings) as catalogue:
        yield catalogue, CeleryQueue(make_app(settings)), resources_of(catalogue).reindexer, {}


@contextmanager
def query_services(
    catalogue: "Catalogue",
    queue: "Queue",
    reindexer: "Reindexer",
    checks: "Checks",
    *,
    local_key: str | None = None,
) -> Iterator["Services"]:
    """The query layer over an open catalogue. `local_key` lets in commands that are run beside this process."""
    from concurrent.futures import ThreadPoolExecutor

    from serving.impressions import Impressions
    from serving.live import LiveIndex
    from serving.log_writer import LogWriter
    from serving.popular import Popularity
    from serving.rate_limits import RateLimits
    from serving.recommend import Recommender
    from serving.search import Searcher
    from serving.services import Services
    from serving.similar import SimilarItems
    from serving.tastes import Tastes
    from serving.users import Users

    settings, ledger = catalogue.settings, catalogue.ledger
    live = LiveIndex(ledger, catalogue.index, catalogue.encoders)
    tastes = Tastes(ledger, settings)
    # One thread: a second count would only make both slower.
    with LogWriter(ledger) as log, ThreadPoolExecutor(1, thread_name_prefix="count") as executor:
        recommender = Recommender(
            ledger,
            live,
            settings,
            tastes=tastes,
            popularity=Popularity(ledger, settings, executor=executor),
            impressions=Impressions(ledger, executor=executor),
            log=log,
        )
        yield Services(
            settings=settings,
            ledger=ledger,
            live=live,
            queue=queue,
            recommender=recommender,
            searcher=Searcher(ledger, live, settings, tastes=tastes, log=log),
            similar=SimilarItems(ledger, live, settings, tastes=tastes, log=log),
            users=Users(ledger, live, tastes.learned, recommender),
            rate_limits=RateLimits(settings),
            reindex=reindexer.request,
            activate=reindexer.activate,
            progress=lambda: reindexer.progress,
            discard=reindexer.discard,
            manifest=catalogue.encoders.manifest,
            local_key=local_key,
            checks=checks,
        )


@contextmanager
def api_server(
    settings: Settings, write_side: "WriteSide", local_key: str
) -> Iterator[tuple["Catalogue", "Queue", "uvicorn.Server"]]:
    """A write side (here, or elsewhere), the query layer, and an API server that is not started yet."""
    import uvicorn

    from ingest.traces import tracing
    from serving.api.app import create_app

    with (
        tracing("api"),
        write_side(settings) as (catalogue, queue, reindexer, checks),
        query_services(catalogue, queue, reindexer, checks, local_key=local_key) as services,
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
def serving_in_background(
    settings: Settings, *, passing: bool = False
) -> Iterator[tuple["Catalogue", "Queue", str, str]]:
    """An API that answers from a thread, with the write side where there is no other process for it.

    Gives its URL, and the key that lets this process in where keys are needed. `passing`: for one command.
    """
    from ingest.home import announce_server
    from serving.address import check_port, url_of

    check_port(settings)
    local_key = secrets.token_urlsafe(32)
    write_side = producer if settings.cluster else partial(worker, rebuilds=not passing)
    quiet = errors_only("serving.api", "ingest.waiting", "workers.upkeep") if passing else nullcontext()
    with quiet, api_server(settings, write_side, local_key) as (catalogue, queue, server):
        thread = threading.Thread(target=server.run, name="api", daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        url = url_of(settings.host, server.servers[0].sockets[0].getsockname()[1])
        try:
            with announce_server(settings.home, url, local_key, passing=passing):
                yield catalogue, queue, url, local_key
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def remote(settings: Settings, at: tuple[str, str | None] | None = None) -> Iterator["Remote"]:
    """The akin at this URL, with this key; without, the one that serves this data folder, or one started here."""
    from serving.remote import Remote

    with ExitStack() as stack:
        url, key = at or stack.enter_context(reachable(settings))
        yield stack.enter_context(Remote(url, key))


@contextmanager
def reachable(settings: Settings) -> Iterator[tuple[str, str]]:
    """URL and key of the akin that serves this data folder, or of one that is started here.

    A command that has the folder for a moment is waited for; its server is not asked, as it leaves with its answer.
    """
    from ingest.home import check_made, running_server

    check_made(settings)
    here = settings.model_copy(update={"port": 0, "host": "127.0.0.1"})
    until = time.monotonic() + FOLDER_PATIENCE_SECONDS
    with ExitStack() as stack:
        while True:
            if (there := running_server(settings.home)) and not there.passing:
                yield there.url, there.key
                return
            try:
                _, _, url, key = stack.enter_context(serving_in_background(here, passing=True))
            except HomeInUseError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                yield url, key
                return


# --- Programs ---------------------------------------------------------------------------------------------------------


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on (AKIN_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (AKIN_PORT).")] = None,
) -> None:
    """Run everything in one process: API, queue, worker, index and schedule."""
    run_api(load_settings(host=host, port=port), worker)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (AKIN_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (AKIN_PORT).")] = None,
) -> None:
    """Run the API alone; `akin worker` and `akin beat` do the work. Any number may run."""
    settings = load_settings(host=host, port=port)
    check_cluster(settings)
    run_api(settings, producer)


@app.command("worker")
def worker_command(
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=0, help="Processes that embed; 0: one for each core.")
    ] = 0,
    pool: Annotated[str, typer.Option(help="prefork, or solo: one process, as for a GPU.")] = "prefork",
) -> None:
    """Run tasks from the queue: embed what is pending, and take in what producers send. Any number may run."""
    from ingest.counting import counting_together
    from ingest.encoder.cpu import available_cores

    settings = load_settings()
    check_cluster(settings)
    cores = available_cores()
    concurrency = concurrency or cores
    if not settings.encoder_threads:
        settings = settings.model_copy(update={"encoder_threads": max(1, cores // concurrency)})
    # Before anything that counts is imported; where nobody looks, nothing is shared.
    with nullcontext() if settings.metrics_port is None else counting_together():
        from workers.app import CeleryQueue, make_app
        from workers.programs import run_worker

        celery = make_app(settings)
        with watched(settings, CeleryQueue(celery)):
            run_worker(
                celery,
                partial(open_resources, settings),
                partial(open_intake, settings),
                concurrency=concurrency,
                look=partial(ask_index, settings),
                pool=pool,
                pin=settings.encoder_pin,
            )


@app.command()
def beat() -> None:
    """Keep the schedule, find pending work, build generations. One does it; a second stands by and takes over."""
    from ingest.catalogue import open_catalogue
    from ingest.metrics_server import metrics_server
    from ingest.traces import tracing
    from workers.app import CeleryQueue, make_app
    from workers.programs import run_beat
    from workers.schedule import beat_schedule

    configure_logging()
    settings = load_settings()
    check_cluster(settings)
    celery = make_app(settings)
    celery.conf.beat_schedule = beat_schedule(settings)
    with tracing("beat"), metrics_server(settings), open_catalogue(settings) as catalogue:
        run_beat(celery, upkeep_of(catalogue, resources_of(catalogue), CeleryQueue(celery)))


def run_api(settings: Settings, write_side: "WriteSide") -> None:
    """Serve the API until SIGTERM or SIGINT."""
    from ingest.home import announce_server
    from serving.address import check_keys, check_port, url_of
    from serving.latency import favour_latency

    configure_logging()
    check_keys(settings)
    settings = settings.model_copy(update={"port": check_port(settings)})
    local_key = secrets.token_urlsafe(32)
    # uvicorn raises the signal again once it has stopped; this way it unwinds what is below instead of ending it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with api_server(settings, write_side, local_key) as (_, _, server):
        favour_latency()
        url = url_of(settings.host, settings.port)
        with announce_server(settings.home, url, local_key):
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
    from ingest import model_terminal

    settings = demonstration.settings_of(encoder, own=items is not None)
    if not settings.encoder_folder.exists():
        model_terminal.export(None, settings.encoder_folder)
    if once:
        settings = settings.model_copy(update={"port": 0})
    with serving_in_background(settings) as (catalogue, queue, url, key):
        say_what_was_not_taken(*demonstration.demonstrate(catalogue, queue, items, events, mapping, at=(url, key)))
        if not once:
            typer.echo(f"\nThe API is at {url}, its documentation at {url}/docs. Ctrl-C stops it.")
            threading.Event().wait()


# Here, because --help lists commands in the order in which they are added.
app.command("export-model")(export_model_command)
app.command()(records.restore)


@app.command()
def doctor(
    encoder: Annotated[bool, typer.Option("--encoder", help="Measure the encoder instead, on --texts.")] = False,
    texts: Annotated[str | None, typer.Option(help="Your items file; default the sample catalogue.")] = None,
    mapping: MappingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the settings in force, secrets hidden, and check what akin depends on.

    With --encoder: how much the encoder keeps of fp32 on your texts, in which categories least, how fast and how large
    it is. Exit code 1 when it keeps less than its recipe promises.
    """
    import serving.doctor
    import workers.doctor
    from ingest.commands.output import print_json, show
    from ingest.doctor import examine

    settings = load_settings()
    if encoder:
        show_encoder(settings, texts, mapping=mapping, as_json=as_json)
        return
    findings = examine(settings, serving.doctor.checks(settings) | workers.doctor.checks(settings))
    values = settings.model_dump(mode="json")
    if as_json:
        print_json(values | {"checks": {found.name: {"ok": found.ok, "detail": found.detail} for found in findings}})
    else:
        checks = {f"check {f.name}": ("ok" if f.ok else "FAILED") + f": {f.detail}" for f in findings}
        show({name: "-" if value is None else value for name, value in values.items()} | checks, as_json=False)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(EXIT_ERROR)


app.add_typer(ingesting.app, name="ingest", no_args_is_help=True)
app.add_typer(bench_app, name="bench")
app.add_typer(keys_app, name="keys", no_args_is_help=True)
for more in (asking, records, erasing, measuring):
    app.add_typer(more.app)


def main() -> None:
    """The `akin` program: errors akin raises on purpose become one line, everything else a traceback."""
    show_warnings()
    try:
        app()
    except AkinError as error:
        typer.echo(f"akin: {error}", err=True)
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
