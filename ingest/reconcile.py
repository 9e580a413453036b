"""The one function of the write side: make the index agree with the ledger for some items.

It reads the state and not the message, so duplicate, late and reordered calls are harmless. It holds no transaction
while it embeds or writes to the index.
"""

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ingest.documents import Document, document, embedded, left_out, placement_of, point_of, say_left_out
from ingest.encoder.library import EncoderLibrary
from ingest.encoder.protocol import Vectors
from ingest.errors import ArtifactError, InvalidInputError, NotFoundError, UnavailableError
from ingest.index.protocol import NO_TASTE, Collection, Index, Point
from ingest.items import StoredItem
from ingest.metrics import RECONCILE_SECONDS, RECONCILED, measured
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.pending import Claim
from ingest.store.placements import Placement
from ingest.store.records import Generation

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 4
RETRY_SECONDS = 5.0
WRITE_SHARE = 0.25  # of a lease; what is short of the server's own deadline for a write


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """How many items were placed (or removed), are to be done again, and were set aside."""

    placed: int = 0
    again: int = 0
    set_aside: int = 0


def batch_size(attempts: int, full: int) -> int:
    """Items per message or call, after so many lost attempts: full twice, then its square root, then each alone."""
    if attempts < MAX_ATTEMPTS - 2:
        return full
    return max(1, round(full**0.5)) if attempts < MAX_ATTEMPTS - 1 else 1


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
            taken_over=claim.taken_over,
            look_again_in=self._settings.lease_seconds,
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
        self._remove(gone)
        # First what needs no encoder: a new price or stock must not wait for the texts of others.
        known = self._ledger.placements.vectors(self._generation.fingerprint, [d.content_hash for d in documents])
        self._store([d for d in documents if d.content_hash in known], known, reasons)
        unknown = [d for d in documents if d.content_hash not in known]
        vectors = self._vectors(unknown, reasons)
        self._store([d for d in unknown if d.item.item_id not in reasons], vectors, reasons)
        return [placement_of(d, self._generation) for d in documents] + [_absence(row, name) for row in gone]

    def _remove(self, gone: Sequence[StoredItem]) -> None:
        if gone:
            self._check_lease()
            self._collection.delete([row.item.item_id for row in gone])

    def _store(self, documents: Sequence[Document], vectors: Mapping[str, Vectors], reasons: dict[str, str]) -> None:
        if not documents:
            return
        self._check_lease()
        ids = [d.item.item_id for d in documents]
        tastes = self._ledger.taste.weights(ids)
        points = [
            point_of(
                d,
                vectors[d.content_hash],
                self._generation,
                taste=tastes.get(d.item.item_id),
                average_length=self._collection.average_length,
            )
            for d in documents
        ]
        say_left_out(self._generation, left_out((d.item for d in documents), self._generation.attributes))
        self._upsert(points, reasons)
        # A training may have ended and been placed between our reading and our writing.
        latest = self._ledger.taste.weights(ids)
        moved = [item_id for item_id in ids if latest.get(item_id) != tastes.get(item_id)]
        if moved:
            self._collection.set_taste({item_id: latest.get(item_id, NO_TASTE) for item_id in moved})

    def _vectors(self, documents: Sequence[Document], reasons: dict[str, str]) -> dict[str, Vectors]:
        """Vectors by content hash; reasons by item id are added for what cannot be embedded."""
        fingerprint = self._generation.fingerprint
        try:
            vectors, failed = embedded(self._ledger, self._encoders, fingerprint, documents)
        except ArtifactError as error:  # which is no fault of the items: another host may have it
            raise UnavailableError(f"the encoder {fingerprint[:12]} is not usable on this host: {error}") from error
        reasons |= {d.item.item_id: failed[d.content_hash] for d in documents if d.content_hash in failed}
        return vectors

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
        # Past the lease somebody else may have placed a newer version, which must not be overwritten: the longest
        # write must end before.
        if time.monotonic() + _longest_write(self._settings) > self._deadline:
            raise UnavailableError("the work took longer than its lease; raise AKIN_LEASE_SECONDS or lower the batch")


def _longest_write(settings: Settings) -> float:
    """Seconds of a lease that must be left when a write to the index begins."""
    return min(settings.qdrant_write_seconds, settings.lease_seconds * WRITE_SHARE)


def _in_order(row: StoredItem, standing: Mapping[str, Placement]) -> bool:
    placement = standing.get(row.item.item_id)
    return placement is not None and placement.present and placement.version == row.version


def _absence(row: StoredItem, generation: str) -> Placement:
    return Placement(
        generation=generation, item_id=row.item.item_id, version=row.version, content_hash=None, present=False
    )
