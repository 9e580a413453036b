"""API keys."""

from alembic import op
from sqlalchemy import BigInteger, Column, String

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "api_keys",
        Column("key_id", String(16), primary_key=True),
        Column("name", String(128), nullable=False),
        Column("scopes", String(64), nullable=False),
        Column("secret_hash", String(64), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("revoked_at", BigInteger),
    )
