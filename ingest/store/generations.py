"""Generations, and the one pointer that says which of them is live."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection, Row, delete, literal, select, update

from ingest.encoder.protocol import Vectors
from ingest.errors import ConflictError, NotFoundError
from ingest.items import AttributeType
from ingest.store.database import Database, moment, now
from ingest.store.installation import installation, installation_there
from ingest.store.leases import Fence, check_fence, note_run
from ingest.store.pending import PendingStore
from ingest.store.records import Generation, GenerationState
from ingest.store.tables import generations, pending, placements

_ATTEMPTS = "attempts"
SETTLED = (GenerationState.RETIRED, GenerationState.REFUSED, GenerationState.FAILED)
_UNDER_WAY = (GenerationState.BUILDING, GenerationState.CATCHING_UP)
_MAY_GO_LIVE = (GenerationState.CATCHING_UP, GenerationState.RETIRED, GenerationState.LIVE)


@dataclass(frozen=True, kw_only=True)
class NewGeneration:
    """What is decided when a generation is begun."""

    name: str
    fingerprint: str
    dimensions: int
    attributes: Mapping[str, AttributeType]


class GenerationStore:
    """The generations table. The live pointer is the state column: it moves in one transaction, or not at all."""

    def __init__(self, database: Database, pending_store: PendingStore) -> None:
        self._database = database
        self._pending = pending_store

    def new_name(self) -> str:
        """A name that no other generation has, nor one of another installation: a time and this installation's id."""
        with self._database.write() as connection:
            return new_name(self._database, connection)

    def own(self, names: Iterable[str]) -> set[str]:
        """Those of the names that are this installation's: what bears its id, and what has a row, as all did before."""
        with self._database.read() as connection:
            mine = installation_there(connection)
            known = set(connection.execute(select(generations.c.name)).scalars())
        return {name for name in names if name in known or (mine is not None and name.endswith(f"-{mine}"))}

    def live(self) -> Generation | None:
        """The generation that answers queries."""
        return self._first(GenerationState.LIVE)

    def under_way(self) -> Generation | None:
        """The generation that is being built or catches up."""
        return self._first(*_UNDER_WAY)

    def receiving_writes(self) -> list[Generation]:
        """Those that reconcile must keep in order: the live one, and one that catches up."""
        return [g for g in self.list() if g.state in (GenerationState.LIVE, GenerationState.CATCHING_UP)]

    def get(self, name: str) -> Generation:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(select(generations).where(generations.c.name == name)).one_or_none()
        if row is None:
            raise NotFoundError("there is no such generation; GET /v1/generations or `akin generations` lists them")
        return _record(row)

    def list(self) -> list[Generation]:
        """All of them, newest first."""
        with self._database.read() as connection:
            order = (generations.c.created_at.desc(), generations.c.name.desc())
            return [_record(row) for row in connection.execute(select(generations).order_by(*order))]

    def begin(self, new: NewGeneration, state: GenerationState = GenerationState.BUILDING) -> Generation:
        """Write down a new generation.

        Raises ConflictError when one is under way already, or, for a live one, when there is a live one.
        """
        with self._database.write() as connection:
            self._insert(connection, new, state)
        return self.get(new.name)

    def begin_nightly(self, new: NewGeneration) -> Generation | None:
        """Write down the generation of today (UTC, by the database's clock); None when today has had its own.

        One that is under way, whoever asked for it, counts as today's.
        """
        with self._database.write() as connection:
            self._database.lock(connection, "generations")
            under_way = connection.execute(select(generations.c.name).where(generations.c.state.in_(_UNDER_WAY)))
            other = under_way.scalar()
            if not note_run(self._database, connection, "reindex", other or new.name) or other:
                return None
            self._insert(connection, new, GenerationState.BUILDING)
        return self.get(new.name)

    def catch_up(self, name: str, *, mean: Vectors | None, items: int, job_id: str, fence: Fence | None = None) -> int:
        """Let a built generation receive writes, and make pending what it missed; returns how much that is.

        Raises ConflictError when it is not being built any more: somebody went back to another one meanwhile.
        """
        with self._database.write() as connection:
            self._database.lock(connection, "generations")
            check_fence(connection, fence)
            values = {
                "state": GenerationState.CATCHING_UP,
                "report": "{}",
                "mean": None if mean is None else mean.astype("<f4").tobytes(),
                "items": items,
            }
            building = (generations.c.name == name) & (generations.c.state == GenerationState.BUILDING)
            if connection.execute(update(generations).where(building).values(values)).rowcount != 1:
                raise ConflictError(f"generation {name} is not being built any more")
            return self._pending.add_missing(connection, name, job_id=job_id)

    def attempts(self, name: str) -> dict[str, int]:
        """How often a build was lost while it embedded a text, by content hash; nothing of what went well."""
        found: dict[str, int] = self.get(name).report.get(_ATTEMPTS, {})
        return found

    def count_attempts(self, name: str, content_hashes: Iterable[str]) -> None:
        """Count one attempt for each, before it is made, so that a crash counts."""
        with self._database.write() as connection:
            counted = Counter(self._attempts(connection, name))
            counted.update(content_hashes)
            self._note_attempts(connection, name, counted)

    def forget_attempts(self, name: str, content_hashes: Collection[str] | None = None) -> None:
        """They ended well, or at least not the process (None: all of them)."""
        with self._database.write() as connection:
            left = self._attempts(connection, name) if content_hashes is not None else {}
            gone = frozenset(content_hashes or ())
            self._note_attempts(connection, name, {key: n for key, n in left.items() if key not in gone})

    def missing(self, name: str, *, job_id: str) -> int:
        """Make pending what does not stand in the generation as it should; returns how much that is."""
        with self._database.write() as connection:
            return self._pending.add_missing(connection, name, job_id=job_id)

    def lagging(self, name: str) -> int:
        """How many items stand as they should in the live generation alone, or stand in some version there alone.

        Without a live one, how many do not stand in this one as they should.
        """
        live = self.live()
        with self._database.read() as connection:
            return self._pending.lagging(connection, name, None if live is None else live.name)

    def go_live(
        self,
        name: str,
        *,
        job_id: str,
        report: Mapping[str, Any] | None = None,
        fence: Fence | None = None,
        instead_of: str | None = None,
    ) -> str | None:
        """Move the live pointer to `name`; returns the generation that was live, which is retired. One transaction.

        What does not stand in the new one as it should becomes pending in the same transaction. With `instead_of`, a
        reason, what is under way is refused with it. Raises SupersededError when the fence's lease went to somebody
        else, ConflictError when this one is not complete, or gone by now; both move nothing.
        """
        with self._database.write() as connection:
            self._database.lock(connection, "generations")
            check_fence(connection, fence)
            state = connection.execute(select(generations.c.state).where(generations.c.name == name)).scalar()
            if state not in _MAY_GO_LIVE:
                raise ConflictError(f"generation {name} is {state or 'gone'}, and cannot be made live")
            if instead_of is not None:
                self._refuse_under_way(connection, name, instead_of)
            current = connection.execute(
                select(generations.c.name).where(generations.c.state == GenerationState.LIVE)
            ).scalar()
            if current is not None and current != name:
                _note_unrecorded(connection, self._database, current)
                retired = update(generations).where(generations.c.name == current)
                connection.execute(retired.values(state=GenerationState.RETIRED))
            values: dict[str, Any] = {"state": GenerationState.LIVE, "live_at": now()}
            if report is not None:
                values["report"] = orjson.dumps(dict(report)).decode()
            connection.execute(update(generations).where(generations.c.name == name).values(values))
            self._pending.add_missing(connection, name, job_id=job_id)
        return None if current is None or current == name else str(current)

    def close(
        self, name: str, state: GenerationState, report: Mapping[str, Any], *, fence: Fence | None = None
    ) -> bool:
        """End a generation that did not go live: refused or failed, with the report that says why.

        False: it had ended already, and is left as it is.
        """
        at_work = (generations.c.name == name) & generations.c.state.not_in(SETTLED)
        values = {"state": state, "report": orjson.dumps(dict(report)).decode()}
        with self._database.write() as connection:
            self._database.lock(connection, "generations")
            check_fence(connection, fence)
            ended = connection.execute(update(generations).where(at_work).values(values)).rowcount == 1
            if ended:
                _note_unrecorded(connection, self._database, name)
        return ended

    def forget(self, name: str) -> bool:
        """Remove the row of a generation that is not at work; False: it is, by now, or there is no such row.

        Its collection goes afterwards: nobody can make it live any more.
        """
        settled = (generations.c.name == name) & generations.c.state.in_(SETTLED)
        with self._database.write() as connection:
            self._database.lock(connection, "generations")
            gone = connection.execute(delete(generations).where(settled)).rowcount == 1
            if gone:
                connection.execute(delete(placements).where(placements.c.generation == name))
        return gone

    def _attempts(self, connection: Connection, name: str) -> dict[str, int]:
        row = select(generations.c.report).where(generations.c.name == name).with_for_update()
        found: dict[str, int] = orjson.loads(connection.execute(row).scalar() or "{}").get(_ATTEMPTS, {})
        return found

    def _note_attempts(self, connection: Connection, name: str, attempts: Mapping[str, int]) -> None:
        # In the report, as nothing else is reported of a build, and what it came to takes its place.
        building = (generations.c.name == name) & (generations.c.state == GenerationState.BUILDING)
        report = orjson.dumps({_ATTEMPTS: dict(attempts)} if attempts else {}).decode()
        connection.execute(update(generations).where(building).values(report=report))

    def _refuse_under_way(self, connection: Connection, other_than: str, reason: str) -> None:
        under_way = generations.c.state.in_(_UNDER_WAY) & (generations.c.name != other_than)
        for name in connection.execute(select(generations.c.name).where(under_way)).scalars().all():
            _note_unrecorded(connection, self._database, name)
            values = {"state": GenerationState.REFUSED, "report": orjson.dumps({"reason": reason}).decode()}
            connection.execute(update(generations).where(generations.c.name == name).values(values))

    def _insert(self, connection: Connection, new: NewGeneration, state: GenerationState) -> None:
        self._database.lock(connection, "generations")
        stamp = connection.execute(select(now())).scalar_one()
        rivals = (GenerationState.LIVE,) if state is GenerationState.LIVE else _UNDER_WAY
        taken = select(generations.c.name).where(generations.c.state.in_(rivals))
        if other := connection.execute(taken).scalar():
            raise ConflictError(f"generation {other} is under way already; wait until it is done")
        row = {
            "name": new.name,
            "state": state,
            "fingerprint": new.fingerprint,
            "dimensions": new.dimensions,
            "attributes": orjson.dumps(dict(new.attributes)).decode(),
            "items": 0,
            "created_at": stamp,
            "live_at": stamp if state is GenerationState.LIVE else None,
            "report": "{}",
        }
        connection.execute(generations.insert(), [row])

    def _first(self, *states: GenerationState) -> Generation | None:
        query = select(generations).where(generations.c.state.in_(states))
        with self._database.read() as connection:
            row = connection.execute(query.order_by(generations.c.created_at.desc()).limit(1)).one_or_none()
        return None if row is None else _record(row)


