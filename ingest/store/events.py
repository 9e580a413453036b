"""Events in the ledger: accepted once each, read back as histories, popularity and users."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, distinct, exists, func, literal, or_, select, tuple_

from ingest.chunks import chunks
from ingest.events import Event
from ingest.scoring import MOST_RANKED, popularity_steps, present_rank, present_time
from ingest.store.database import Database, microseconds, moment
from ingest.store.prepared import Prepared
from ingest.store.records import HistoryEntry
from ingest.store.tables import events, items, placements
from ingest.store.tombstones import Tombstones
from ingest.weights import Votes

DAY = 86_400_000_000  # microseconds
PAGE = 10_000  # rows, when all events are read

_EVENT = (
    events.c.event_id,
    events.c.user_id,
    events.c.item_id,
    events.c.type,
    events.c.value,
    events.c.timestamp,
    events.c.dwell_ms,
    events.c.recommendation_id,
)

# What every recommendation asks; built once, because putting a statement together costs more than running it.
_HISTORY = Prepared(
    select(*_EVENT, placements.c.version)
    .join(items, (items.c.item_id == events.c.item_id) & items.c.deleted_at.is_(None))
    .outerjoin(
        placements,
        (placements.c.item_id == events.c.item_id)
        & (placements.c.generation == bindparam("generation"))
        & placements.c.present,
    )
    .where(events.c.user_id == bindparam("user"))
    .order_by(events.c.order_at.desc(), events.c.sequence.desc())
    .limit(bindparam("limit"))
)
_NEWEST = select(func.max(events.c.sequence)).where(events.c.user_id == bindparam("user"))
_MARK, _MARK_BY_COUNT = Prepared(_NEWEST), Prepared(_NEWEST.add_columns(func.count()))
_SEEN = Prepared(
    select(events.c.item_id)
    .where(events.c.user_id == bindparam("user"))
    .group_by(events.c.item_id)
    .order_by(func.max(events.c.order_at).desc(), func.max(events.c.sequence).desc())
    .limit(bindparam("limit"))
)


class EventStore:
    """The events table."""

    def __init__(self, database: Database, stones: Tombstones) -> None:
        self._database = database
        self._stones = stones

    def add(self, batch: Sequence[Event]) -> int:
        """Commit events; those whose `event_id` is known, or whose user was erased, are skipped.

        Returns how many were new.
        """
        new = 0
        insert = self._database.insert(events).on_conflict_do_nothing(index_elements=["event_id"])
        with self._database.write() as connection:
            self._stones.lock(connection, shared=True)
            erased = self._stones.among(connection, {e.user_id for e in batch})
            rows = {e.event_id: _row(e) for e in batch if e.user_id not in erased}
            if not self._database.is_sqlite:
                rows = self._by_id(connection, rows)
            for some in chunks(rows):
                known = select(events.c.event_id).where(events.c.event_id.in_(some))
                standing = set(connection.execute(known).scalars())
                fresh = [rows[event_id] for event_id in some if event_id not in standing]
                if fresh:
                    connection.execute(insert, fresh)
                new += len(fresh)
        return new

    def _by_id(self, connection: Connection, rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """The rows in the order of their ids, so that who sends the same events in another waits for nobody in a ring.

        They are numbered before that, as they arrived.
        """
        following = func.nextval(func.pg_get_serial_sequence(events.name, events.c.sequence.name))
        numbers = connection.execute(select(following).select_from(func.generate_series(1, len(rows)).alias()))
        numbered = zip(rows.items(), sorted(numbers.scalars()), strict=True)
        return dict(sorted((event_id, row | {"sequence": number}) for (event_id, row), number in numbered))

    def history(self, user_id: str, generation: str, limit: int) -> list[HistoryEntry]:
        """The user's latest events on items that are not deleted, newest first, without time by order of arrival."""
        asked = {"user": user_id, "generation": generation, "limit": limit}
        with self._database.read() as connection:
            return [HistoryEntry(event=_event(row[:-1]), version=row[-1]) for row in _HISTORY.rows(connection, asked)]

    def mark(self, user_id: str) -> tuple[int | None, ...]:
        """Changes with every event that the user gains, and when they are erased; cheaper than reading the history."""
        # A new event's number is above all that are there, and a user loses all events or none. But PostgreSQL gives
        # numbers before events are committed, so an older one may come later: there they are counted as well.
        mark = _MARK if self._database.is_sqlite else _MARK_BY_COUNT
        with self._database.read() as connection:
            return tuple(mark.rows(connection, {"user": user_id})[0])

    def for_user(self, user_id: str) -> Iterator[Event]:
        """Everything known of a user, newest first."""
        query = select(*_EVENT).where(events.c.user_id == user_id)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(events.c.order_at.desc(), events.c.sequence.desc())).all()
        yield from map(_event, rows)

    def seen(self, user_id: str, limit: int = 10_000) -> list[str]:
        """The distinct items of a user's events, most recent first."""
        with self._database.read() as connection:
            return [row[0] for row in _SEEN.rows(connection, {"user": user_id, "limit": limit})]

    def popular(self, window_days: float, limit: int, votes: Votes) -> list[tuple[str, float]]:
        """Items by how many distinct users had a positive event with them within the window before the present.

        Best first, ties by id. Where the present has no time, all of them count. Deleted items are left out.
        """
        with self._database.read() as connection:
            present = _present(connection, votes)
            since = present - int(window_days * DAY) if present else 0
            people = func.count(distinct(events.c.user_id))
            query = (
                select(events.c.item_id, people)
                .join(items, (items.c.item_id == events.c.item_id) & items.c.deleted_at.is_(None))
                .where(_among(votes), events.c.order_at >= since)
                .group_by(events.c.item_id)
                .order_by(people.desc(), events.c.item_id)
                .limit(limit)
            )
            return [(row[0], float(row[1])) for row in connection.execute(query)]

    def recent(self, half_life_days: float, limit: int, votes: Votes) -> list[tuple[str, float]]:
        """Items by their users with positive events, halved for every half-life before the present; best first.

        Counted by `popularity_steps`. Where the present has no time, all count alike. Deleted items are left out.
        """
        step_days, most = popularity_steps(half_life_days)
        step = max(1, int(step_days * DAY))
        with self._database.read() as connection:
            present = _present(connection, votes)
            since = present - most * step if present else 0
            steps = ((present - events.c.order_at) // step).label("steps")
            query = (
                select(events.c.item_id, steps, func.count(distinct(events.c.user_id)))
                .join(items, (items.c.item_id == events.c.item_id) & items.c.deleted_at.is_(None))
                .where(_among(votes), events.c.order_at >= since)
                .group_by(events.c.item_id, steps)
            )
            counts: defaultdict[str, float] = defaultdict(float)
            for item_id, age, users in connection.execute(query):
                counts[item_id] += users * 0.5 ** (max(age, 0) * step / DAY / half_life_days)
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]

    def recent_users(self, limit: int) -> list[str]:
        """Users with at least two events, by their latest, newest first."""
        query = select(events.c.user_id).group_by(events.c.user_id).having(func.count() > 1)
        query = query.order_by(func.max(events.c.order_at).desc(), events.c.user_id).limit(limit)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def users(self, prefix: str, limit: int) -> list[tuple[str, int]]:
        """Users whose id begins with `prefix`, in the order of the ids, with how many events each has."""
        query = select(events.c.user_id, func.count()).where(events.c.user_id.startswith(prefix, autoescape=True))
        query = query.group_by(events.c.user_id).order_by(events.c.user_id).limit(limit)
        with self._database.read() as connection:
            return [(row[0], row[1]) for row in connection.execute(query)]

    def histories(self, most: int = 1_000) -> Iterator[list[Event]]:
        """One user's events after another's, oldest first: the latest `most` of each. Read by pages."""
        key = (events.c.user_id, events.c.order_at, events.c.sequence)
        query = select(*_EVENT, events.c.order_at, events.c.sequence).order_by(*key).limit(PAGE)
        history: list[Event] = []
        last: tuple[str, int, int] | None = None
        while True:
            after = query if last is None else query.where(tuple_(*key) > tuple_(*map(literal, last)))
            with self._database.read() as connection:
                rows = connection.execute(after).all()
            for row in rows:
                event = _event(row[:-2])
                if history and history[-1].user_id != event.user_id:
                    yield history[-most:]
                    history = []
                history.append(event)
            if len(rows) < PAGE:
                break
            last = (rows[-1].user_id, rows[-1].order_at, rows[-1].sequence)
        if history:
            yield history[-most:]

    def present(self, votes: Votes) -> datetime | None:
        """What time it is where age counts (`present_time`); None where that is an event without a time."""
        with self._database.read() as connection:
            found = _present(connection, votes)
        return moment(found) if found else None

    def moment_of_share(self, share: float) -> datetime | None:
        """The time before which that share of the events happened; None where some event has no time."""
        with self._database.read() as connection:
            total, earliest = connection.execute(select(func.count(), func.min(events.c.order_at))).one()
            if not total or not earliest:
                return None
            place = min(int(share * total), total - 1)
            query = select(events.c.order_at).order_by(events.c.order_at).offset(place).limit(1)
            return moment(connection.execute(query).scalar_one())

    def unmatched(self) -> int:
        """How many events name an item that never was there; they count once it comes."""
        known = exists().where(items.c.item_id == events.c.item_id, items.c.updated_at > 0)
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(events).where(~known)).scalar_one())

    def count(self) -> int:
        """How many events there are."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(events)).scalar_one())


def _present(connection: Connection, votes: Votes) -> int:
    """The same in microseconds; 0 where that is an event without a time, or there is none."""
    positive = _among(votes)
    some = select(literal(1)).where(positive).limit(MOST_RANKED).subquery()
    rank = present_rank(connection.execute(select(func.count()).select_from(some)).scalar_one())
    newest_first = select(events.c.order_at).where(positive).order_by(events.c.order_at.desc()).limit(1)
    newest, ranked, twice = (
        connection.execute(newest_first.offset(place - 1)).scalar() or 0 for place in (1, rank, 2 * rank)
    )
    return int(present_time(newest, ranked, twice)) if ranked and twice else ranked


def _among(votes: Votes) -> ColumnElement[bool]:
    """The condition that an event is one of them."""
    no_dislike = [
        or_(events.c.type != name, events.c.value.is_(None), events.c.value > most)
        for name, most in votes.disliked.items()
    ]
    return and_(events.c.type.in_(list(votes.types)), *no_dislike)


def _row(event: Event) -> dict[str, Any]:
    timestamp = None if event.timestamp is None else microseconds(event.timestamp)
    return {
        "event_id": event.event_id,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "type": event.type,
        "value": event.value,
        "timestamp": timestamp,
        "dwell_ms": event.dwell_ms,
        "recommendation_id": event.recommendation_id,
        "order_at": timestamp or 0,
    }


def _event(row: Sequence[Any]) -> Event:
    """The event of a row of `_EVENT`; unpacked by place, as a history reads many and looking names up costs more."""
    event_id, user_id, item_id, type_, value, timestamp, dwell_ms, recommendation_id = row
    return Event(
        event_id=event_id,
        user_id=user_id,
        item_id=item_id,
        type=type_,
        value=value,
        timestamp=None if timestamp is None else moment(timestamp),
        dwell_ms=dwell_ms,
        recommendation_id=recommendation_id,
    )
