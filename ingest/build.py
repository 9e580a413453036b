"""Building an embedded generation in a process of its own.

Optimising an index holds the interpreter lock for its whole run, so it must not happen where queries are served. The
child reads the ledger, embeds what is not remembered, learns item-item weights from the events, fills and optimises the
collection, closes it, and says so.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection

import numpy as np

from ingest.child import Failed, be_a_child_of
from ingest.chunks import chunks
from ingest.collection_spec import collection_spec
from ingest.documents import Document, document, embedded, left_out, placement_of, point_of
from ingest.encoder.library import EncoderLibrary
from ingest.encoder.protocol import Vectors
from ingest.errors import AkinError, UnavailableError
from ingest.index.engines import open_index
from ingest.index.protocol import Index
from ingest.reconcile import MAX_ATTEMPTS, batch_size
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
    untrained: str = ""  # why no item-item weights were learned; the index does not need them
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
    untrained = ""
    if settings.train_taste:
        tell("learning", 0, total)
        untrained = _learn(settings, ledger, generation)
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
    return Built(items=placed, mean=mean, untrained=untrained, left_out=unfit)


def build_in_child(settings: Settings, generation_name: str, parent: int, pipe: Connection) -> None:
    """The child's main function: sends BuildProgress again and again, then Built or Failed."""
    be_a_child_of(parent)

    def tell(stage: str, done: int, total: int) -> None:
        pipe.send(BuildProgress(generation=generation_name, stage=stage, done=done, total=total))

    try:
        with (
            open_ledger(settings.ledger_url) as ledger,
            EncoderLibrary(settings.home, settings.encoder_threads, settings.encoder_provider) as encoders,
        ):
            generation = ledger.generations.get(generation_name)
            pipe.send(build(settings, ledger, open_index(settings), encoders, generation, tell))
    except UnavailableError as error:
        pipe.send(Failed(reason=str(error), away=True))
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
        mean.add(documents, _vectors(settings, ledger, encoders, generation, documents))
        done += len(documents)
        tell(done)
    return mean.value()


def _vectors(
    settings: Settings,
    ledger: Ledger,
    encoders: EncoderLibrary,
    generation: Generation,
    documents: Sequence[Document],
) -> dict[str, Vectors]:
    """Vectors by content hash of what can be embedded. What builds were lost with is tried in ever smaller calls.

    After as many losses as a worker may have with an item, it is set aside.
    """
    name = generation.name

    @contextmanager
    def trying(some: Sequence[Document]) -> Iterator[None]:
        hashes = [d.content_hash for d in some]
        ledger.generations.count_attempts(name, hashes)
        try:
            yield
        except Exception:
            ledger.generations.forget_attempts(name, hashes)
            raise
        ledger.generations.forget_attempts(name, hashes)

    attempts = ledger.generations.attempts(name)
    worn_out = {d.item.item_id: d.version for d in documents if attempts.get(d.content_hash, 0) >= MAX_ATTEMPTS}
    if worn_out:
        reason = f"the build was lost {MAX_ATTEMPTS} times while it embedded this item"
        ledger.pending.put_built_aside(worn_out, job_id=name, reason=reason, attempts=MAX_ATTEMPTS)
    by_size: dict[int, list[Document]] = {}
    for d in documents:
        if d.item.item_id not in worn_out:
            by_size.setdefault(batch_size(attempts.get(d.content_hash, 0), settings.batch_items), []).append(d)
    found: dict[str, Vectors] = {}
    for size, some in sorted(by_size.items(), reverse=True):
        vectors, _ = embedded(ledger, encoders, generation.fingerprint, some, keep_every=size, trying=trying)
        found |= vectors
    return found


def _learn(settings: Settings, ledger: Ledger, generation: Generation) -> str:
    """Learn item-item weights; returns what was in the way. Raises UnavailableError."""
    try:
        train_taste(settings, ledger, _texts(settings, ledger, generation))
    except UnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, out of memory above all, the index is sound without
        return f"{type(error).__name__}: {error}"
    return ""


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
        mean.add(some, _vectors(settings, ledger, encoders, generation, some))
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
