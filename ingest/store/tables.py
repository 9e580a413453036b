"""The ledger's tables, for SQLite and PostgreSQL alike. Times are microseconds since 1970, UTC."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

# An autoincrementing key must be INTEGER in SQLite and should be BIGINT in PostgreSQL.
_Sequence = BigInteger().with_variant(Integer, "sqlite")

meta = Table("meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False))

items = Table(
    "items",
    metadata,
    Column("item_id", String(256), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("body", LargeBinary),  # JSON; NULL once deleted, so that a deleted text is not kept
    Column("body_hash", String(64), nullable=False),  # outlives the body: recognises a re-import of what was deleted
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
)
# Which hits of an answer were deleted; unique, as SQLite would else go by the primary key and read every row.
_deleted = items.c.deleted_at.is_not(None)
Index("items_deleted", items.c.item_id, unique=True, sqlite_where=_deleted, postgresql_where=_deleted)

pending = Table(
    "pending",
    metadata,
    Column("item_id", String(256), primary_key=True),
    Column("job_id", String(36), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),  # when the sweep asks for it, unless a worker was faster
    Column("leased_until", BigInteger, nullable=False, default=0),
    Column("lease", String(36)),  # who holds it: only the holder may strike it off
    Column("attempts", Integer, nullable=False, default=0),  # counted before the work, so that a crash counts
)
Index("pending_due", pending.c.due_at)
Index("pending_job", pending.c.job_id)

placements = Table(
    "placements",
    metadata,
    Column("generation", String(63), primary_key=True),
    Column("item_id", String(256), primary_key=True),
    Column("version", BigInteger, nullable=False),  # 0: something unknown stands there, place it again
    Column("content_hash", String(64)),
    Column("present", Boolean, nullable=False),  # False: known to be absent, because the item was deleted
)
Index("placements_content", placements.c.content_hash)
Index("placements_item", placements.c.item_id)  # in all generations: what a deleted item's vectors are found by

set_aside = Table(
    "set_aside",
    metadata,
    Column("item_id", String(256), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("job_id", String(36), nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("set_aside_at", BigInteger, nullable=False),
)
Index("set_aside_job", set_aside.c.job_id)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(36), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
)

generations = Table(
    "generations",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("dimensions", Integer, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("mean", LargeBinary),
    Column("items", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("live_at", BigInteger),
    Column("report", Text, nullable=False),
)

vectors = Table(
    "vectors",
    metadata,
    Column("fingerprint", String(64), primary_key=True),
    Column("content_hash", String(64), primary_key=True),
    Column("vector", LargeBinary, nullable=False),  # float32, little endian
)
Index("vectors_content", vectors.c.content_hash)  # of every encoder: what a deletion forgets

events = Table(
    "events",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=True),
    Column("event_id", String(256), nullable=False, unique=True),
    Column("user_id", String(256), nullable=False),
    Column("item_id", String(256), nullable=False),
    Column("type", String(64), nullable=False),
    Column("value", Float),
    Column("timestamp", BigInteger),
    Column("dwell_ms", BigInteger),
    Column("recommendation_id", String(64)),
    Column("order_at", BigInteger, nullable=False),  # the timestamp, or 0 where none is known: sorts without NULLs
)
Index("events_user", events.c.user_id, events.c.order_at, events.c.sequence)
Index("events_user_newest", events.c.user_id, events.c.sequence)  # whether a user has any that are new
Index("events_item", events.c.item_id)
Index("events_time", events.c.order_at)

positions = Table(
    "positions",
    metadata,
    Column("position", _Sequence, primary_key=True, autoincrement=True),
    Column("item_id", String(256), nullable=False, unique=True),
    sqlite_autoincrement=True,  # a position that was given away is never given to another item
)

taste = Table(
    "taste",
    metadata,
    Column("item_id", String(256), primary_key=True),
    Column("positions", LargeBinary, nullable=False),  # uint32, little endian, ascending; empty: no weights any more
    Column("weights", LargeBinary, nullable=False),  # float32, little endian, one for each position
    Column("trained_at", BigInteger, nullable=False),
)
Index("taste_trained", taste.c.trained_at)

rarities = Table(
    "rarities",
    metadata,
    Column("item_id", String(256), primary_key=True),
    Column("rarity", Float, nullable=False),  # what an item's text score is multiplied by; no row: 1
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("user_hash", String(64), primary_key=True),  # salted: says that a user was deleted, not who
    Column("erased_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("scopes", String(64), nullable=False),  # separated by spaces
    Column("secret_hash", String(64), nullable=False),  # SHA-256: the secret itself was shown once and is kept nowhere
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

recommendations = Table(
    "recommendations",
    metadata,
    Column("recommendation_id", String(64), primary_key=True),
    Column("user_id", String(256)),
    Column("generation", String(63), nullable=False),
    Column("strategy", String(32), nullable=False),
    Column("item_ids", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
Index("recommendations_user", recommendations.c.user_id)
Index("recommendations_time", recommendations.c.created_at)

pages = Table(
    "pages",
    metadata,
    Column("recommendation_id", String(64), primary_key=True),
    Column("user_id", String(256)),
    Column("body", LargeBinary, nullable=False),  # what the next page is made from, as JSON; never an inline history
    Column("created_at", BigInteger, nullable=False),
)
Index("pages_user", pages.c.user_id)
Index("pages_time", pages.c.created_at)

rejects = Table(
    "rejects",
    metadata,
    Column("id", _Sequence, primary_key=True, autoincrement=True),
    Column("source", String(256), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("subject_id", String(256)),
    Column("code", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("rejected_at", BigInteger, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),  # what only one process at a time may do
    Column("holder", String(64), nullable=False),
    Column("token", BigInteger, nullable=False),  # grows with every change of hands: who comes too late is recognised
    Column("leased_until", BigInteger, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("day", String(10), primary_key=True),  # the UTC date by the database's clock, 2024-05-01
    Column("generation", String(63), nullable=False),
    Column("begun_at", BigInteger, nullable=False),
)
