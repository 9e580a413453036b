"""Who does what only one process may do, and which nightly runs were begun."""

from alembic import op
from sqlalchemy import BigInteger, Column, String

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add both tables."""
    op.create_table(
        "leases",
        Column("name", String(64), primary_key=True),
        Column("holder", String(64), nullable=False),
        Column("token", BigInteger, nullable=False),
        Column("leased_until", BigInteger, nullable=False),
    )
    op.create_table(
        "runs",
        Column("kind", String(32), primary_key=True),
        Column("day", String(10), primary_key=True),
        Column("generation", String(63), nullable=False),
        Column("begun_at", BigInteger, nullable=False),
    )
