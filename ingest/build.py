"""Building an embedded generation in a process of its own.

Optimising an index holds the interpreter lock for its whole run, so it must not happen where queries are served. The
child reads the ledger, embeds what is not remembered, learns item-item weights from the events, fills and optimises the
collection, closes it, and says so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from ingest.child import be_a_child_of
from ingest.encoder.library import EncoderLibrary
from ingest.encoder.protocol import Vectors
from ingest.errors import AkinError
from ingest.index.engines import open_index
from ingest.index.protocol import CollectionSpec, Index, Point, SparseVector
from ingest.reconcile import Document, centred, declared_attributes, document, embed_each
from ingest.settings import Settings
from ingest.store.database import chunks
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.placements import Placement
from ingest.store.records import Generation
from ingest.train import Texts, train_taste

PAGE = 512
LEAST_ITEMS_FOR_MEAN = 50  # the mean of fewer says more about them than about the catalogue


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a finished build hands back."""

    items: int
    mean: Vectors | None


Progress = Callable[[str, int, int], None]


def build(
    settings: Settings, ledger: Ledger, index: Index, encoders: EncoderLibrary, generation: Generation, tell: Progress
) -> Built:
    """Fill and optimise a new collection from the ledger. What changes meanwhile is left to be caught up."""
    index.drop(generation.name)
    spec = CollectionSpec(dimensions=generation.dimensions, attributes=generation.attributes)
    collection = index.create(generation.name, spec)
    total = ledger.items.count()
    mean = _embed_all(settings, ledger, encoders, generation, lambda done: tell("embedding", done, total))
    if settings.train_taste:
        tell("learning", 0, total)
        train_taste(settings, ledger, _texts(settings, ledger, generation))
    placed, learned = 0, ledger.taste.latest()
    for documents in _pages(settings, ledger):
        vectors = ledger.placements.vectors(generation.fingerprint, [d.content_hash for d in documents])
        ready = [d for d in documents if d.content_hash in vectors]
        tastes = ledger.taste.weights([d.item.item_id for d in ready])
        collection.upsert(
            [_point(d, vectors[d.content_hash], mean, generation, tastes.get(d.item.item_id)) for d in ready]
        )
        ledger.placements.record_built([_placement(d, generation) for d in ready])
        placed += len(ready)
        tell("placing", placed, total)
    ledger.taste.note_placed(generation.name, learned, known=[g.name for g in ledger.generations.list()])
    tell("optimising", placed, total)
    collection.optimise()
    index.close(generation.name)
    return Built(items=placed, mean=mean)


def build_in_child(settings: Settings, generation_name: str, parent: int, pipe: Connection) -> None:
    """The child's main function: sends ("progress", stage, done, total), then ("built", Built) or ("failed", why)."""
    be_a_child_of(parent)

    def tell(stage: str, done: int, total: int) -> None:
        pipe.send(("progress", stage, done, total))

    try:
        with (
            open_ledger(settings.ledger_url) as ledger,
            EncoderLibrary(settings.home, settings.encoder_threads) as encoders,
        ):
            generation = ledger.generations.get(generation_name)
            pipe.send(("built", build(settings, ledger, open_index(settings), encoders, generation, tell)))
    except AkinError as error:
        pipe.send(("failed", str(error)))


def _embed_all(
    settings: Settings, ledger: Ledger, encoders: EncoderLibrary, generation: Generation, tell: Callable[[int], None]
) -> Vectors | None:
    """Remember a vector for every text; returns the catalogue mean, or None for a catalogue that is too small."""
    total = np.zeros(generation.dimensions, dtype=np.float64)
    count = done = 0
    for documents in _pages(settings, ledger):
        hashes = [d.content_hash for d in documents]
        vectors = ledger.placements.vectors(generation.fingerprint, hashes)
        unknown = list({d.content_hash: d for d in documents if d.content_hash not in vectors}.values())
        for some in chunks(unknown, settings.batch_items):
            embedded, _ = embed_each(encoders.get(generation.fingerprint), some)
            ledger.placements.keep_vectors(generation.fingerprint, embedded)
            vectors |= embedded
        for content_hash in hashes:
            if content_hash in vectors:
                total += vectors[content_hash]
                count += 1
        done += len(documents)
        tell(done)
    return (total / count).astype(np.float32) if count >= LEAST_ITEMS_FOR_MEAN else None


def _pages(settings: Settings, ledger: Ledger) -> Iterator[list[Document]]:
    # What was set aside may have cost a worker its life; a build must not try it again.
    aside = {(s.item_id, s.version) for s in ledger.pending.set_aside(limit=1_000_000)}
    for page in ledger.items.pages(PAGE):
        yield [
            document(row.item, row.version, settings.text_template)
            for row in page
            if (row.item.item_id, row.version) not in aside
        ]


def _texts(settings: Settings, ledger: Ledger, generation: Generation) -> Texts:
    for documents in _pages(settings, ledger):
        vectors = ledger.placements.vectors(generation.fingerprint, [d.content_hash for d in documents])
        yield [(d.item.item_id, vectors.get(d.content_hash)) for d in documents]


def _point(
    d: Document, vector: Vectors, mean: Vectors | None, generation: Generation, taste: SparseVector | None
) -> Point:
    attributes = declared_attributes(d.item, generation.attributes)
    return Point(item_id=d.item.item_id, text=centred(vector, mean), attributes=attributes, taste=taste)


def _placement(d: Document, generation: Generation) -> Placement:
    return Placement(
        generation=generation.name,
        item_id=d.item.item_id,
        version=d.version,
        content_hash=d.content_hash,
        present=True,
    )
