"""One open installation: its ledger, index and encoders, brought into an order that work can start from."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ingest.collection_spec import collection_spec
from ingest.encoder.library import EncoderLibrary
from ingest.errors import ConflictError, NotFoundError
from ingest.home import hold_home
from ingest.index.engines import open_index
from ingest.index.protocol import Index, UnreadableCollectionError
from ingest.reconcile import Reconciler
from ingest.reindex import configured_encoder
from ingest.settings import Settings
from ingest.store.generations import NewGeneration
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.records import Generation, GenerationState

logger = logging.getLogger(__name__)

CHECK_SECONDS = 0.5  # of looking for damage in SQLite's file at every start; `akin doctor` reads all of it


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What every program needs; whoever opened it closes it."""

    settings: Settings
    ledger: Ledger
    index: Index
    encoders: EncoderLibrary
    reconciler: Reconciler


@contextmanager
def open_catalogue(settings: Settings) -> Iterator[Catalogue]:
    """Open an installation for writing and querying. Embedded, only one process may, and it is put in order at once.

    Several processes may open one with a Qdrant server: `put_in_order` is then for whoever does the upkeep. Raises
    HomeInUseError when another process has the folder or, embedded, runs on the ledger; ArtifactError and
    UnavailableError.
    """
    with ExitStack() as stack:
        if settings.embedded:
            stack.enter_context(hold_home(settings.home))
        ledger = stack.enter_context(open_ledger(settings.ledger_url))
        # An index in a folder holds what its own process placed, and placements are believed.
        stack.enter_context(ledger.hold(alone=settings.embedded))
        ledger.check(CHECK_SECONDS)
        encoders = stack.enter_context(
            EncoderLibrary(settings.home, settings.encoder_threads, settings.encoder_provider)
        )
        index = open_index(settings)
        stack.callback(index.shut)
        catalogue = Catalogue(
            settings=settings,
            ledger=ledger,
            index=index,
            encoders=encoders,
            reconciler=Reconciler(settings, ledger, index, encoders),
        )
        # Every host keeps the encoders it may be asked for.
        fingerprint, _ = configured_encoder(settings, ledger, encoders)
        live = ledger.generations.live()
        if live is not None:
            _say_what_differs(settings, live, fingerprint)
        if settings.embedded:
            if live is not None:
                encoders.get(live.fingerprint)  # refused at the start, before anything is touched
            put_in_order(catalogue)
            # Nobody else can hold a lease now: what was leased belonged to a process that is gone.
            ledger.pending.make_due(break_leases=True)
        yield catalogue


def put_in_order(catalogue: Catalogue) -> None:
    """Make the first generation when there is none, and an empty collection in place of one that cannot be read.

    The items of the latter are then pending, and placed again from the ledger. Repeating it is harmless.
    """
    settings, ledger, index = catalogue.settings, catalogue.ledger, catalogue.index
    if ledger.generations.live() is None:
        _begin_first(settings, ledger, catalogue.encoders)
    for generation in ledger.generations.receiving_writes():
        _ensure_readable(settings, ledger, index, generation)


def _begin_first(settings: Settings, ledger: Ledger, encoders: EncoderLibrary) -> None:
    fingerprint, dimensions = configured_encoder(settings, ledger, encoders)
    new = NewGeneration(
        name=ledger.generations.new_name(),
        fingerprint=fingerprint,
        dimensions=dimensions,
        attributes=settings.attributes,
    )
    try:
        ledger.generations.begin(new, GenerationState.LIVE)
    except ConflictError:
        logger.info("another process was quicker to make the first generation")


def _say_what_differs(settings: Settings, live: Generation, fingerprint: str) -> None:
    if live.fingerprint != fingerprint:
        logger.warning("the index was built with another encoder than the configured one; reindex to move to it")
    if live.attributes != settings.attributes:
        logger.warning("the index was built with other attributes than the declared ones; reindex to filter by them")


def _ensure_readable(settings: Settings, ledger: Ledger, index: Index, generation: Generation) -> None:
    if not settings.embedded and generation.name in index.names():
        return  # a server notices its own damage, and a count means nothing while other processes write
    try:
        collection = index.open(generation.name)
    except UnreadableCollectionError as error:
        logger.exception("index unreadable; building it again from the ledger", extra={"reason": str(error)})
        index.quarantine(generation.name)
    except NotFoundError:
        logger.info("index not there; making it", extra={"generation": generation.name})
    else:
        # Some damage opens without complaint and only lacks points: the ledger knows how many there must be.
        if collection.count() >= ledger.placements.count(generation.name) - ledger.pending.count():
            return
        logger.error("index incomplete; building it again from the ledger", extra={"generation": generation.name})
        index.close(generation.name)
        index.quarantine(generation.name)
    index.close(generation.name)  # a handle from before it was lost
    # Made last: should this process die in between, the next one finds no collection and does it all again.
    ledger.placements.forget(generation.name)
    ledger.generations.missing(generation.name, job_id=generation.name)
    index.create(generation.name, collection_spec(settings, ledger, generation))
