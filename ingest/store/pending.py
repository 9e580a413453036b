"""What still has to be reconciled, who is at it, and what was set aside."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    true,
    update,
)

from ingest.chunks import chunks
from ingest.store.database import Database, id_order, moment, now
from ingest.store.prepared import Prepared
from ingest.store.records import SetAside
from ingest.store.tables import items, pending, placements, set_aside

MICROSECONDS = 1_000_000
_COLUMNS = ("item_id", "job_id", "created_at", "due_at", "leased_until", "attempts")


# Asked five times a second, and mostly empty.
_DUE = select(pending.c.item_id).where(pending.c.due_at <= now(), pending.c.leased_until <= now())
_ANY_DUE = Prepared(_DUE.limit(1))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Items that this lease alone may work on, with how often each has been tried, this time included."""

    lease: str
    attempts: dict[str, int]
    taken_over: frozenset[str] = frozenset()  # held by another lease before, which ended without being given back


class PendingStore:
    """The pending and set_aside tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, connection: Connection, item_ids: Sequence[str], *, job_id: str, due_in: float) -> None:
        """Note that these changed, inside the transaction that changes them. Counts their attempts from zero.

        A lease that somebody holds stays: the holder will see that the item moved on, and leave it pending.
        """
        if not item_ids:
            return
        for some in chunks(sorted(item_ids)):
            changed = select(items.c.item_id, literal(job_id)).where(items.c.item_id.in_(some))
            self._add(connection, changed.order_by(id_order(items.c.item_id)), due_in=due_in)

    def claim(self, item_ids: Sequence[str], *, lease: str, seconds: float) -> Claim:
        """Lease those that are pending and free, and count one attempt for each, before any work is done."""
        attempts: dict[str, int] = {}
        abandoned: set[str] = set()
        with self._database.write() as connection:
            for some in chunks(item_ids):
                held = select(pending.c.item_id).where(pending.c.item_id.in_(some), pending.c.lease != lease)
                abandoned |= set(connection.execute(held).scalars())
                free = in_turn(pending.c.item_id.in_(some), pending.c.leased_until <= now(), skip_locked=True)
                statement = (
                    update(pending)
                    .where(pending.c.item_id.in_(free))
                    .values(
                        lease=lease,
                        leased_until=now() + int(seconds * MICROSECONDS),
                        due_at=now() + int(seconds * MICROSECONDS),
                        attempts=pending.c.attempts + 1,
                    )
                    .returning(pending.c.item_id, pending.c.attempts)
                )
                attempts |= {row.item_id: row.attempts for row in connection.execute(statement)}
        return Claim(lease=lease, attempts=attempts, taken_over=frozenset(abandoned & attempts.keys()))

    def release(self, lease: str, *, due_in: float, forgive: bool) -> None:
        """Give back what a lease still holds; `forgive` takes back the attempt, for faults that are not the item's."""
        values: dict[str, Any] = {
            "lease": None,
            "leased_until": 0,
            "due_at": now() + int(due_in * MICROSECONDS),
        }
        if forgive:
            values["attempts"] = case((pending.c.attempts > 0, pending.c.attempts - 1), else_=0)
        with self._database.write() as connection:
            mine = in_turn(pending.c.lease == lease)
            connection.execute(update(pending).where(pending.c.item_id.in_(mine)).values(values))

    def is_due(self) -> bool:
        """Whether there is anything for `due`: one look at an index."""
        with self._database.read() as connection:
            return bool(_ANY_DUE.rows(connection, {}))

    def due(self, limit: int, *, put_off: float) -> list[tuple[str, int]]:
        """Ids that are due and free with their attempts so far, fewest attempts first; they are due again later."""
        query = _DUE.add_columns(pending.c.attempts)
        # Two questions, so that a backlog of a million is walked in the order of its index and never sorted.
        untried = query.where(pending.c.attempts == 0).order_by(pending.c.due_at)
        tried = query.where(pending.c.attempts > 0).order_by(pending.c.attempts, pending.c.due_at)
        with self._database.read() as connection:
            found = [(row.item_id, row.attempts) for row in connection.execute(untried.limit(limit))]
            if len(found) < limit:
                found += [(row.item_id, row.attempts) for row in connection.execute(tried.limit(limit - len(found)))]
        if found:
            later = now() + int(put_off * MICROSECONDS)
            with self._database.write() as connection:
                for some in chunks(sorted(item_id for item_id, _ in found)):
                    still = in_turn(pending.c.item_id.in_(some), pending.c.due_at <= now())
                    connection.execute(update(pending).where(pending.c.item_id.in_(still)).values(due_at=later))
        return found

    def make_due(self, item_ids: Sequence[str] | None = None, *, due_in: float = 0, break_leases: bool = False) -> None:
        """Let the next sweep after `due_in` seconds find these (None: all).

        Leases may be broken only by whoever knows that their holders died.
        """
        due_at = now() + int(due_in * MICROSECONDS) if due_in else 0
        values: dict[str, Any] = {"due_at": due_at} | ({"leased_until": 0, "lease": None} if break_leases else {})
        with self._database.write() as connection:
            if item_ids is None:
                connection.execute(update(pending).where(pending.c.item_id.in_(in_turn())).values(values))
            for some in chunks(sorted(item_ids or ())):
                these = in_turn(pending.c.item_id.in_(some))
                connection.execute(update(pending).where(pending.c.item_id.in_(these)).values(values))

    def add_missing(self, connection: Connection, generation: str, *, job_id: str) -> int:
        """Make pending whatever does not stand in a generation as it should; returns how many there are."""
        stamp = connection.execute(select(now())).scalar_one()
        row = (literal(job_id), literal(stamp), literal(0), literal(0), literal(0))
        insert = self._database.insert(pending).from_select(_COLUMNS, _missing(generation).add_columns(*row))
        # Those that are pending already stay as they are; updated all the same, they are counted.
        insert = insert.on_conflict_do_update(index_elements=["item_id"], set_={"attempts": pending.c.attempts})
        # Without the option, psycopg's number of rows is not kept for an INSERT.
        return connection.execute(insert, execution_options={"preserve_rowcount": True}).rowcount

    def lagging(self, connection: Connection, generation: str, live: str | None) -> int:
        """How many items `live` has and `generation` has not; see `GenerationStore.lagging`."""
        query = _missing(generation).order_by(None)
        if live is not None:
            there = placements.alias("there")
            right = there.c.version == items.c.version
            # Of what changed since, or may have, any version will do: the record's is on its way to both.
            only_there = and_(there.c.present, items.c.deleted_at.is_(None), placements.c.present.is_not(true()))
            in_live = (there.c.item_id == items.c.item_id) & (there.c.generation == live)
            query = query.where(exists().where(in_live, or_(right, only_there)).correlate(items, placements))
        return int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())

    def ensure(self, connection: Connection, item_ids: Sequence[str], *, job_id: str) -> None:
        """Make items pending and due at once, unless they are pending already."""
        insert = self._database.insert(pending).on_conflict_do_nothing(index_elements=["item_id"])
        stamp = connection.execute(select(now())).scalar_one()
        rows = [
            {"item_id": item_id, "job_id": job_id, "created_at": stamp, "due_at": 0, "leased_until": 0, "attempts": 0}
            for item_id in item_ids
        ]
        for some in chunks(rows):
            connection.execute(insert, some)

    def put_aside(self, claim: Claim, reasons: dict[str, str]) -> None:
        """Set items aside with a reason each, unless they changed since the claim was made."""
        if not reasons:
            return
        with self._database.write() as connection:
            # Until this is committed nobody may change them: his change would be struck off with what was claimed.
            versions = locked_versions(connection, reasons)
            stamp = connection.execute(select(now())).scalar_one()
            for some in chunks(sorted(versions)):
                held = (pending.c.item_id.in_(some), pending.c.lease == claim.lease, pending.c.attempts > 0)
                rows = [
                    {
                        "item_id": row.item_id,
                        "version": versions[row.item_id],
                        "job_id": row.job_id,
                        "reason": reasons[row.item_id],
                        "attempts": claim.attempts.get(row.item_id, 0),
                        "set_aside_at": stamp,
                    }
                    for row in connection.execute(in_turn(*held).add_columns(pending.c.job_id))
                ]
                self._database.upsert(connection, set_aside, rows)
                mine = pending.c.item_id.in_([row["item_id"] for row in rows]) & (pending.c.lease == claim.lease)
                connection.execute(delete(pending).where(mine))

    def put_built_aside(self, versions: Mapping[str, int], *, job_id: str, reason: str, attempts: int) -> list[str]:
        """Set aside what a build was lost with, unless it changed since; returns which that are."""
        with self._database.write() as connection:
            stamp = connection.execute(select(now())).scalar_one()
            same: list[str] = []
            for some in chunks(list(versions)):
                query = select(items.c.item_id, items.c.version).where(items.c.item_id.in_(some))
                found = connection.execute(query.where(items.c.deleted_at.is_(None)))
                same += [row.item_id for row in found if row.version == versions[row.item_id]]
            common = {"job_id": job_id, "reason": reason, "attempts": attempts, "set_aside_at": stamp}
            rows = [{"item_id": item_id, "version": versions[item_id], **common} for item_id in same]
            self._database.upsert(connection, set_aside, rows)
        return same

    def set_aside(self, limit: int = 100) -> list[SetAside]:
        """What was set aside, newest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(set_aside).order_by(set_aside.c.set_aside_at.desc()).limit(limit))
            return [set_aside_record(row) for row in rows]

    def count_set_aside(self) -> int:
        """How many items are set aside."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(set_aside)).scalar_one())

    def retry(self, item_ids: Sequence[str] | None = None) -> int:
        """Try again what was set aside (None: all of it), a thousand in a transaction; returns how many."""
        if item_ids is None:
            with self._database.read() as connection:
                item_ids = connection.execute(select(set_aside.c.item_id)).scalars().all()
        return sum(map(self._retry, chunks(sorted(set(item_ids)))))

    def _retry(self, item_ids: Sequence[str]) -> int:
        with self._database.write() as connection:
            # Whoever sets aside or changes an item locks it first, so both statements find the same rows.
            locked_versions(connection, item_ids)
            these = set_aside.c.item_id.in_(item_ids)
            again = select(set_aside.c.item_id, set_aside.c.job_id).where(these)
            self._add(connection, again.order_by(id_order(set_aside.c.item_id)), due_in=0)
            return connection.execute(delete(set_aside).where(these)).rowcount

    def _add(self, connection: Connection, changed: Select[str, str], *, due_in: float) -> None:
        """Make pending what a query finds, by item and job, in the order it finds it."""
        stamp = connection.execute(select(now())).scalar_one()
        due_at = stamp + int(due_in * MICROSECONDS)
        row = (literal(stamp), literal(due_at), literal(0), literal(0))
        insert = self._database.insert(pending).from_select(_COLUMNS, changed.add_columns(*row))
        fresh = {name: insert.excluded[name] for name in ("job_id", "due_at")} | {"attempts": 0}
        connection.execute(insert.on_conflict_do_update(index_elements=["item_id"], set_=fresh))

    def told(self, limit: int) -> int:
        """How many of them, at most `limit`, somebody was told of or works on: the sweep need not ask again yet."""
        told = select(pending.c.item_id).where(pending.c.due_at > now()).limit(limit).subquery()
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(told)).scalar_one())

    def count(self) -> int:
        """How many items are not yet as they should be everywhere."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(pending)).scalar_one())

    def oldest_age_seconds(self) -> float | None:
        """How long the oldest of them has waited; None when nothing waits."""
        with self._database.read() as connection:
            age = connection.execute(select(now() - func.min(pending.c.created_at))).scalar_one()
        return None if age is None else max(0.0, age / MICROSECONDS)


def in_turn(*conditions: ColumnElement[bool], skip_locked: bool = False) -> Select[tuple[str]]:
    """The ids of pending rows, locked in their order: who locks in any other waits for somebody who waits for him."""
    query = select(pending.c.item_id).where(*conditions).order_by(id_order(pending.c.item_id))
    return query.with_for_update(skip_locked=skip_locked)


def locked_versions(connection: Connection, item_ids: Iterable[str]) -> dict[str, int]:
    """The versions of those items that are there, locked in the order of the ids until the transaction ends."""
    found: dict[str, int] = {}
    for some in chunks(sorted(item_ids)):
        query = select(items.c.item_id, items.c.version).where(items.c.item_id.in_(some))
        query = query.order_by(id_order(items.c.item_id)).with_for_update()
        found |= {row.item_id: row.version for row in connection.execute(query)}
    return found


def set_aside_record(row: Row[Any]) -> SetAside:
    """The record of a set_aside row."""
    return SetAside(
        item_id=row.item_id,
        version=row.version,
        reason=row.reason,
        attempts=row.attempts,
        set_aside_at=moment(row.set_aside_at),
    )


def _missing(generation: str) -> Select[tuple[str]]:
    """Items whose state in the generation is not the record's; a deleted one that never stood there is in order."""
    here = (placements.c.item_id == items.c.item_id) & (placements.c.generation == generation)
    aside = (set_aside.c.item_id == items.c.item_id) & (set_aside.c.version == items.c.version)
    joined = items.outerjoin(placements, here).outerjoin(set_aside, aside)
    never_there = placements.c.version.is_(None)
    return (
        select(items.c.item_id)
        .select_from(joined)
        .where(
            set_aside.c.item_id.is_(None),
            or_(never_there & items.c.deleted_at.is_(None), placements.c.version != items.c.version),
        )
        .order_by(id_order(items.c.item_id))
    )
