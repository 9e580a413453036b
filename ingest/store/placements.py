"""Which version of which item stands in which generation, and the vectors that have been paid for already."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, exists, func, or_, select, update

from ingest.chunks import chunks
from ingest.encoder.protocol import Vectors
from ingest.store.database import Database, now
from ingest.store.pending import MICROSECONDS, PendingStore, in_turn, locked_versions
from ingest.store.records import GenerationState
from ingest.store.tables import generations, items, pending, placements, vectors

_RECEIVE_WRITES = (GenerationState.LIVE, GenerationState.CATCHING_UP)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Version `version` of an item stands in a generation, or is known to be absent from it."""

    generation: str
    item_id: str
    version: int
    content_hash: str | None
    present: bool


class PlacementStore:
    """The placements and vectors tables."""

    def __init__(self, database: Database, pending_store: PendingStore) -> None:
        self._database = database
        self.recorded = 0  # how often this process has changed the index: while it stands still, so does that
        self._pending = pending_store

    def of(self, generation: str, item_ids: Iterable[str]) -> dict[str, Placement]:
        """What is known of those items in that generation."""
        found: dict[str, Placement] = {}
        with self._database.read() as connection:
            for some in chunks(item_ids):
                query = select(placements).where(placements.c.generation == generation, placements.c.item_id.in_(some))
                found |= {row.item_id: Placement(**row._mapping) for row in connection.execute(query)}  # noqa: SLF001 - SQLAlchemy's public name
        return found

    def count(self, generation: str) -> int:
        """How many items stand in the generation."""
        query = select(func.count()).select_from(placements)
        query = query.where(placements.c.generation == generation, placements.c.present)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def record(
        self,
        placed: Sequence[Placement],
        *,
        read: Mapping[str, int],
        generation_names: frozenset[str],
        lease: str,
        taken_over: frozenset[str] = frozenset(),
        look_again_in: float = 0,
    ) -> list[str]:
        """Write down what was placed and strike it off the pending list; returns the ids that must be done again.

        An item whose version is no longer the one in `read` may now be overwritten by what we placed, so its placement
        is noted as unknown and it stays pending. The same goes for all of them when the generations that receive
        writes are not those that we wrote to. What was taken over from a lease that was never given back is placed
        once more `look_again_in` seconds later: its holder may be stopped and not dead, and write what it read before.
        """
        with self._database.write() as connection:
            # Which generations receive writes must stay as it is until what follows from it is committed.
            self._database.lock(connection, "generations", shared=True)
            standing = locked_versions(connection, read)
            for some in chunks(sorted(read)):
                connection.execute(in_turn(pending.c.item_id.in_(some)))  # all at once: below they are taken in parts
            receiving = set(
                connection.execute(select(generations.c.name).where(generations.c.state.in_(_RECEIVE_WRITES))).scalars()
            )
            moved_on = {item_id for item_id, version in read.items() if standing.get(item_id) != version}
            unfinished = set(read) if receiving != generation_names else moved_on
            doubtful = (taken_over & read.keys()) - unfinished
            _forget_vectors(connection, [p.item_id for p in placed if not p.present])
            self._database.upsert(
                connection, placements, [_row(p, unknown=p.item_id in moved_on | doubtful) for p in placed]
            )
            for some in chunks(sorted(read.keys() - unfinished - doubtful)):
                done = in_turn(pending.c.item_id.in_(some), pending.c.lease == lease)
                connection.execute(delete(pending).where(pending.c.item_id.in_(done)))
            _give_back(connection, unfinished, lease, due_at=0)
            # They were done, so no attempt is held against them.
            _give_back(connection, doubtful, lease, due_at=now() + int(look_again_in * MICROSECONDS), attempts=0)
            # Past the end of our lease somebody else may have struck them off, before we overwrote what he placed.
            # Their job went with the row and counts them as done; the lease stands in for it, as one nobody asks for.
            self._pending.ensure(connection, sorted(moved_on), job_id=lease)
        self.recorded += 1
        return sorted(unfinished | doubtful)

    def note_index_changed(self) -> None:
        """Count what was written to the index and is no placement: whoever keeps what it read there reads it again."""
        self.recorded += 1

    def record_built(self, placed: Sequence[Placement]) -> None:
        """Write down what a build put into a generation that does not receive live writes yet."""
        with self._database.write() as connection:
            self._database.upsert(connection, placements, [_row(p, unknown=False) for p in placed])

    def forget(self, generation: str) -> None:
        """Drop what is known about a generation that is gone."""
        with self._database.write() as connection:
            connection.execute(delete(placements).where(placements.c.generation == generation))

    def deleted_but_present(self, generation: str) -> list[str]:
        """Ids that the record has deleted and that may still stand in the generation."""
        query = select(items.c.item_id).join(placements, placements.c.item_id == items.c.item_id)
        query = query.where(placements.c.generation == generation, placements.c.present)
        with self._database.read() as connection:
            return list(connection.execute(query.where(items.c.deleted_at.is_not(None))).scalars())

    def vectors(self, fingerprint: str, content_hashes: Iterable[str]) -> dict[str, Vectors]:
        """Vectors embedded before, by content hash: (dimensions,) float32 each."""
        found = {}
        with self._database.read() as connection:
            for some in chunks(dict.fromkeys(content_hashes)):
                query = select(vectors.c.content_hash, vectors.c.vector)
                query = query.where(vectors.c.fingerprint == fingerprint, vectors.c.content_hash.in_(some))
                for row in connection.execute(query):
                    found[row.content_hash] = np.frombuffer(row.vector, dtype="<f4")
        return found

    def keep_vectors(self, fingerprint: str, embedded: Mapping[str, Vectors]) -> None:
        """Remember vectors, so that the same text is never embedded twice by the same encoder."""
        rows = [
            {"fingerprint": fingerprint, "content_hash": content_hash, "vector": vector.astype("<f4").tobytes()}
            for content_hash, vector in embedded.items()
        ]
        if rows:
            with self._database.write() as connection:
                connection.execute(self._database.insert(vectors).on_conflict_do_nothing(), rows)

    def collect_vectors(self) -> int:
        """Forget vectors of texts that stand nowhere any more, and of encoders of no generation; returns how many."""
        nowhere = ~exists().where(placements.c.content_hash == vectors.c.content_hash)
        old = vectors.c.fingerprint.not_in(select(generations.c.fingerprint))
        with self._database.write() as connection:
            return connection.execute(delete(vectors).where(or_(nowhere, old))).rowcount


