"""The one function of the write side: make the index agree with the ledger for some items.

It reads the state and not the message, so duplicate, late and reordered calls are harmless. It holds no transaction
while it embeds or writes to the index.
"""

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ingest.chunks import chunks
from ingest.encoder.library import EncoderLibrary
from ingest.encoder.protocol import Encoder, Vectors
from ingest.errors import AkinError, InvalidInputError, NotFoundError, UnavailableError
from ingest.index.protocol import NO_TASTE, Collection, CollectionSpec, Index, Point, SparseVector
from ingest.items import AttributeType, AttributeValue, Item, StoredItem
from ingest.metrics import RECONCILE_SECONDS, RECONCILED, measured
from ingest.queue import Queue
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.pending import Claim
from ingest.store.placements import Placement
from ingest.store.records import Generation
from ingest.text import content_hash, render
from ingest.words import AVERAGE_LENGTH, document_length, document_words

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 4
RETRY_SECONDS = 5.0
AWAY_SECONDS = 1.0  # until what the broker would not take is tried again
MESSAGES_WAITING = 64  # more would not be done sooner, and be sent again and again while they wait
KEEP_EVERY = 128  # texts: an item that kills whoever embeds it loses so many with it, twice
SAMPLE = 5_000  # items whose lengths are averaged: what more would change is within rounding
SAMPLE_PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """How many items were placed (or removed), are to be done again, and were set aside."""

    placed: int = 0
    again: int = 0
    set_aside: int = 0


@dataclass(frozen=True, kw_only=True)
class Document:
    """An item as it is to be placed: the text to embed and the hash that says whether it changed."""

    item: Item
    version: int
    text: str
    content_hash: str


class Reconciler:
    """Reconciles items in every generation that receives writes. Thread-safe."""

    def __init__(self, settings: Settings, ledger: Ledger, index: Index, encoders: EncoderLibrary) -> None:
        self._settings = settings
        self._ledger = ledger
        self._index = index
        self._encoders = encoders

    def reconcile(self, item_ids: Sequence[str]) -> Reconciled:
        """Place what is missing or stale, remove what is deleted, and write down what was done.

        Items that somebody else has leased are left to them. Raises UnavailableError when a dependency is away; the
        items then stay pending, and the attempt is not held against them.
        """
        lease = str(uuid.uuid4())
        started = time.monotonic()
        claim = self._ledger.pending.claim(item_ids, lease=lease, seconds=self._settings.lease_seconds)
        if not claim.attempts:
            return Reconciled()
        try:
            with measured("reconcile", RECONCILE_SECONDS):
                done = self._reconcile_claimed(claim, deadline=started + self._settings.lease_seconds)
        except UnavailableError:
            self._ledger.pending.release(lease, due_in=RETRY_SECONDS, forgive=True)
            raise
        except BaseException:
            self._ledger.pending.release(lease, due_in=RETRY_SECONDS, forgive=False)
            raise
        for outcome, n in (("placed", done.placed), ("again", done.again), ("set_aside", done.set_aside)):
            RECONCILED.labels(outcome).inc(n)
        return done

    def _reconcile_claimed(self, claim: Claim, *, deadline: float) -> Reconciled:
        rows = self._ledger.items.get_many(claim.attempts, deleted=True)
        # A deletion is never set aside: nothing of the item is read any more, so it cannot be what kills a worker.
        worn_out = [
            item_id
            for item_id, attempts in claim.attempts.items()
            if attempts > MAX_ATTEMPTS and (item_id not in rows or rows[item_id].deleted_at is None)
        ]
        reason = f"the worker was lost {MAX_ATTEMPTS} times while it worked on this item"
        reasons = dict.fromkeys(worn_out, reason)
        # This time they are not tried, only found to have been tried too often.
        claim = replace(claim, attempts=claim.attempts | dict.fromkeys(worn_out, MAX_ATTEMPTS))
        generations = self._ledger.generations.receiving_writes()
        if not generations:
            raise UnavailableError("there is no live generation yet; start akin with an encoder artifact")
        placed: list[Placement] = []
        for generation in generations:
            collection = self._open(generation.name)
            work = _Work(self._settings, self._ledger, collection, self._encoders, generation, deadline)
            placed += work.place([row for row in rows.values() if row.item.item_id not in reasons], reasons)
        read = {item_id: row.version for item_id, row in rows.items() if item_id not in reasons}
        again = self._ledger.placements.record(
            [p for p in placed if p.item_id in read],
            read=read,
            generation_names=frozenset(generation.name for generation in generations),
            lease=claim.lease,
        )
        self._ledger.pending.put_aside(claim, reasons)
        self._ledger.pending.release(claim.lease, due_in=0, forgive=False)
        for item_id, why in reasons.items():
            logger.warning("item set aside", extra={"item_id": item_id, "reason": why})
        return Reconciled(placed=len(read) - len(again), again=len(again), set_aside=len(reasons))

    def _open(self, name: str) -> Collection:
        try:
            return self._index.open(name)
        except NotFoundError as error:  # the index lost it, which is no fault of the items; upkeep makes it anew
            raise UnavailableError(f"the index of generation {name} is not there") from error


