"""Item-item weights in the ledger: a small number for each item, and the weights that point at it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, func, select

from ingest.chunks import chunks
from ingest.encoder.protocol import Vectors
from ingest.index.protocol import SparseVector
from ingest.store.database import ROWS_PER_COMMIT, Database, id_order, now
from ingest.store.prepared import PreparedIn
from ingest.store.tables import items, meta, placements, positions, taste, vectors

_PLACED = "taste_placed"
_TOLERANCE = 1e-3  # of an item's largest weight: a training that moves less is not worth an update of the index

_POSITIONS = PreparedIn(select(positions.c.item_id, positions.c.position), positions.c.item_id)
_WEIGHTS = PreparedIn(select(taste.c.item_id, taste.c.positions, taste.c.weights), taste.c.item_id)

_Row = tuple[str, NDArray[np.int32], Vectors]


class Trained(Protocol):
    """A trained model as the store needs it."""

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The items it was trained for."""
        ...

    def rows(self) -> Iterator[_Row]:
        """Each item with the indices, into `item_ids`, of the weights that point at it, and those weights."""
        ...


class TasteStore:
    """The positions and taste tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def positions(self, item_ids: Iterable[str]) -> dict[str, int]:
        """The sparse positions of those items that have one; a position never changes and is never given twice."""
        found: dict[str, int] = {}
        with self._database.read() as connection:
            for some in chunks(item_ids):
                found.update(map(tuple, _POSITIONS.rows(connection, some)))
        return found

    def weights(self, item_ids: Iterable[str]) -> dict[str, SparseVector]:
        """The weights that point at those items, by the positions they come from; items without any are left out."""
        return {
            item_id: SparseVector(positions=tuple(there.tolist()), weights=tuple(weights.tolist()))
            for item_id, (there, weights) in self.arrays(item_ids).items()
        }

    def arrays(self, item_ids: Iterable[str]) -> dict[str, tuple[NDArray[np.uint32], Vectors]]:
        """The same as two arrays an item, positions ascending."""
        found = {}
        with self._database.read() as connection:
            for some in chunks(item_ids):
                for item_id, there, weights in map(tuple, _WEIGHTS.rows(connection, some)):
                    if there:
                        found[item_id] = (np.frombuffer(there, "<u4"), np.frombuffer(weights, "<f4"))
        return found

    def replace(self, model: Trained) -> list[str]:
        """Keep a model's weights and drop all others; returns the ids of the items whose weights changed.

        What differs by less than a thousandth of an item's largest weight counts as the same. Items that were deleted
        meanwhile get none.
        """
        with self._database.write() as connection:
            _give_positions(self._database, connection, model.item_ids)
        known = self.positions(model.item_ids)
        numbers = np.array([known[item_id] for item_id in model.item_ids], dtype=np.int64)
        changed: list[str] = []
        for page in chunks(model.rows(), ROWS_PER_COMMIT):
            changed += self._write({item_id: _blobs(numbers[there], weights) for item_id, there, weights in page})
        return changed + self._drop_others(frozenset(model.item_ids))

    def latest(self) -> int:
        """When weights were last changed, in microseconds since 1970; 0: never."""
        with self._database.read() as connection:
            return connection.execute(select(func.max(taste.c.trained_at))).scalar() or 0

    def changed(self, after: int, until: int) -> list[str]:
        """Items whose weights changed within that time (`after` left out), those that lost theirs included."""
        query = select(taste.c.item_id).where(taste.c.trained_at > after, taste.c.trained_at <= until)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(taste.c.item_id)).scalars())

    def placed(self, generation: str) -> int:
        """Up to which change the generation's points carry the weights of the ledger; 0: none."""
        with self._database.read() as connection:
            return _placed(connection).get(generation, 0)

    def note_placed(self, generation: str, until: int, *, known: Iterable[str]) -> None:
        """Write that down, and forget the generations that are not `known` any more."""
        with self._database.write() as connection:
            self._database.lock(connection, "taste")
            standing = {name: stamp for name, stamp in _placed(connection).items() if name in set(known)}
            value = orjson.dumps(standing | {generation: until}).decode()
            self._database.upsert(connection, meta, [{"key": _PLACED, "value": value}])

    def texts(self, generation: str, fingerprint: str) -> Iterator[list[tuple[str, Vectors | None]]]:
        """The items that stand in a generation with their remembered vectors, not centred, in order, by pages."""
        last = ""
        text = (vectors.c.content_hash == placements.c.content_hash) & (vectors.c.fingerprint == fingerprint)
        query = select(placements.c.item_id, vectors.c.vector).outerjoin_from(placements, vectors, text)
        query = query.where(placements.c.generation == generation, placements.c.present)
        query = query.order_by(placements.c.item_id).limit(1_000)
        while True:
            with self._database.read() as connection:
                rows = connection.execute(query.where(placements.c.item_id > last)).all()
            if not rows:
                return
            yield [(row[0], None if row[1] is None else np.frombuffer(row[1], "<f4")) for row in rows]
            last = rows[-1][0]

    def _write(self, rows: Mapping[str, tuple[bytes, bytes]]) -> list[str]:
        with self._database.write() as connection:
            self._database.lock(connection, "taste")
            alive = alive_among(connection, rows)
            stored = map(tuple, _WEIGHTS.rows(connection, list(rows)))
            standing = {item_id: (there, weights) for item_id, there, weights in stored}
            empty = (b"", b"")
            changed = sorted(i for i in alive if not _same(rows[i], standing.get(i, empty)))
            self._store(connection, {item_id: rows[item_id] for item_id in changed})
        return changed

    def _drop_others(self, kept: frozenset[str]) -> list[str]:
        with self._database.write() as connection:
            self._database.lock(connection, "taste")
            standing = connection.execute(select(taste.c.item_id).where(taste.c.positions != b"")).scalars()
            others = sorted(set(standing) - kept)
            self._store(connection, dict.fromkeys(others, (b"", b"")))
        return others

    def _store(self, connection: Connection, rows: Mapping[str, tuple[bytes, bytes]]) -> None:
        stamp = connection.execute(select(now())).scalar_one()
        stored: list[dict[str, Any]] = [
            {"item_id": item_id, "positions": there, "weights": weights, "trained_at": stamp}
            for item_id, (there, weights) in rows.items()
        ]
        for some in chunks(stored):
            self._database.upsert(connection, taste, some)