def _give_back(connection: Connection, item_ids: Collection[str], lease: str, **values: Any) -> None:
    """Let others have what this lease still holds of the items."""
    for some in chunks(sorted(item_ids)):
        held = in_turn(pending.c.item_id.in_(some), pending.c.lease == lease)
        row = {"leased_until": 0, "lease": None, **values}
        connection.execute(update(pending).where(pending.c.item_id.in_(held)).values(row))


def _row(placement: Placement, *, unknown: bool) -> dict[str, str | int | bool | None]:
    return {
        "generation": placement.generation,
        "item_id": placement.item_id,
        "version": 0 if unknown else placement.version,
        "content_hash": placement.content_hash,
        "present": placement.present,
    }


def _forget_vectors(connection: Connection, deleted_ids: Sequence[str]) -> None:
    """A deleted item's vector can be inverted to its text, so it goes at once, unless another item shares it."""
    known = placements.c.content_hash.is_not(None)
    for some in chunks(deleted_ids):
        theirs = select(placements.c.content_hash).where(placements.c.item_id.in_(some), known)
        shared = select(placements.c.content_hash).where(placements.c.item_id.not_in(some), known, placements.c.present)
        hashes = set(connection.execute(theirs).scalars())
        hashes -= set(connection.execute(shared.where(placements.c.content_hash.in_(hashes))).scalars())
        connection.execute(delete(vectors).where(vectors.c.content_hash.in_(hashes)))
