"""What happened around the data: jobs, rejects and the log of answers given."""

import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Row, bindparam, delete, func, select, update

from ingest.chunks import chunks
from ingest.store.database import Database, microseconds, moment, now
from ingest.store.pending import set_aside_record
from ingest.store.prepared import Prepared, PreparedMany
from ingest.store.records import Job, LoggedRecommendation, Reject
from ingest.store.tables import jobs, pages, pending, recommendations, rejects, set_aside
from ingest.store.tombstones import Tombstones

_PAGE = Prepared(
    select(pages.c.body).where(
        pages.c.recommendation_id == bindparam("recommendation_id"), pages.c.created_at >= bindparam("since")
    )
)

KEPT_REJECTS = 100_000
ERRORS_PER_JOB = 100


class JobStore:
    """The jobs table. How far a job has come is counted from what is pending and set aside, never stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, kind: str) -> str:
        """Open a job; returns its id."""
        job_id = str(uuid.uuid4())
        with self._database.write() as connection:
            stamp = connection.execute(select(now())).scalar_one()
            row = {"job_id": job_id, "kind": kind, "created_at": stamp, "total": 0}
            connection.execute(jobs.insert(), [row])
        return job_id

    def grow(self, job_id: str, by: int) -> None:
        """Add accepted items to a job's total."""
        with self._database.write() as connection:
            connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(total=jobs.c.total + by))

    def forget_before(self, moment_: datetime) -> None:
        """Remove old jobs of which nothing is pending or set aside."""
        unfinished = select(pending.c.job_id).union(select(set_aside.c.job_id))
        old = jobs.c.created_at < microseconds(moment_)
        with self._database.write() as connection:
            connection.execute(delete(jobs).where(old, jobs.c.job_id.not_in(unfinished)))

    def get(self, job_id: str) -> Job | None:
        """The job as it stands now."""
        with self._database.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).one_or_none()
            if row is None:
                return None
            waiting = connection.execute(
                select(func.count()).select_from(pending).where(pending.c.job_id == job_id)
            ).scalar_one()
            mine = set_aside.c.job_id == job_id
            failed = connection.execute(select(func.count()).select_from(set_aside).where(mine)).scalar_one()
            errors = connection.execute(select(set_aside).where(mine).limit(ERRORS_PER_JOB)).all()
        return Job(
            job_id=job_id,
            kind=row.kind,
            created_at=moment(row.created_at),
            total=row.total,
            placed=max(0, row.total - waiting - failed),
            failed=failed,
            errors=tuple(set_aside_record(error) for error in errors),
        )


class RejectStore:
    """The rejects table: what came in and was refused."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, refused: Sequence[Reject]) -> None:
        """Write down refusals; only the latest are kept."""
        rows = [
            {
                "source": r.source,
                "position": r.position,
                "subject_id": r.subject_id,
                "code": r.code,
                "detail": r.detail,
                "rejected_at": microseconds(r.rejected_at),
            }
            for r in refused
        ]
        if not rows:
            return
        with self._database.write() as connection:
            for some in chunks(rows):
                connection.execute(rejects.insert(), some)
            newest = connection.execute(select(func.max(rejects.c.id))).scalar_one()
            connection.execute(delete(rejects).where(rejects.c.id <= newest - KEPT_REJECTS))

    def list(self, limit: int = 100) -> list[Reject]:
        """The latest first."""
        with self._database.read() as connection:
            found = connection.execute(select(rejects).order_by(rejects.c.id.desc()).limit(limit)).all()
        return [
            Reject(
                source=row.source,
                position=row.position,
                subject_id=row.subject_id,
                code=row.code,
                detail=row.detail,
                rejected_at=moment(row.rejected_at),
            )
            for row in found
        ]


class RecommendationLog:
    """The recommendations table: which answer was given, so that events can be joined to it."""

    def __init__(self, database: Database, stones: Tombstones) -> None:
        self._database = database
        self._stones = stones
        # Hundreds a second, written beside the answers by a thread that takes the interpreter from them meanwhile.
        self._insert = PreparedMany(
            database.insert(recommendations).on_conflict_do_nothing(),
            ("recommendation_id", "user_id", "generation", "strategy", "item_ids", "created_at"),
        )
        self._insert_pages = PreparedMany(
            database.insert(pages).on_conflict_do_nothing(), ("recommendation_id", "user_id", "body", "created_at")
        )

    def log(self, entries: Sequence[LoggedRecommendation]) -> None:
        """Write down answers; one that is known already is skipped, and none names a user who was erased."""
        if not entries:
            return
        with self._database.write() as connection:
            self._stones.lock(connection, shared=True)
            erased = self._stones.among(connection, {entry.user_id for entry in entries if entry.user_id is not None})
            self._insert.run(connection, [_answer_row(entry, erased) for entry in entries])
            following = [
                (entry.recommendation_id, entry.user_id, entry.page, microseconds(entry.created_at))
                for entry in entries
                if entry.page is not None and entry.user_id not in erased
            ]
            if following:
                self._insert_pages.run(connection, following)

    def for_user(self, user_id: str) -> Iterator[LoggedRecommendation]:
        """Every answer that was given to a user, newest first."""
        query = select(recommendations).where(recommendations.c.user_id == user_id)
        order = (recommendations.c.created_at.desc(), recommendations.c.recommendation_id)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(*order)).all()
        yield from map(_answer, rows)

    def page(self, recommendation_id: str, since: datetime) -> bytes | None:
        """What the page after that answer is made from, if it was given since then."""
        asked = {"recommendation_id": recommendation_id, "since": microseconds(since)}
        with self._database.read() as connection:
            found = _PAGE.rows(connection, asked)
        return bytes(found[0][0]) if found else None

    def forget_pages_before(self, moment_: datetime) -> None:
        """Remove what old answers' next pages are made from."""
        with self._database.write() as connection:
            connection.execute(delete(pages).where(pages.c.created_at < microseconds(moment_)))

    def impressions(self, answers: int) -> dict[str, int]:
        """How often each item stands in the latest so many answers."""
        query = select(recommendations.c.item_ids).order_by(recommendations.c.created_at.desc()).limit(answers)
        with self._database.read() as connection:
            shown = connection.execute(query).scalars().all()
        return Counter(item_id for item_ids in shown for item_id in orjson.loads(item_ids))

    def forget_before(self, moment_: datetime) -> None:
        """Remove old answers."""
        with self._database.write() as connection:
            connection.execute(delete(recommendations).where(recommendations.c.created_at < microseconds(moment_)))


def _answer(row: Row[Any]) -> LoggedRecommendation:
    return LoggedRecommendation(
        recommendation_id=row.recommendation_id,
        user_id=row.user_id,
        generation=row.generation,
        strategy=row.strategy,
        item_ids=tuple(orjson.loads(row.item_ids)),
        created_at=moment(row.created_at),
    )


def _answer_row(entry: LoggedRecommendation, erased: Collection[str]) -> tuple[str, str | None, str, str, str, int]:
    return (
        entry.recommendation_id,
        None if entry.user_id in erased else entry.user_id,
        entry.generation,
        entry.strategy,
        orjson.dumps(entry.item_ids).decode(),
        microseconds(entry.created_at),
    )