def forget_taste(connection: Connection, item_ids: Sequence[str]) -> None:
    """Drop the weights of items inside the transaction that deletes them."""
    for some in chunks(item_ids):
        connection.execute(delete(taste).where(taste.c.item_id.in_(some)))


def _give_positions(database: Database, connection: Connection, item_ids: Sequence[str]) -> None:
    database.lock(connection, "taste positions")
    for some in chunks(sorted(item_ids)):
        known = {row[0] for row in _POSITIONS.rows(connection, some)}
        new = [{"item_id": item_id} for item_id in some if item_id not in known]
        if new:
            connection.execute(positions.insert(), new)


def _blobs(numbers: NDArray[np.int64], weights: Vectors) -> tuple[bytes, bytes]:
    order = np.argsort(numbers)
    order = order[weights[order] != 0]
    return numbers[order].astype("<u4").tobytes(), weights[order].astype("<f4").tobytes()


def alive_among(connection: Connection, item_ids: Iterable[str]) -> set[str]:
    """Those of the items that are not deleted; nobody deletes them before this transaction ends."""
    present = select(items.c.item_id).where(items.c.item_id.in_(list(item_ids)), items.c.deleted_at.is_(None))
    return set(connection.execute(present.order_by(id_order(items.c.item_id)).with_for_update()).scalars())


def _same(one: tuple[bytes, bytes], other: tuple[bytes, bytes]) -> bool:
    if one[0] != other[0]:
        return False
    ours, theirs = np.frombuffer(one[1], "<f4"), np.frombuffer(other[1], "<f4")
    return not ours.size or bool(np.abs(ours - theirs).max() <= _TOLERANCE * np.abs(theirs).max())


def _placed(connection: Connection) -> dict[str, int]:
    stored = connection.execute(select(meta.c.value).where(meta.c.key == _PLACED)).scalar()
    found: dict[str, int] = orjson.loads(stored) if stored else {}
    return found
