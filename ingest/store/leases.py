"""What only one process at a time may do, by the database's clock; and what may be begun only once a day.

A lease says who may act now. Its token grows with every change of hands, so that somebody who was stopped for longer
than the lease is recognised when he acts after all: the transaction that acts checks the token (fencing).
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from ingest.errors import SupersededError
from ingest.store.database import Database, moment, now
from ingest.store.tables import leases, meta, runs

MICROSECONDS = 1_000_000
TRAINING = "training"
UPKEEP = "upkeep"  # sweeping, and taking generations and trainings further


@dataclass(frozen=True, kw_only=True)
class Fence:
    """A lease as its holder remembers it."""

    name: str
    token: int


class LeaseStore:
    """The leases table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, name: str, *, holder: str, seconds: float) -> Fence | None:
        """Take the lease or keep it for so long from now; None while somebody else has it."""
        with self._database.write() as connection:
            empty = {"name": name, "holder": "", "token": 0, "leased_until": 0}
            connection.execute(self._database.insert(leases).on_conflict_do_nothing(), [empty])
            mine = leases.c.name == name
            row = connection.execute(select(leases, now().label("now")).where(mine).with_for_update()).one()
            if row.holder != holder and row.leased_until > row.now:
                return None
            token = row.token if row.holder == holder else row.token + 1
            until = row.now + int(seconds * MICROSECONDS)
            values = {"holder": holder, "token": token, "leased_until": until}
            connection.execute(update(leases).where(mine).values(values))
        return Fence(name=name, token=token)

    def release(self, name: str, *, holder: str) -> None:
        """Let somebody else have it at once; nothing happens when it is not ours."""
        mine = (leases.c.name == name) & (leases.c.holder == holder)
        with self._database.write() as connection:
            connection.execute(update(leases).where(mine).values(leased_until=0))

    def ask_for(self, what: str) -> None:
        """Ask whoever does the upkeep for something; asking twice before it is taken up is asking once."""
        with self._database.write() as connection:
            self._database.upsert(connection, meta, [{"key": f"asked for {what}", "value": ""}])

    def take_request(self, what: str) -> bool:
        """Whether somebody asked since this was last called."""
        mine = meta.c.key == f"asked for {what}"
        with self._database.read() as connection:
            if connection.execute(select(meta.c.key).where(mine)).first() is None:
                return False
        with self._database.write() as connection:
            return connection.execute(delete(meta).where(mine)).rowcount == 1


def check_fence(connection: Connection, fence: Fence | None) -> None:
    """Raise SupersededError inside a transaction when the lease went to somebody else since; None fences nothing."""
    if fence is None:
        return
    query = select(leases.c.token).where(leases.c.name == fence.name)
    if connection.execute(query.with_for_update(read=True)).scalar() != fence.token:
        raise SupersededError(f"another process has taken over the {fence.name}; this one stands back")


def note_run(database: Database, connection: Connection, kind: str, generation: str) -> bool:
    """Note inside a transaction that today's run (UTC, by the database's clock) was begun; False: it was before."""
    stamp = connection.execute(select(now())).scalar_one()
    row = {"kind": kind, "day": f"{moment(stamp):%Y-%m-%d}", "generation": generation, "begun_at": stamp}
    insert = database.insert(runs).on_conflict_do_nothing()
    return connection.execute(insert, row, execution_options={"preserve_rowcount": True}).rowcount == 1
