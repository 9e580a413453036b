"""The tables of the first release; what an akin without migrations made counts as this revision."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, String, Text, column

revision = "0001"
down_revision = None

_Sequence = BigInteger().with_variant(Integer, "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table("meta", Column("key", String(64), primary_key=True), Column("value", Text, nullable=False))

    op.create_table(
        "items",
        Column("item_id", String(256), primary_key=True),
        Column("version", BigInteger, nullable=False),
        Column("body", LargeBinary),
        Column("body_hash", String(64), nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Column("deleted_at", BigInteger),
    )

    op.create_table(
        "pending",
        Column("item_id", String(256), primary_key=True),
        Column("job_id", String(36), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("due_at", BigInteger, nullable=False),
        Column("leased_until", BigInteger, nullable=False, default=0),
        Column("lease", String(36)),
        Column("attempts", Integer, nullable=False, default=0),
        Column("removes", Boolean, nullable=False, default=False),
    )
    op.create_index(
        "pending_removes", "pending", ["item_id"], sqlite_where=column("removes"), postgresql_where=column("removes")
    )
    op.create_index("pending_due", "pending", ["due_at"])
    op.create_index("pending_job", "pending", ["job_id"])

    op.create_table(
        "placements",
        Column("generation", String(63), primary_key=True),
        Column("item_id", String(256), primary_key=True),
        Column("version", BigInteger, nullable=False),
        Column("content_hash", String(64)),
        Column("present", Boolean, nullable=False),
    )
    op.create_index("placements_content", "placements", ["content_hash"])

    op.create_table(
        "set_aside",
        Column("item_id", String(256), primary_key=True),
        Column("version", BigInteger, nullable=False),
        Column("job_id", String(36), nullable=False),
        Column("reason", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("set_aside_at", BigInteger, nullable=False),
    )
    op.create_index("set_aside_job", "set_aside", ["job_id"])

    op.create_table(
        "jobs",
        Column("job_id", String(36), primary_key=True),
        Column("kind", String(32), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("total", BigInteger, nullable=False),
    )

    op.create_table(
        "generations",
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

    op.create_table(
        "vectors",
        Column("fingerprint", String(64), primary_key=True),
        Column("content_hash", String(64), primary_key=True),
        Column("vector", LargeBinary, nullable=False),
    )

    op.create_table(
        "events",
        Column("sequence", _Sequence, primary_key=True, autoincrement=True),
        Column("event_id", String(256), nullable=False, unique=True),
        Column("user_id", String(256), nullable=False),
        Column("item_id", String(256), nullable=False),
        Column("type", String(64), nullable=False),
        Column("value", Float),
        Column("timestamp", BigInteger),
        Column("dwell_ms", BigInteger),
        Column("recommendation_id", String(64)),
        Column("order_at", BigInteger, nullable=False),
    )
    op.create_index("events_user", "events", ["user_id", "order_at", "sequence"])
    op.create_index("events_item", "events", ["item_id"])
    op.create_index("events_time", "events", ["order_at"])

    op.create_table(
        "positions",
        Column("position", _Sequence, primary_key=True, autoincrement=True),
        Column("item_id", String(256), nullable=False, unique=True),
        sqlite_autoincrement=True,
    )

    op.create_table(
        "taste",
        Column("item_id", String(256), primary_key=True),
        Column("positions", LargeBinary, nullable=False),
        Column("weights", LargeBinary, nullable=False),
        Column("trained_at", BigInteger, nullable=False),
    )
    op.create_index("taste_trained", "taste", ["trained_at"])

    op.create_table(
        "tombstones",
        Column("user_hash", String(64), primary_key=True),
        Column("erased_at", BigInteger, nullable=False),
    )

    op.create_table(
        "recommendations",
        Column("recommendation_id", String(64), primary_key=True),
        Column("user_id", String(256)),
        Column("generation", String(63), nullable=False),
        Column("strategy", String(32), nullable=False),
        Column("item_ids", Text, nullable=False),
        Column("created_at", BigInteger, nullable=False),
    )
    op.create_index("recommendations_user", "recommendations", ["user_id"])

    op.create_table(
        "rejects",
        Column("id", _Sequence, primary_key=True, autoincrement=True),
        Column("source", String(256), nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("subject_id", String(256)),
        Column("code", String(64), nullable=False),
        Column("detail", Text, nullable=False),
        Column("rejected_at", BigInteger, nullable=False),
    )
