"""Building an embedded generation in a process of its own.

Optimising an index holds the interpreter lock for its whole run, so it must not happen where queries are served. The
child reads the ledger, embeds what is not remembered, learns item-item weights from the events, fills and optimises the
collection, closes it, and says so.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection

import numpy as np

from ingest.child import Failed, be_a_child_of
from ingest.chunks import chunks
from ingest.collection_spec import collection_spec
from ingest.documents import Document, document, embedded, left_out, placement_of, point_of
from ingest.encoder.library import EncoderLibrary
from ingest.encoder.protocol import Vectors
from ingest.errors import AkinError
from ingest.index.engines import open_index
from ingest.index.protocol import Index
from ingest.settings import Settings
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.records import Generation
from ingest.train import TextPages, train_taste

PAGE = 512
MEAN_SAMPLE = 2_000
LEAST_ITEMS_FOR_MEAN = 50  # the mean of fewer says more about them than about the catalogue


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a finished build hands back."""

    items: int
    mean: Vectors | None
    left_out: Mapping[str, int] = field(default_factory=dict)  # items with a value that does not fit, by attribute


@dataclass(frozen=True, kw_only=True)
class BuildProgress:
    """How far the build under way has come."""

    generation: str
    stage: str
    done: int
    total: int


Progress = Callable[[str, int, int], None]


def build(
    settings: Settings, ledger: Ledger, index: Index, encoders: EncoderLibrary, generation: Generation, tell: Progress
) -> Built:
    """Fill and optimise a new collection from the ledger. What changes meanwhile is left to be caught up.

    On a server only the collection and the catalogue mean are made here: all workers fill it together.
    """
    index.drop(generation.name)
    collection = index.create(generation.name, collection_spec(settings, ledger, generation), loading=True)
    total = ledger.items.count()
    if not settings.embedded:
        return Built(items=total, mean=_sampled_mean(settings, ledger, encoders, generation, tell))
    mean = _embed_all(settings, ledger, encoders, generation, lambda done: tell("embedding", done, total))
    generation = replace(generation, mean=mean)
    if settings.train_taste:
        tell("learning", 0, total)
        train_taste(settings, ledger, _texts(settings, ledger, generation))
    placed, learned, unfit = 0, ledger.taste.latest(), Counter[str]()
    for documents in _pages(settings, ledger):
        vectors = ledger.placements.vectors(generation.fingerprint, [d.content_hash for d in documents])
        ready = [d for d in documents if d.content_hash in vectors]
        tastes = ledger.taste.weights([d.item.item_id for d in ready])
        collection.upsert(
            [
                point_of(
                    d,
                    vectors[d.content_hash],
                    generation,
                    taste=tastes.get(d.item.item_id),
                    average_length=collection.average_length,
                )
                for d in ready
            ]
        )
        ledger.placements.record_built([placement_of(d, generation) for d in ready])
        placed += len(ready)
        unfit += left_out((d.item for d in ready), generation.attributes)
        tell("placing", placed, total)
    ledger.taste.note_placed(generation.name, learned, known=[g.name for g in ledger.generations.list()])
    tell("optimising", placed, total)
    collection.optimise()
    index.close(generation.name)
    return Built(items=placed, mean=mean, left_out=unfit)


def build_in_child(settings: Settings, generation_name: str, parent: int, pipe: Connection) -> None:
    """The child's main function: sends BuildProgress again and again, then Built or Failed."""
    be_a_child_of(parent)

    def tell(stage: str, done: int, total: int) -> None:
        pipe.send(BuildProgress(generation=generation_name, stage=stage, done=done, total=total))

    try:
        with (
            open_ledger(settings.ledger_url) as ledger,
            EncoderLibrary(settings.home, settings.encoder_threads) as encoders,
        ):
            generation = ledger.generations.get(generation_name)
            pipe.send(build(settings, ledger, open_index(settings), encoders, generation, tell))
    except AkinError as error:
        pipe.send(Failed(reason=str(error)))


class _Mean:
    """The mean over items, one by one; of items that share a text each counts."""

    def __init__(self, dimensions: int) -> None:
        self._total = np.zeros(dimensions, dtype=np.float64)
        self._count = 0

    def add(self, documents: Sequence[Document], vectors: Mapping[str, Vectors]) -> None:
        """Count those that could be embedded; the vectors are by content hash."""
        for d in documents:
            if d.content_hash in vectors:
                self._total += vectors[d.content_hash]
                self._count += 1

    def value(self) -> Vectors | None:
        """`(dimensions,) float32`; None where too few were counted."""
        return (self._total / self._count).astype(np.float32) if self._count >= LEAST_ITEMS_FOR_MEAN else None


def _embed_all(
    settings: Settings, ledger: Ledger, encoders: EncoderLibrary, generation: Generation, tell: Callable[[int], None]
) -> Vectors | None:
    """Remember a vector for every text; returns the catalogue mean, or None for a catalogue that is too small."""
    mean, done = _Mean(generation.dimensions), 0
    for documents in _pages(settings, ledger):
        vectors, _ = embedded(ledger, encoders, generation.fingerprint, documents, keep_every=settings.batch_items)
        mean.add(documents, vectors)
        done += len(documents)
        tell(done)
    return mean.value()


def _sampled_mean(
    settings: Settings, ledger: Ledger, encoders: EncoderLibrary, generation: Generation, tell: Progress
) -> Vectors | None:
    """The mean over a sample of the catalogue: of more, all but the third digit stays as it is."""
    documents = [document(row.item, row.version, settings.text_template) for row in ledger.items.sample(MEAN_SAMPLE)]
    aside = _aside(ledger)
    documents = [d for d in documents if (d.item.item_id, d.version) not in aside]
    if len(documents) < LEAST_ITEMS_FOR_MEAN:
        return None  # nothing need be embedded to know that
    mean, done = _Mean(generation.dimensions), 0
    for some in chunks(documents, settings.batch_items):
        vectors, _ = embedded(ledger, encoders, generation.fingerprint, some, keep_every=settings.batch_items)
        mean.add(some, vectors)
        done += len(some)
        tell("embedding", done, len(documents))
    return mean.value()


def _pages(settings: Settings, ledger: Ledger) -> Iterator[list[Document]]:
    aside = _aside(ledger)
    for page in ledger.items.pages(PAGE):
        yield [
            document(row.item, row.version, settings.text_template)
            for row in page
            if (row.item.item_id, row.version) not in aside
        ]


def _aside(ledger: Ledger) -> set[tuple[str, int]]:
    # What was set aside may have cost a worker its life; a build must not try it again.
    return {(s.item_id, s.version) for s in ledger.pending.set_aside(limit=1_000_000)}


def _texts(settings: Settings, ledger: Ledger, generation: Generation) -> TextPages:
    for documents in _pages(settings, ledger):
        vectors = ledger.placements.vectors(generation.fingerprint, [d.content_hash for d in documents])
        yield [(d.item.item_id, vectors.get(d.content_hash)) for d in documents]
