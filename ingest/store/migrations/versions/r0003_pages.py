"""What next pages are made from, and the log of answers by time."""

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, String

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table and the index."""
    op.create_table(
        "pages",
        Column("recommendation_id", String(64), primary_key=True),
        Column("user_id", String(256)),
        Column("body", LargeBinary, nullable=False),
        Column("created_at", BigInteger, nullable=False),
    )
    op.create_index("pages_user", "pages", ["user_id"])
    op.create_index("pages_time", "pages", ["created_at"])
    op.create_index("recommendations_time", "recommendations", ["created_at"])
