"""Items in the ledger: versions, tombstones, and the pending row that goes with every change."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Row, bindparam, delete, func, select

from ingest.chunks import chunks
from ingest.items import Item, StoredItem, item_from_json, item_to_json
from ingest.store.database import Database, id_order, moment, now
from ingest.store.learned import forget_rarities
from ingest.store.pending import PendingStore
from ingest.store.prepared import PreparedIn
from ingest.store.tables import items, set_aside
from ingest.store.taste import forget_taste

# Built once: every answer's page is read with it.
_ALL = select(items).where(items.c.item_id.in_(bindparam("ids", expanding=True)))
_NOT_DELETED = _ALL.where(items.c.deleted_at.is_(None))

_DELETED = PreparedIn(select(items.c.item_id).where(items.c.deleted_at.is_not(None)), items.c.item_id)
_BODIES = _NOT_DELETED.with_only_columns(items.c.item_id, items.c.body)

_LAST_VERSION = 2**63 - 1  # what the column holds; nothing that comes in may be near it


class Heading(NamedTuple):
    """An item as a map names it."""

    title: str
    category: str | None  # the first of its categories


@dataclass(frozen=True, kw_only=True)
class WriteOutcome:
    """What became of one write: changed, unchanged, stale (an older version), deleted (a tombstone stands) or moved.

    Moved is what was to change another version than the one that stands.
    """

    item_id: str
    outcome: str
    version: int


class ItemStore:
    """The items table."""

    def __init__(self, database: Database, pending: PendingStore) -> None:
        self._database = database
        self._pending = pending

    def get(self, item_id: str) -> StoredItem | None:
        """The item, deleted or not; None when it was never there."""
        with self._database.read() as connection:
            row = connection.execute(select(items).where(items.c.item_id == item_id)).one_or_none()
        return None if row is None else _stored(row)

    def get_many(self, item_ids: Iterable[str], *, deleted: bool = False) -> dict[str, StoredItem]:
        """Those that are there; deleted ones only when asked for."""
        found: dict[str, StoredItem] = {}
        with self._database.read() as connection:
            for some in chunks(item_ids):
                rows = connection.execute(_ALL if deleted else _NOT_DELETED, {"ids": some})
                found |= {row.item_id: _stored(row) for row in rows}
        return found

    def deleted(self, item_ids: Iterable[str]) -> set[str]:
        """Which of those are deleted, wherever their removal from the index stands: no answer may show them."""
        with self._database.read() as connection:
            return {row[0] for some in chunks(item_ids) for row in _DELETED.rows(connection, some)}

    def headings(self, item_ids: Iterable[str]) -> dict[str, Heading]:
        """What thousands of items are shown by, of those that are there: a fraction of the time of `get_many`."""
        found: dict[str, Heading] = {}
        with self._database.read() as connection:
            for some in chunks(item_ids):
                for item_id, body in connection.execute(_BODIES, {"ids": some}):
                    found[item_id] = _heading(orjson.loads(body))
        return found

    def ever_there(self, item_ids: Iterable[str]) -> set[str]:
        """Which of those the ledger knows, deleted ones too."""
        found: set[str] = set()
        with self._database.read() as connection:
            for some in chunks(item_ids):
                query = select(items.c.item_id).where(items.c.item_id.in_(some), items.c.updated_at > 0)
                found.update(connection.execute(query).scalars())
        return found

    def count(self) -> int:
        """How many items are not deleted."""
        with self._database.read() as connection:
            query = select(func.count()).select_from(items).where(items.c.deleted_at.is_(None))
            return int(connection.execute(query).scalar_one())

    def sample(self, size: int) -> list[StoredItem]:
        """Up to `size` items that are not deleted, the same ones as long as they do not change, otherwise at random."""
        query = select(items).where(items.c.deleted_at.is_(None)).order_by(items.c.body_hash, items.c.item_id)
        with self._database.read() as connection:
            return [_stored(row) for row in connection.execute(query.limit(size))]

    def pages(self, size: int = 1_000) -> Iterator[list[StoredItem]]:
        """Every item that is not deleted, in the order of the ids, a page at a time."""
        last = ""
        while True:
            query = select(items).where(items.c.item_id > last, items.c.deleted_at.is_(None))
            with self._database.read() as connection:
                rows = connection.execute(query.order_by(items.c.item_id).limit(size)).all()
            if not rows:
                return
            yield [_stored(row) for row in rows]
            last = rows[-1].item_id

    def write(
        self, batch: Sequence[Item], *, job_id: str, revive: bool, due_in: float, over: int | None = None
    ) -> list[WriteOutcome]:
        """Commit items and their pending rows in one transaction; outcomes in the order of the batch.

        An item that equals what stands is unchanged. A lower or equal `version` is stale, and so is what comes without
        one over a version that cannot grow any more. A deleted item comes back only with a higher `version`, or when
        `revive` says that the caller means it. With `over`, only this very version of an item is changed.
        """
        bodies = [_body(item) for item in batch]
        with self._database.write() as connection:
            standing = self._standing(connection, [item.item_id for item in batch], reserve=True)
            outcomes: list[WriteOutcome] = []
            rows: dict[str, dict[str, Any]] = {}
            stamp = connection.execute(select(now())).scalar_one()
            for item, (body, body_hash) in zip(batch, bodies, strict=True):
                outcome = _decide(item, body_hash, standing.get(item.item_id), revive=revive, over=over)
                outcomes.append(outcome)
                if outcome.outcome == "changed":
                    standing[item.item_id] = _Standing(version=outcome.version, body_hash=body_hash, deleted=False)
                    rows[item.item_id] = {
                        "item_id": item.item_id,
                        "version": outcome.version,
                        "body": body,
                        "body_hash": body_hash,
                        "updated_at": stamp,
                        "deleted_at": None,
                    }
            self._commit_changes(connection, [rows[item_id] for item_id in sorted(rows)], job_id, due_in)
        return outcomes

    def delete(self, item_ids: Sequence[str], *, job_id: str, due_in: float) -> list[WriteOutcome]:
        """Tombstone those that are there and not deleted yet; the others are unchanged.

        Stale is one whose version cannot grow any more.
        """
        with self._database.write() as connection:
            standing = self._standing(connection, item_ids)
            stamp = connection.execute(select(now())).scalar_one()
            rows = []
            outcomes = []
            for item_id in dict.fromkeys(item_ids):
                there = standing.get(item_id)
                if there is None or there.deleted:
                    outcomes.append(WriteOutcome(item_id=item_id, outcome="unchanged", version=0))
                    continue
                if there.version == _LAST_VERSION:
                    outcomes.append(WriteOutcome(item_id=item_id, outcome="stale", version=there.version))
                    continue
                version = there.version + 1
                outcomes.append(WriteOutcome(item_id=item_id, outcome="changed", version=version))
                rows.append(
                    {
                        "item_id": item_id,
                        "version": version,
                        "body": None,
                        "body_hash": there.body_hash,
                        "updated_at": stamp,
                        "deleted_at": stamp,
                    }
                )
            gone = [str(row["item_id"]) for row in rows]
            forget_taste(connection, gone)
            forget_rarities(connection, gone)
            self._commit_changes(connection, rows, job_id, due_in)
        return outcomes

    def _commit_changes(
        self, connection: Connection, rows: Sequence[dict[str, Any]], job_id: str, due_in: float
    ) -> None:
        self._database.upsert(connection, items, rows)
        changed = [row["item_id"] for row in rows]
        for some in chunks(changed):
            connection.execute(delete(set_aside).where(set_aside.c.item_id.in_(some)))
        self._pending.add(connection, changed, job_id=job_id, due_in=due_in)

    def _standing(
        self, connection: Connection, item_ids: Sequence[str], *, reserve: bool = False
    ) -> dict[str, "_Standing"]:
        """What stands, locked in the order of the ids; `reserve` locks those that are not there yet, too."""
        ids = sorted(set(item_ids))
        if reserve:
            stand_in = {"version": 0, "body_hash": "", "updated_at": 0}
            self._database.reserve(connection, items, [{"item_id": item_id, **stand_in} for item_id in ids])
        columns = (items.c.item_id, items.c.version, items.c.body_hash, items.c.deleted_at)
        query = select(*columns).where(items.c.updated_at > 0).order_by(id_order(items.c.item_id)).with_for_update()
        found = {}
        for some in chunks(ids):
            for row in connection.execute(query.where(items.c.item_id.in_(some))):
                found[row.item_id] = _Standing(
                    version=row.version, body_hash=row.body_hash, deleted=row.deleted_at is not None
                )
        return found


@dataclass(frozen=True, kw_only=True)
class _Standing:
    version: int
    body_hash: str
    deleted: bool


def _decide(item: Item, body_hash: str, standing: _Standing | None, *, revive: bool, over: int | None) -> WriteOutcome:
    if over is not None and (standing is None or standing.version != over):
        return WriteOutcome(item_id=item.item_id, outcome="moved", version=0 if standing is None else standing.version)
    if standing is None:
        return WriteOutcome(item_id=item.item_id, outcome="changed", version=item.version or 1)
    unchanged = standing.body_hash == body_hash and not standing.deleted
    newer = standing.version < (_LAST_VERSION if item.version is None else item.version)
    if unchanged and item.version in (None, standing.version):
        return WriteOutcome(item_id=item.item_id, outcome="unchanged", version=standing.version)
    if not newer:
        return WriteOutcome(item_id=item.item_id, outcome="stale", version=standing.version)
    if standing.deleted and item.version is None and not revive:
        return WriteOutcome(item_id=item.item_id, outcome="deleted", version=standing.version)
    return WriteOutcome(item_id=item.item_id, outcome="changed", version=item.version or standing.version + 1)


def _body(item: Item) -> tuple[bytes, str]:
    body = orjson.dumps(item_to_json(replace(item, version=None)), option=orjson.OPT_SORT_KEYS)
    return body, hashlib.sha256(body).hexdigest()


def _heading(body: Mapping[str, Any]) -> Heading:
    categories = body["categories"]
    return Heading(body["title"], categories[0] if categories else None)


def _stored(row: Row[Any]) -> StoredItem:
    item = Item(item_id=row.item_id) if row.body is None else item_from_json(orjson.loads(row.body))
    deleted_at = None if row.deleted_at is None else moment(row.deleted_at)
    return StoredItem(item=item, version=row.version, updated_at=moment(row.updated_at), deleted_at=deleted_at)
