"""A data folder for one evaluation, gone with it: items and training events taken in as always, and a generation."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from ingest.catalogue import Catalogue, open_catalogue
from ingest.documents import Document, document
from ingest.encoder.protocol import Vectors
from ingest.errors import AkinError, InvalidInputError
from ingest.events import Event
from ingest.files import FileSource, take_items
from ingest.queue import NoQueue
from ingest.readers import Progress
from ingest.reindex import Reindexer, configured_encoder
from ingest.settings import Settings
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.records import GenerationState
from ingest.submit import submit_events
from serving.evaluate.judge import LONGEST
from serving.evaluate.progress import Bars
from serving.evaluate.recent import recent_ndcg

PAGE = 512
EVENTS_PER_COMMIT = 10_000
UNDER_WAY = (GenerationState.BUILDING, GenerationState.CATCHING_UP)


class GenerationNotLiveError(AkinError):
    """The generation that was to be evaluated could not be built, or its gate refused it."""

    code = "generation_not_live"


@contextmanager
def workspace(settings: Settings) -> Iterator[Catalogue]:
    """An empty installation in a temporary folder, embedded, with the configured encoder, attributes and template."""
    with tempfile.TemporaryDirectory(prefix="akin-evaluate-") as folder:
        own = {
            "home": Path(folder),
            "encoder": settings.encoder_folder.absolute(),
            "train_taste": True,
            "max_limit": max(settings.max_limit, LONGEST),
        }
        elsewhere = {"database_url": None, "broker_url": None, "qdrant_url": None, "qdrant_api_key": None}
        with open_catalogue(settings.model_copy(update=own | elsewhere)) as catalogue:
            yield catalogue


def take_in_items(catalogue: Catalogue, source: FileSource, bars: Bars) -> int:
    """Submit a file of items; returns how many rows were refused. Raises InvalidInputError when it has no good row."""
    ledger, settings = catalogue.ledger, catalogue.settings
    # Gone with the folder: `akin validate` lists refused rows.
    source = replace(source, rejects=settings.home / "rejects.jsonl")
    with bars("items") as show:
        committed = 0

        def count(more: int) -> None:
            nonlocal committed
            committed += more
            show(committed, None)

        report = take_items(ledger, NoQueue(), settings, source, progress=Progress(), committed=count)
        show(committed, committed)
    if not report.accepted:
        raise InvalidInputError("no_items", nothing_in(report.file, report.rejected, "akin validate"), "items")
    return report.rejected


def nothing_in(file: str, refused: int, command: str) -> str:
    """The sentence for a file without a good row: it has none at all, or all were refused."""
    if not refused:
        return f"{file} has no rows"
    return f"all rows of {file} were refused ({refused:,}); `{command} {file}` says why for each"


def take_in_events(catalogue: Catalogue, events: Sequence[Event], bars: Bars) -> None:
    """Submit the training events in their order."""
    with bars("training events") as show:
        for start in range(0, len(events), EVENTS_PER_COMMIT):
            show(start, len(events))
            submit_events(catalogue.ledger, catalogue.settings, events[start : start + EVENTS_PER_COMMIT])
        show(len(events), len(events))


def build_generation(catalogue: Catalogue, bars: Bars) -> None:
    """Embed and index everything in a generation that passes its gate. Raises GenerationNotLiveError when none does."""
    settings, ledger, index = catalogue.settings, catalogue.ledger, catalogue.index
    reindexer = Reindexer(
        settings,
        ledger,
        index,
        catalogue.encoders,
        evaluate=lambda generation: recent_ndcg(ledger, index.open(generation.name), generation, settings),
    )
    name = reindexer.request().name
    try:
        with bars("items indexed") as show:
            while (found := ledger.generations.get(name)).state in UNDER_WAY:
                reindexer.advance()
                if (progress := reindexer.progress) is not None:
                    show(progress.done, progress.total)
                time.sleep(0.05)
    finally:
        reindexer.close()
    if found.state is not GenerationState.LIVE:
        raise GenerationNotLiveError(f"the generation is {found.state}: {found.report}")


def documents(catalogue: Catalogue, template: str | None = None) -> Iterator[list[Document]]:
    """Every item with the text that is embedded, by the template of the settings or another, in pages."""
    template = template or catalogue.settings.text_template
    for page in catalogue.ledger.items.pages(PAGE):
        yield [document(row.item, row.version, template) for row in page]


def text_vectors(catalogue: Catalogue, item_ids: Sequence[str], template: str | None = None) -> Vectors:
    """The vectors of those items as the encoder gave them, not centred: `(items, d) float32`, 0 where there is none."""
    fingerprint, _ = configured_encoder(catalogue.settings, catalogue.ledger, catalogue.encoders)
    found: dict[str, Vectors] = {}
    for page in documents(catalogue, template):
        known = catalogue.ledger.placements.vectors(fingerprint, [one.content_hash for one in page])
        found |= {one.item.item_id: known[one.content_hash] for one in page if one.content_hash in known}
    dimensions = len(next(iter(found.values()))) if found else 1
    nothing = np.zeros(dimensions, dtype=np.float32)
    return np.stack([found.get(item_id, nothing) for item_id in item_ids])


@contextmanager
def shared_embeddings(catalogue: Catalogue, home: Path | None) -> Iterator[None]:
    """Take what `home` has embedded before, and leave there afterwards what was embedded here. Nothing else is read."""
    if home is None:
        yield
        return
    home.mkdir(parents=True, exist_ok=True)
    with open_ledger(catalogue.settings.model_copy(update={"home": home}).ledger_url) as theirs:
        _copy_vectors(catalogue, theirs, catalogue.ledger)
        yield
        _copy_vectors(catalogue, catalogue.ledger, theirs)


def _copy_vectors(catalogue: Catalogue, source: Ledger, target: Ledger) -> None:
    fingerprint, _ = configured_encoder(catalogue.settings, catalogue.ledger, catalogue.encoders)
    for page in documents(catalogue):
        hashes = [one.content_hash for one in page]
        target.placements.keep_vectors(fingerprint, source.placements.vectors(fingerprint, hashes))
