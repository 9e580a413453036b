"""Which items are deleted, found by their ids: what every answer asks of its hits. Pending rows need not say so."""

from alembic import op
from sqlalchemy import column

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the index of deleted items, and drop what pending rows said of them."""
    deleted = column("deleted_at").is_not(None)
    op.create_index("items_deleted", "items", ["item_id"], unique=True, sqlite_where=deleted, postgresql_where=deleted)
    op.drop_index("pending_removes", "pending")
    op.drop_column("pending", "removes")