class _Work:
    """One generation's share of a reconcile call."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        collection: Collection,
        encoders: EncoderLibrary,
        generation: Generation,
        deadline: float,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._collection = collection
        self._encoders = encoders
        self._generation = generation
        self._deadline = deadline

    def place(self, rows: Sequence[StoredItem], reasons: dict[str, str]) -> list[Placement]:
        """Bring these items up to date in this generation; failures are added to `reasons` by item id."""
        name = self._generation.name
        standing = self._ledger.placements.of(name, [row.item.item_id for row in rows])
        gone = [row for row in rows if row.deleted_at is not None]
        stale = [row for row in rows if row.deleted_at is None and not _in_order(row, standing)]
        documents = [document(row.item, row.version, self._settings.text_template) for row in stale]
        vectors = self._vectors(documents, reasons)
        self._check_lease()
        self._store([d for d in documents if d.item.item_id not in reasons], vectors, reasons)
        if gone:
            self._collection.delete([row.item.item_id for row in gone])
        placed = [_placement(name, d.item.item_id, d.version, d.content_hash) for d in documents]
        return placed + [_placement(name, row.item.item_id, row.version, None) for row in gone]

    def _store(self, documents: Sequence[Document], vectors: Mapping[str, Vectors], reasons: dict[str, str]) -> None:
        ids = [d.item.item_id for d in documents]
        tastes = self._ledger.taste.weights(ids)
        points = [
            Point(
                item_id=d.item.item_id,
                text=centred(vectors[d.content_hash], self._generation.mean),
                attributes=declared_attributes(d.item, self._generation.attributes),
                taste=tastes.get(d.item.item_id),
                words=words_of(d, self._collection.average_length),
            )
            for d in documents
        ]
        self._upsert(points, reasons)
        # A training may have ended and been placed between our reading and our writing.
        latest = self._ledger.taste.weights(ids)
        moved = [item_id for item_id in ids if latest.get(item_id) != tastes.get(item_id)]
        if moved:
            self._collection.set_taste({item_id: latest.get(item_id, NO_TASTE) for item_id in moved})

    def _vectors(self, documents: Sequence[Document], reasons: dict[str, str]) -> dict[str, Vectors]:
        """Vectors by content hash: remembered ones first, the rest embedded, each text once."""
        fingerprint = self._generation.fingerprint
        known = self._ledger.placements.vectors(fingerprint, [d.content_hash for d in documents])
        unknown = {d.content_hash: d for d in documents if d.content_hash not in known}
        if not unknown:
            return known
        failed: dict[str, str] = {}
        # By and by, so that what was embedded before a worker is lost need not be embedded again; texts of about one
        # length together, as the encoder is quicker with them.
        for some in chunks(sorted(unknown.values(), key=lambda d: len(d.text)), KEEP_EVERY):
            embedded, refused = embed_each(self._encoders.get(fingerprint), some)
            self._ledger.placements.keep_vectors(fingerprint, embedded)
            known |= embedded
            failed |= refused
        reasons |= {d.item.item_id: failed[d.content_hash] for d in documents if d.content_hash in failed}
        return known

    def _upsert(self, points: Sequence[Point], reasons: dict[str, str]) -> None:
        try:
            self._collection.upsert(points)
        except InvalidInputError as error:
            if len(points) == 1:
                reasons[points[0].item_id] = f"the index refused it: {error}"
                return
            for half in (points[: len(points) // 2], points[len(points) // 2 :]):
                self._upsert(half, reasons)

    def _check_lease(self) -> None:
        # Past the lease somebody else may have placed a newer version, which must not be overwritten.
        if time.monotonic() > self._deadline:
            raise UnavailableError("the work took longer than its lease; raise AKIN_LEASE_SECONDS or lower the batch")


def sweep(settings: Settings, ledger: Ledger, queue: Queue) -> int:
    """Ask again for what is due; returns how many items. Items that lost workers before go in smaller batches.

    Asks for nothing more while a full queue's worth of items waits already.
    """
    if not ledger.pending.is_due():
        return 0
    most = settings.batch_items * MESSAGES_WAITING
    room = most - ledger.pending.told(most)
    if room <= 0:
        return 0
    due = ledger.pending.due(min(room, settings.batch_items * 8), put_off=settings.redeliver_seconds)
    by_size: dict[int, list[str]] = {}
    for item_id, attempts in due:
        by_size.setdefault(batch_size(attempts, settings.batch_items), []).append(item_id)
    for size, item_ids in sorted(by_size.items(), reverse=True):
        for batch in chunks(item_ids, size):
            if not queue.wake(batch):
                ledger.pending.make_due(batch, due_in=AWAY_SECONDS)
    return len(due)


def batch_size(attempts: int, full: int) -> int:
    """Items per message after so many lost attempts: full twice, then its square root, then each alone."""
    if attempts < MAX_ATTEMPTS - 2:
        return full
    return max(1, round(full**0.5)) if attempts < MAX_ATTEMPTS - 1 else 1


def document(item: Item, version: int, template: str) -> Document:
    """What is embedded for an item."""
    text = render(template, item)
    return Document(item=item, version=version, text=text, content_hash=content_hash(text))


def words_of(document: Document, average_length: float | None) -> SparseVector | None:
    """The words of an item as a collection with this average length holds them; None where it holds none."""
    return None if average_length is None else document_words(document.item.title, document.text, average_length)


def collection_spec(settings: Settings, ledger: Ledger, generation: Generation) -> CollectionSpec:
    """What a new collection of this generation holds; its word weights are scaled by the catalogue as it is now."""
    lengths: list[int] = []
    for page in ledger.items.pages(SAMPLE_PAGE):
        lengths += [document_length(row.item.title, render(settings.text_template, row.item)) for row in page]
        if len(lengths) >= SAMPLE:
            break
    average = max(1.0, sum(lengths) / len(lengths)) if lengths else AVERAGE_LENGTH
    return CollectionSpec(dimensions=generation.dimensions, attributes=generation.attributes, average_length=average)


def embed_each(encoder: Encoder, documents: Sequence[Document]) -> tuple[dict[str, Vectors], dict[str, str]]:
    """Vectors by content hash, and reasons by content hash for those that cannot be embedded.

    When a batch fails, each text is tried alone, so that one bad text harms no other.
    """
    try:
        vectors = encoder.embed([d.text for d in documents])
    except UnavailableError:
        raise
    except (AkinError, ValueError, RuntimeError) as error:
        if len(documents) == 1:
            return {}, {documents[0].content_hash: f"it cannot be embedded: {error}"}
        embedded: dict[str, Vectors] = {}
        failed: dict[str, str] = {}
        for one in documents:
            vector, reason = embed_each(encoder, [one])
            embedded |= vector
            failed |= reason
        return embedded, failed
    return {d.content_hash: vector for d, vector in zip(documents, vectors, strict=True)}, {}


def centred(vector: Vectors, mean: Vectors | None) -> Vectors:
    """The unit vector of `vector - mean`: what the index holds. (dimensions,) float32.

    A vector that is the mean itself has no direction then, and stays as it is.
    """
    if mean is None:
        return vector
    shifted = vector - mean
    norm = float(np.linalg.norm(shifted))
    return vector if norm < 1e-6 else (shifted / norm).astype(np.float32)  # noqa: PLR2004 - float32 rounding noise


def declared_attributes(item: Item, attributes: Mapping[str, AttributeType]) -> dict[str, AttributeValue]:
    """The part of an item that filters may use."""
    declared: dict[str, AttributeValue] = {k: v for k, v in item.attributes.items() if k in attributes}
    if item.categories and "categories" in attributes:
        declared["categories"] = list(item.categories)
    return declared


def _in_order(row: StoredItem, standing: Mapping[str, Placement]) -> bool:
    placement = standing.get(row.item.item_id)
    return placement is not None and placement.present and placement.version == row.version


def _placement(generation: str, item_id: str, version: int, content_hash_: str | None) -> Placement:
    return Placement(
        generation=generation,
        item_id=item_id,
        version=version,
        content_hash=content_hash_,
        present=content_hash_ is not None,
    )