def new_name(database: Database, connection: Connection) -> str:
    """See `GenerationStore.new_name`."""
    moment_ = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"[:-2]
    return f"g{moment_}-{installation(database, connection)}"


def _note_unrecorded(connection: Connection, database: Database, name: str) -> None:
    """Before a generation stops receiving writes: what is pending may stand in it without a placement saying so.

    Noting version 0 there makes a later activation look at those items again, so that none that was deleted meanwhile
    comes back with it.
    """
    unknown = select(literal(name), pending.c.item_id, literal(0), literal(value=True))
    columns = ["generation", "item_id", "version", "present"]
    # WHERE true: without it SQLite reads ON CONFLICT as a join's ON.
    insert = database.insert(placements).from_select(columns, unknown.where(literal(1) == 1))
    insert = insert.on_conflict_do_update(
        index_elements=["generation", "item_id"], set_={"version": 0, "present": True}
    )
    connection.execute(insert)


def _record(row: Row[Any]) -> Generation:
    return Generation(
        name=row.name,
        state=GenerationState(row.state),
        fingerprint=row.fingerprint,
        dimensions=row.dimensions,
        attributes={name: AttributeType(type_) for name, type_ in orjson.loads(row.attributes).items()},
        mean=None if row.mean is None else np.frombuffer(row.mean, dtype="<f4"),
        items=row.items,
        created_at=moment(row.created_at),
        live_at=None if row.live_at is None else moment(row.live_at),
        report=orjson.loads(row.report),
    )
